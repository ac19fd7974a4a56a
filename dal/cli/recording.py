"""What a function sends to the database, read by the counting proxy of `dal.testing`.

The proxy reads no TLS. So the function's connection to it is plain, which is no loss where the
server is on this machine, and is refused where it is not.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Self

from sqlalchemy.engine import make_url

from dal import errors
from dal.cli.terminal import Mistake
from dal.engine import Settings, create_engine
from dal.settings import is_loopback
from dal.testing.proxy import Proxy


class Recording:
    """A proxy in front of the environment's database, and the file for what passes.

    Attributes:
        environment: The variables by which the function reaches the proxy.
    """

    def __init__(self, path: Path, environment: Mapping[str, str]) -> None:
        """Start the proxy and see to it that an account can log in through it.

        Raises:
            Mistake: the file cannot be written, or the server is not on this machine or lets
                nobody in without TLS.
        """
        try:
            settings = Settings.from_env(environment)
        except errors.ConfigurationError as error:
            raise Mistake(str(error)) from None
        if settings.tls != "disabled" and not is_loopback(settings.host):
            raise Mistake(
                f"--record reads statements without TLS, and {settings.host} is not this machine: "
                "record with a test server here"
            )
        try:
            # With the values of the statements: for nobody else's eyes, and no file that was there.
            os.close(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600))
            path.chmod(0o600)
        except OSError as error:
            raise Mistake(f"--record: {error}") from None
        self._path = path
        self._proxy = Proxy(settings.host, settings.port)
        try:
            _prove(settings, self._proxy)
        except BaseException:
            self._proxy.close()
            raise
        self._proxy.reset()
        self.environment = _through(self._proxy, environment)

    @property
    def round_trips(self) -> int:
        """The round trips so far."""
        return self._proxy.round_trips

    @property
    def count(self) -> int:
        """The statements so far."""
        return sum(1 for _ in self._statements())

    def _statements(self) -> Iterator[tuple[int, str]]:
        for number, trace in enumerate(self._proxy.connections, 1):
            for statement in trace.statements:
                yield number, statement

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._proxy.close()
        with self._path.open("w", encoding="utf-8") as file:
            for number, statement in self._statements():
                file.write(json.dumps({"connection": number, "statement": statement}) + "\n")


def _prove(settings: Settings, proxy: Proxy) -> None:
    plain = dataclasses.replace(
        settings, host=proxy.host, port=proxy.port, tls="disabled", tls_ca=None
    )
    try:
        # It fills the server's cache of logins, without which one without TLS wants RSA.
        create_engine(settings).connect().close()
    except errors.DatabaseError as error:
        raise Mistake(str(error)) from None
    try:
        create_engine(plain).connect().close()
    except errors.DatabaseError as error:
        raise Mistake(f"--record needs a login without TLS: {error}") from None


def _through(proxy: Proxy, environment: Mapping[str, str]) -> dict[str, str]:
    changed = {name: text for name, text in environment.items() if name != "DAL_TLS_CA"}
    changed["DAL_TLS"] = "disabled"
    if changed.get("DATABASE_URL"):
        url = make_url(changed["DATABASE_URL"]).set(host=proxy.host, port=proxy.port)
        changed["DATABASE_URL"] = url.render_as_string(hide_password=False)
    else:
        changed |= {"DB_HOST": proxy.host, "DB_PORT": str(proxy.port)}
    return changed
