"""The declarative base: optional, any mapped class will do."""

from __future__ import annotations

from typing import ClassVar

from sqlalchemy import MetaData
from sqlalchemy.orm import DeclarativeBase

#: Every constraint has a name that follows from what it is: Alembic can drop it, and an error can
#: name it. MySQL takes 64 characters; SQLAlchemy shortens longer ones with a hash.
NAMING_CONVENTION = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}


class Base(DeclarativeBase):
    """SQLAlchemy's declarative base with a naming convention for constraints and indexes."""

    metadata: ClassVar[MetaData] = MetaData(naming_convention=NAMING_CONVENTION)
