"""Migrations from a Lambda function: it begins nothing that its time cannot finish.

No ALTER is too long for it. At the deadline it closes the socket and does not KILL: the server
finishes the statement and holds the deployer's lock until then. The next call finds out that it was
applied, and goes on.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config

from dal.aws import cloudformation
from dal.database import Database
from dal.errors import Error, InvalidArgument
from dal.migrate.journal.steps import number_of
from dal.migrate.lock import AnotherDeployer
from dal.migrate.settings import MigrationSettings
from dal.migrate.status import status
from dal.wire.deadline import NEVER, Deadline

log = logging.getLogger("dal.migrate")

_LOCK_WAIT_TIMEOUT = 1205
_ACTIONS = ("upgrade", "status", "plan")
_PROXY = (
    "this is an RDS Proxy: name the writer's own endpoint for migrations. The lock pins a "
    "connection of the proxy, and a statement may not survive the function's end"
)


class OutOfTime(Error):
    """There is no time left to begin the next statement. Nothing is lost; call again."""


def handler(
    db: Database,
    location: str | Path = "migrations",
    *,
    reserve: float = 1.0,
    least: float = 1.0,
) -> Callable[[Any, Any], dict[str, Any]]:
    """Return a Lambda handler that migrates the database of `db`.

    Events: `{"action": "upgrade", "to": "heads"}`, `{"action": "status"}`, `{"action": "plan"}`,
    and those of a CloudFormation custom resource, which is answered in every case. The answer to
    an upgrade has `"done"`: while it is false, call again.

    Args:
        db: The database.
        location: The directory of `env.py`, from the function's own directory.
        reserve: Seconds kept back for the answer.
        least: Seconds that have to be left, beside the reserve, for a statement to begin.

    Raises (the handler):
        MigrationFailed: a revision stopped. Nothing is lost; the message says what to do.
        InvalidArgument: another action, or none.
    """

    def handle(event: Any, context: Any) -> dict[str, Any]:
        call = _Call(db, location, context, reserve=reserve, least=least)
        if cloudformation.is_custom_resource(event):
            return _for_cloudformation(call, event)
        action = event.get("action") if isinstance(event, dict) else None
        if action not in _ACTIONS:
            raise InvalidArgument(f"the event's action is one of {', '.join(_ACTIONS)}")
        if action == "upgrade":
            return call.upgrade(str(event.get("to") or "heads"))
        return call.plan() if action == "plan" else call.status()

    return handle


def _for_cloudformation(call: _Call, event: dict[str, Any]) -> dict[str, Any]:
    """Upgrade, and answer; nothing is to be taken back where the stack is deleted."""
    answer: dict[str, Any] = {"done": True}
    failure = None
    try:
        if event["RequestType"] != "Delete":
            target = (event.get("ResourceProperties") or {}).get("to") or "heads"
            answer = call.upgrade(str(target))
            if not answer["done"]:
                failure = f"not done in this call: {answer['why']}; deploy again, and it goes on"
    except BaseException as error:
        cloudformation.answer(event, failure=f"{type(error).__name__}: {error}", data={})
        raise
    cloudformation.answer(event, failure=failure, data={"at": ",".join(answer.get("at", []))})
    return answer


class _Call:
    """One invocation."""

    def __init__(
        self, db: Database, location: str | Path, context: Any, *, reserve: float, least: float
    ) -> None:
        self._db = db
        self._least = least
        self._deadline = NEVER
        if hasattr(context, "get_remaining_time_in_millis"):
            left = context.get_remaining_time_in_millis() / 1000 - reserve
            self._deadline = Deadline(max(0.0, left))
        self._has_hung_up = False
        self._is_cut = False
        self._driver: Any = None
        root = Path(os.environ.get("LAMBDA_TASK_ROOT") or Path.cwd())
        self.config = Config()
        self.config.set_main_option("script_location", str(root / location).replace("%", "%%"))
        self.config.attributes.update(
            settings=db.settings,
            check_time=self._check_time,
            connected=self._connected,
            who=f"request {getattr(context, 'aws_request_id', '?')}",
        )

    def status(self) -> dict[str, Any]:
        """Return where the database is."""
        return self._with_warning(status(self.config).as_dict())

    def plan(self) -> dict[str, Any]:
        """Rehearse what is pending."""
        from dal.migrate.plan import rehearse  # noqa: PLC0415  # for who asks

        return self._with_warning(rehearse(self.config, self._db.settings).as_dict())

    def upgrade(self, target: str) -> dict[str, Any]:
        """Upgrade as far as the time goes."""
        self.config.attributes["adapt_settings"] = self._within_time
        why = None
        try:
            with self._hanging_up():
                command.upgrade(self.config, target)
        except Exception as error:
            why = self._why_not_done(error)
            if why is None:
                raise
            log.info("not done: %s", why)
        found = status(self.config)
        answer: dict[str, Any] = {"done": why is None, "at": found.at}
        if why is not None:
            half = found.half_done
            running = half.statement if half and half.state in {"running", "inside"} else None
            answer |= {"why": why, "running": running, "pending": found.pending}
        return self._with_warning(answer)

    def _within_time(self, settings: MigrationSettings) -> MigrationSettings:
        left = self._deadline.remaining()
        self._is_cut = left < settings.patience
        return dataclasses.replace(
            settings, wait=min(settings.wait, left), patience=min(settings.patience, left)
        )

    def _why_not_done(self, error: Exception) -> str | None:
        """Return why the work goes on in another call; None where it is an error."""
        if self._has_hung_up:
            return "the statement runs on at the server"
        if isinstance(error, AnotherDeployer):
            return str(error)
        if isinstance(error.__cause__, OutOfTime):
            return str(error.__cause__)
        return str(error) if self._is_cut and number_of(error) == _LOCK_WAIT_TIMEOUT else None

    def _check_time(self) -> None:
        left = self._deadline.remaining()
        if left < self._least:
            raise OutOfTime(f"{left:.1f} s left, and nothing was begun in them")

    def _connected(self, driver: Any) -> None:
        self._driver = driver

    @contextlib.contextmanager
    def _hanging_up(self) -> Iterator[None]:
        """Close the connection at the deadline: a frozen function would hold the lock."""
        left = self._deadline.remaining()
        timer = threading.Timer(left, self._hang_up) if left < threading.TIMEOUT_MAX else None
        if timer is not None:
            timer.daemon = True
            timer.start()
        try:
            yield
        finally:
            if timer is not None:
                timer.cancel()

    def _hang_up(self) -> None:
        self._has_hung_up = True
        if self._driver is not None:
            self._driver.hang_up()

    def _with_warning(self, answer: dict[str, Any]) -> dict[str, Any]:
        if self._db.settings.proxy:
            log.warning(_PROXY)
            answer["warning"] = _PROXY
        return answer
