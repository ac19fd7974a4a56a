"""A unit of work in two statements, each of which counts in a row of its own; or reads it."""

import os
import time
from pathlib import Path

from sqlalchemy import text

from dal import Database

TALLY = text("UPDATE deed SET times = times + 1 WHERE token = :token AND step = :step")
LOOK = text("SELECT times FROM deed WHERE token = :token AND step = :step")


def from_the_vault():
    return Path(os.environ["VAULT"]).read_text()


DATABASES = {
    "usual": Database.from_env(),
    "clear": Database.from_env(tls="disabled"),
    "hasty": Database.from_env(statement_timeout=0.3),
    "brief": Database.from_env(lock_wait_timeout=1),
    "enduring": Database.from_env(lock_wait_timeout=10),
    "patient": Database.from_env(connect_timeout=8),
    "vault": Database.from_env(password=from_the_vault),
}


def units_on(database):
    def steps(event, statement):
        print("the unit runs")  # noqa: T201  # the log tells how often
        for step in (1, 2):
            yield database.session.execute(statement, {"token": event["token"], "step": step})
        time.sleep(event.pop("pause", 0))  # once: the same event comes to each attempt

    def write(event, context):
        return [done.rowcount for done in steps(event, TALLY)]

    def read(event, context):
        return [found.scalar() for found in steps(event, LOOK)]

    for unit in (write, read):
        for attempts in (1, 3):
            decorate = database.handler(attempts=attempts, read_only=unit is read)
            yield (unit.__name__, attempts), decorate(unit)


UNITS = {name: dict(units_on(database)) for name, database in DATABASES.items()}


def handler(event, context):
    return UNITS[event["database"]][event["unit"], event["attempts"]](event, context)
