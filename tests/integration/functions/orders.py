"""What the functions under Powertools' decorators write: one order for each event or record."""

import contextlib

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from dal import Base, Database, DuplicateKey, Repository

db = Database.from_env()


class Order(Base):
    __tablename__ = "orders"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(40), unique=True)


class Orders(Repository[Order]):
    pass


orders = Orders(db)


def place(name):
    return orders.add(Order(name=name))


def fail_at_the_end():
    """Fail the scope in a way that shows when the handler has returned."""
    place("twin")
    with contextlib.suppress(DuplicateKey):
        place("twin")
