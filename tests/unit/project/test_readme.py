"""What the README and the pages of docs/ say, held to the code."""

import ast
import builtins
import dataclasses
import dis
import importlib
import inspect
import re
import sys
from pathlib import Path
from types import CodeType

import pytest
from sqlalchemy.orm import DeclarativeBase

import dal
from dal import Database, Repository, errors
from dal.engine import Settings
from dal.wire.purpose import Purpose
from dal.wire.session.state import session_state

ROOT = Path(__file__).parents[3]
README = ROOT / "README.md"
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")], key=lambda page: page != README)
TEXT = {page: page.read_text() for page in PAGES}


def name(page):
    return str(page.relative_to(ROOT))


def blocks(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```$", TEXT[page], re.DOTALL | re.MULTILINE)


def tables(page, *heads):
    """The rows, each a list of cells, of every table of the page whose first heads are these."""
    found = []
    for table in re.findall(r"(?:^\|.*\n)+", TEXT[page], re.MULTILINE):
        rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()]
        if tuple(rows[0][: len(heads)]) == heads:
            found += rows[2:]
    assert found, f"{name(page)} has no table {heads}"
    return found


def code_names(cell):
    return re.findall(r"`([^`]+)`", cell)


def slug(heading):
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


# Every page --------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=name)
class TestEveryPage:
    def test_has_lines_of_a_hundred_characters_at_most(self, page):
        lines = TEXT[page].splitlines()
        # What cannot be broken: nothing but an address, a table that a command has written.
        whole = r"\[[^]]+]: \S+$" if "written by make" not in TEXT[page] else r"\[[^]]+]: \S+$|\|"
        assert [line for line in lines if len(line) > 100 and not re.match(whole, line)] == []

    def test_has_python_that_compiles(self, page):
        for block in blocks(page, "python"):
            compile(block, name(page), "exec")

    def test_closes_every_block(self, page):
        assert TEXT[page].count("\n```") % 2 == 0

    def test_has_links_that_lead_somewhere(self, page):
        prose = re.sub(r"^```.*?^```$", "", TEXT[page], flags=re.DOTALL | re.MULTILINE)
        defined = set(re.findall(r"^\[([^]]+)]: https://\S+$", prose, re.MULTILINE))
        assert set(re.findall(r"]\[([^]]+)]", prose)) == defined
        for target in re.findall(r"]\(([^)\s]+)\)", prose):
            if target.startswith("https://"):
                continue
            path, _, anchor = target.partition("#")
            linked = (page.parent / path).resolve() if path else page
            assert linked.is_file(), target
            if anchor:
                headings = re.findall(r"^#+ (.+)$", linked.read_text(), re.MULTILINE)
                assert anchor in map(slug, headings), target

    def test_names_files_that_exist(self, page):
        for path in re.findall(r"`((?:tests|examples|docs|dal|migrations)/[\w/.]+)`", TEXT[page]):
            assert (ROOT / path).exists(), path


# The code of the README --------------------------------------------------------------------------

DECLARED = {"DATABASE_URL": "mysql://shop:sesame@127.0.0.1:1/shop", "DAL_CONNECT_TIMEOUT": "0.05"}


@pytest.fixture
def app(tmp_path, monkeypatch):
    """The module `app` of the README, beside its `models`; nobody listens at its database."""
    for block in blocks(README, "python"):
        if found := re.match(r"# (\w+\.py)\n", block):
            (tmp_path / found[1]).write_text(block)
            monkeypatch.delitem(sys.modules, found[1].removesuffix(".py"), raising=False)
    for variable, value in DECLARED.items():
        monkeypatch.setenv(variable, value)
    monkeypatch.syspath_prepend(tmp_path)
    # A base of its own: other tests have tables of the same names.
    monkeypatch.setattr(dal, "Base", type("Base", (DeclarativeBase,), {}))
    yield importlib.import_module("app")
    for module in ("app", "models"):
        del sys.modules[module]


def test_the_first_handler_is_short():
    (block,) = (block for block in blocks(README, "python") if block.startswith("# app.py"))
    lines = [line for line in block.splitlines() if line and not line.startswith("#")]
    assert len(lines) <= 10


def test_the_first_handler_opens_nothing_before_it_is_called_and_then_its_database(app):
    assert app.users.model is sys.modules["models"].User
    with pytest.raises(dal.ConnectError, match=r"127\.0\.0\.1:1"):
        app.create_user({"email": "ann@example.com", "name": "Ann"}, None)


def global_names(code):
    """The names that the code, and every function in it, looks up outside of functions."""
    for step in dis.get_instructions(code):
        if step.opname in {"LOAD_GLOBAL", "LOAD_NAME"}:
            yield step.argval
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from global_names(constant)


def test_the_other_examples_use_only_names_that_there_are(app):
    """They are run one after the other, which defines functions and classes and calls none."""
    space = {**vars(dal), **vars(app)}
    for block in blocks(README, "python"):
        if not re.match(r"# \w+\.py\n", block):
            code = compile(block, "README.md", "exec")
            exec(code, space)
            known = {*space, *vars(builtins), "__qualname__"}
            assert set(global_names(code)) <= known, block


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_use_of_a_database_is_of_something_that_it_has(page):
    for block in blocks(page, "python"):
        for attribute in re.findall(r"(?<![\w.@/])@?db\.(\w+)", block):
            assert hasattr(Database, attribute), f"db.{attribute}"


def test_every_method_of_a_repository_in_the_readme_is_one(app):
    used = {use for block in blocks(README, "python") for use in re.findall(r"users\.(\w+)", block)}
    listed = {
        method
        for row in tables(README, "Method", "Returns")
        for method in re.findall(r"`(\w+)\(", row[0])
    }
    assert used | listed <= set(dir(app.Users))
    public = {method for method in dir(Repository) if not method.startswith("_")}
    assert public - {"model", "session"} <= listed


# Names and settings ------------------------------------------------------------------------------


@pytest.mark.parametrize("public", dal.__all__)
def test_every_public_name_is_explained(public):
    assert any(re.search(rf"\b{public}\b", text) for text in TEXT.values())


@pytest.mark.parametrize(
    "option", ["read_only", "attempts", "reserve", "idempotency", "rollback_when"]
)
def test_every_option_of_a_handler_is_in_the_readme_with_its_default(option):
    parameters = inspect.signature(Database.handler).parameters
    assert {key for key, value in parameters.items() if value.kind is value.KEYWORD_ONLY} == {
        key for row in tables(README, "Option", "Default") for key in code_names(row[0])
    }
    (row,) = (row for row in tables(README, "Option") if row[0] == f"`{option}`")
    if option != "rollback_when":
        assert row[1] == f"`{parameters[option].default}`"


FIELDS = {field.name: field for field in dataclasses.fields(Settings)}
#: Whose default depends on the host, the operating system or nothing.
SAID_IN_WORDS = {"password": "empty", "tls": "by host", "tls_ca": "the system's"}
VARIABLES = {
    "host": "DB_HOST",
    "port": "DB_PORT",
    "user": "DB_USER",
    "password": "DB_PASSWORD",
    "database": "DB_NAME",
}


def test_the_settings_are_those_of_the_code():
    rows = {row[0].strip("`"): row for row in tables(ROOT / "docs/settings.md", "Setting")}
    assert list(rows) == list(FIELDS)
    for setting, (_, variable, default, unit, _) in rows.items():
        assert variable == f"`{VARIABLES.get(setting, f'DAL_{setting.upper()}')}`"
        field = FIELDS[setting]
        if field.default is dataclasses.MISSING:
            assert default == "required"
        elif setting in SAID_IN_WORDS:
            assert default == SAID_IN_WORDS[setting]
        else:
            assert ast.literal_eval(default.strip("`")) == field.default
            assert setting == "port" or unit
        if "timeout" in setting:
            assert unit == ("seconds, whole" if str(field.type).startswith("int") else "seconds")


# Errors ------------------------------------------------------------------------------------------

ERRORS = ROOT / "docs/errors.md"
CLASSES = {
    key: value
    for key, value in vars(errors).items()
    if inspect.isclass(value) and issubclass(value, errors.Error)
}
#: Those that only group others.
GROUPS = {"Error", "UsageError", "DatabaseError", "ConstraintViolation", "IdempotencyError"}


def test_the_tree_is_that_of_the_code():
    tree = inspect.getdoc(errors).split("\n\n")[1]
    assert tree in TEXT[ERRORS]


def test_every_error_says_whether_to_run_the_unit_again_and_what_to_do():
    seen = []
    for cell, transient, lost, action in tables(ERRORS, "Class", "Transient"):
        for key in code_names(cell):
            seen.append(key)
            assert (transient == "yes") is CLASSES[key].transient, key
            assert (lost == "yes") is CLASSES[key].transaction_lost, key
            assert action
    assert sorted(seen) == sorted(set(CLASSES) - GROUPS)


def numbers(cell):
    return [int(number) for number in re.findall(r"\d+", cell)]


def test_every_number_has_its_class_and_says_how_the_scope_goes_on():
    named, statement_only = {}, set()
    for cell, kind, _, scope in tables(ERRORS, "Number", "Class", "The server undid"):
        for number in numbers(cell):
            assert number not in named
            named[number] = getattr(errors, kind.strip("`"), None)
            if scope == "goes on":
                statement_only.add(number)
            else:
                assert scope == "rollback-only"
    assert {number: kind for number, kind in named.items() if kind} == errors.NAMED
    assert statement_only == errors.STATEMENT_ONLY
    assert set(named) == set(errors.NAMED) | errors.STATEMENT_ONLY


def test_every_number_of_connecting_has_its_class():
    text = TEXT[ERRORS].partition("## By number, while connecting")[2]
    rows = re.findall(r"^\| ([\d, ]+) \| `(\w+)` \|$", text, re.MULTILINE)
    found = {number: getattr(errors, kind) for cell, kind in rows for number in numbers(cell)}
    assert found == errors.NAMED_WHILE_CONNECTING


# The wire ----------------------------------------------------------------------------------------


def test_the_one_set_is_that_of_the_code():
    settings = Settings(host="db.example.com", user="shop", database="shop")
    sent = session_state(settings, Purpose(), is_mariadb=False)
    page = ROOT / "docs/wire.md"
    (shown,) = blocks(page, "sql")
    assert re.sub(r"\s+", "", shown) == re.sub(r"\s+", "", sent)
    explained = {key for row in tables(page, "Variable", "Why") for key in code_names(row[0])}
    variables = set(re.findall(r"(\w+)=", shown)) | {"NAMES", "transaction_read_only"}
    assert explained == variables
