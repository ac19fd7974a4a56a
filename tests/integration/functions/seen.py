"""A function whose every way to end is asked for by its event, and what it looks like in a log."""

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from dal import Base, Database, Deadlock, Repository

db = Database.from_env()


class Thing(Base):
    __tablename__ = "thing"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(sa.String(40), unique=True)


class Things(Repository[Thing]):
    pass


things = Things(db)


@db.handler(attempts=2)
def handler(event, context):
    """Write, and end as the event wants it."""
    end, name = event["end"], event.get("name", "twin")
    if end == "unused":
        return None
    if end == "read":
        return {"found": things.count()}
    if end == "slow":
        db.session.execute(sa.text("SELECT SLEEP(0.06), :name"), {"name": name})
        return None
    thing = things.add(Thing(name=name))
    if end == "fail":
        raise LookupError(name)
    if end == "refuse":
        return {"statusCode": 409}
    if end == "retry" and _is_first(context):
        raise Deadlock("as if another function had won")
    return {"id": thing.id}


_requests = set()


def _is_first(context):
    seen = context.aws_request_id in _requests
    _requests.add(context.aws_request_id)
    return not seen


def with_powertools(event, context):
    """As above, with Powertools' Logger for all that `dal` logs."""
    return _powertools()(event, context)


def _powertools():
    from aws_lambda_powertools import Logger
    from aws_lambda_powertools.logging import utils

    logger = Logger(service="things")
    utils.copy_config_to_registered_loggers(source_logger=logger, include={"dal"})
    return logger.inject_lambda_context(handler)
