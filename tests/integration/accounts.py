"""The tables that most tests work on: accounts, and the entries that belong to them."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column, relationship

from dal import Base, Repository


class Account(Base):
    __tablename__ = "account"
    __table_args__ = (sa.CheckConstraint("balance >= 0", name="not_negative"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    owner: Mapped[str] = mapped_column(sa.String(50), unique=True)
    balance: Mapped[int] = mapped_column(default=0)
    entries: Mapped[list[Entry]] = relationship(
        back_populates="account", cascade="all, delete-orphan", order_by="Entry.id"
    )


class Entry(Base):
    __tablename__ = "entry"

    id: Mapped[int] = mapped_column(primary_key=True)
    account_id: Mapped[int] = mapped_column(sa.ForeignKey(Account.id))
    note: Mapped[str] = mapped_column(sa.String(50), default="")
    account: Mapped[Account] = relationship(back_populates="entries")


class Accounts(Repository[Account]):
    def of(self, owner: str) -> Account | None:
        return self.one_or_none(Account.owner == owner)
