"""The declarative base: every constraint has a name that follows from what it is."""

import pytest
import sqlalchemy as sa
from sqlalchemy import orm
from sqlalchemy.schema import CreateIndex, CreateTable

import dal
from dal.engine.dialect import Dialect
from dal.model import NAMING_CONVENTION

MYSQL_NAME_LIMIT = 64


@pytest.fixture
def base():
    """A base with dal's convention, whose tables are this test's alone."""

    class Base(orm.DeclarativeBase):
        metadata = sa.MetaData(naming_convention=dal.Base.metadata.naming_convention)

    return Base


def ddl(element):
    return " ".join(str(element.compile(dialect=Dialect())).split())


class TestTheNamingConvention:
    def test_is_that_of_the_base(self):
        assert dict(dal.Base.metadata.naming_convention) == NAMING_CONVENTION
        assert issubclass(dal.Base, orm.DeclarativeBase)

    def test_covers_every_kind_of_constraint(self):
        assert set(NAMING_CONVENTION) == {"ix", "uq", "ck", "fk", "pk"}

    def test_names_each_after_its_table_and_columns(self, base):
        class Parent(base):
            __tablename__ = "parents"
            id: orm.Mapped[int] = orm.mapped_column(primary_key=True)

        class Child(base):
            __tablename__ = "children"
            id: orm.Mapped[int] = orm.mapped_column(primary_key=True)
            parent_id: orm.Mapped[int] = orm.mapped_column(sa.ForeignKey(Parent.id))
            email: orm.Mapped[str] = orm.mapped_column(sa.String(50), unique=True)
            name: orm.Mapped[str] = orm.mapped_column(sa.String(50), index=True)
            age: orm.Mapped[int]
            __table_args__ = (
                sa.UniqueConstraint("parent_id", "name"),
                sa.CheckConstraint("age > 0", name="age_positive"),
                sa.Index(None, "name", "age"),
            )

        created = ddl(CreateTable(Child.__table__))
        assert "CONSTRAINT pk_children PRIMARY KEY (id)" in created
        assert "CONSTRAINT uq_children_email UNIQUE (email)" in created
        assert "CONSTRAINT uq_children_parent_id_name UNIQUE (parent_id, name)" in created
        assert "CONSTRAINT ck_children_age_positive CHECK (age > 0)" in created
        assert "CONSTRAINT fk_children_parent_id FOREIGN KEY(parent_id)" in created
        indexes = {index.name for index in Child.__table__.indexes}
        assert indexes == {"ix_children_name", "ix_children_name_age"}

    def test_tells_two_foreign_keys_to_the_same_table_apart(self, base):
        class Node(base):
            __tablename__ = "nodes"
            id: orm.Mapped[int] = orm.mapped_column(primary_key=True)
            left: orm.Mapped[int] = orm.mapped_column(sa.ForeignKey("nodes.id"))
            right: orm.Mapped[int] = orm.mapped_column(sa.ForeignKey("nodes.id"))

        names = {key.constraint.name for key in Node.__table__.foreign_keys}
        assert names == {"fk_nodes_left", "fk_nodes_right"}

    def test_keeps_a_name_that_was_given(self, base):
        class User(base):
            __tablename__ = "users"
            id: orm.Mapped[int] = orm.mapped_column(primary_key=True)
            __table_args__ = (sa.UniqueConstraint("id", name="my_own"),)

        assert "CONSTRAINT my_own UNIQUE (id)" in ddl(CreateTable(User.__table__))

    def test_shortens_what_mysql_would_refuse_and_keeps_it_apart(self, base):
        class Long(base):
            __tablename__ = "a_table_whose_name_is_long_for_a_reason"
            id: orm.Mapped[int] = orm.mapped_column(primary_key=True)
            the_first_column_of_many_words: orm.Mapped[int] = orm.mapped_column(index=True)
            the_first_column_of_many_more_words: orm.Mapped[int] = orm.mapped_column(index=True)

        created = {
            ddl(CreateIndex(index)).split(" ON ")[0].removeprefix("CREATE INDEX ")
            for index in Long.__table__.indexes
        }
        assert len(created) == 2
        assert all(len(name) <= MYSQL_NAME_LIMIT for name in created)

    def test_asks_for_the_name_of_a_check_which_it_cannot_make_up(self, base):
        with pytest.raises(sa.exc.InvalidRequestError, match="constraint is explicitly named"):

            class User(base):
                __tablename__ = "users"
                id: orm.Mapped[int] = orm.mapped_column(primary_key=True)
                __table_args__ = (sa.CheckConstraint("id > 0"),)


class TestTheBaseIsOptional:
    def test_a_repository_takes_a_model_of_any_base(self, base):
        class User(base):
            __tablename__ = "users"
            id: orm.Mapped[int] = orm.mapped_column(primary_key=True)

        class Users(dal.Repository[User]):
            pass

        assert Users.model is User

    def test_a_base_of_ones_own_may_be_derived_from_it(self):
        class Tenant(dal.Base):
            __abstract__ = True
            tenant_id: orm.Mapped[int] = orm.mapped_column(index=True)

        assert Tenant.metadata is dal.Base.metadata
