"""`import dal` is what a cold start pays for: it loads the face and nothing of the extras."""

import importlib.metadata
import json
import subprocess
import sys

import pytest

import dal
from dal import errors

EXTRAS = {
    "alembic",
    "aws_lambda_powertools",
    "awslambdaric",
    "boto3",
    "botocore",
    "click",
    "cryptography",
    "docker",
    "opentelemetry",
    "pydantic",
    "pytest",
    "requests",
    "rich",
    "simplejson",
    "testcontainers",
    "trustme",
    "typing_inspection",
}
OTHER_ROOMS = {"dal.cli", "dal.doctor", "dal.migrate", "dal.testing"}
# The first is what SQLAlchemy's compiled parts leave behind; it has no file.
RUN_TIME = {"cython_runtime", "dal", "greenlet", "pymysql", "sqlalchemy", "typing_extensions"}


# PyMySQL loads cryptography where it is installed, as it is beside these tests.
BARE = "import sys; sys.modules['cryptography'] = None"
TELL = "import json, sys; print(json.dumps([name for name in sys.modules if sys.modules[name]]))"


def loaded_by(code):
    """The modules that a process of its own has loaded after `code`."""
    told = subprocess.run(
        [sys.executable, "-W", "error", "-c", f"{BARE}\n{code}\n{TELL}"],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert told.stderr == ""
    return set(json.loads(told.stdout.splitlines()[-1]))


@pytest.fixture(scope="module")
def loaded():
    return loaded_by("import dal")


@pytest.fixture(scope="module")
def loaded_at_work():
    """After a database was made, a handler decorated and run, and a connection tried."""
    return loaded_by(
        "import dal\n"
        "db = dal.Database('mysql://app@127.0.0.1:1/shop', connect_timeout=0.05)\n"
        "db.handler(lambda event, context: {'a': 1})({}, None)\n"
        "try:\n"
        "    with db.scope() as session: session.connection()\n"
        "except dal.ConnectError: pass\n"
        "else: raise AssertionError\n"
    )


@pytest.fixture(scope="module")
def loaded_beyond_sqlalchemy():
    """What `import dal` and a mapped class load that SQLAlchemy's ORM and PyMySQL do not."""
    mapped = """
class Account({base}):
    __tablename__ = "account"
    id: orm.Mapped[int] = orm.mapped_column(primary_key=True)
"""
    bare = "from sqlalchemy import orm\nimport pymysql\nclass Base(orm.DeclarativeBase): pass"
    plain = loaded_by(bare + mapped.format(base="Base"))
    return loaded_by(f"{bare}\nimport dal" + mapped.format(base="dal.Base")) - plain


def top_level(modules):
    return {name.partition(".")[0] for name in modules}


class TestImportDal:
    def test_loads_none_of_the_extras(self, loaded):
        assert not top_level(loaded) & EXTRAS

    def test_loads_none_of_the_other_rooms(self, loaded):
        rooms = {".".join(name.split(".")[:2]) for name in loaded if name.startswith("dal.")}
        assert not rooms & OTHER_ROOMS

    def test_loads_nothing_but_the_run_time_dependencies_from_outside(self, loaded):
        foreign = {
            name
            for name in top_level(loaded) - top_level(loaded_by("")) - set(sys.stdlib_module_names)
            if not name.startswith("_")
        }
        assert foreign <= RUN_TIME

    def test_loads_none_of_them_at_work_either(self, loaded_at_work):
        assert not top_level(loaded_at_work) & EXTRAS
        assert not {name for name in loaded_at_work if name.startswith(tuple(OTHER_ROOMS))}

    def test_loads_no_test_or_asyncio_driver_of_its_dependencies(self, loaded):
        assert not {name for name in loaded if name.startswith("sqlalchemy.ext.asyncio")}
        assert not {name for name in loaded if ".tests" in name}

    def test_and_a_mapped_class_load_nothing_of_others_beyond_sqlalchemy(
        self, loaded_beyond_sqlalchemy
    ):
        assert top_level(loaded_beyond_sqlalchemy) == {"dal"}

    def test_and_a_mapped_class_load_ninety_modules_of_its_own_at_the_most(
        self, loaded_beyond_sqlalchemy
    ):
        assert len(loaded_beyond_sqlalchemy) <= 90

    def test_leaves_logging_alone(self):
        loaded_by(
            "import logging, dal\n"
            "assert not logging.getLogger().handlers\n"
            "assert logging.getLogger('dal').level == logging.NOTSET\n"
            "assert not logging.getLogger('dal').handlers\n"
        )


class TestImportDoctor:
    def test_loads_none_of_the_extras(self):
        loaded = loaded_by("from dal.doctor import examine; import dal.doctor.pins")
        assert not top_level(loaded) & EXTRAS
        assert not {name for name in loaded if name.startswith(("dal.cli", "dal.testing"))}


def test_the_version_is_that_of_the_package():
    assert dal.__version__ == importlib.metadata.version("lambda-dal")


class TestTheFace:
    def test_is_complete_and_in_order(self):
        public = {name for name in vars(dal) if not name.startswith("_")}
        modules = {name for name in public if isinstance(vars(dal)[name], type(sys))}
        assert set(dal.__all__) == public - modules
        assert len(dal.__all__) == len(set(dal.__all__))

    def test_has_every_error(self):
        classes = {
            name
            for name, value in vars(errors).items()
            if isinstance(value, type) and issubclass(value, errors.Error)
        }
        assert classes <= set(dal.__all__)

    @pytest.mark.parametrize("name", ["Base", "Database", "Error", "Repository", "everything"])
    def test_has_what_the_first_page_of_the_documentation_uses(self, name):
        assert name in dal.__all__

    def test_shadows_no_builtin(self):
        import builtins

        assert not set(dal.__all__) & set(vars(builtins))

    def test_is_typed(self):
        from importlib import resources

        assert resources.files(dal).joinpath("py.typed").is_file()

    def test_is_documented(self):
        assert all(getattr(dal, name).__doc__ for name in dal.__all__)
