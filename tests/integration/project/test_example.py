"""The example's handlers, each in a process of the real runtime client."""

import os
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from dal.testing.runtime import Function

ROOT = Path(__file__).parents[3]

ANN = {"email": "ann@example.com", "name": "Ann"}


@pytest.fixture
def function(environment):
    """Migrate the database, and give what deploys a handler on it."""
    subprocess.run(
        [sys.executable, "-m", "alembic", "upgrade", "head"],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], **environment},
        check=True,
        capture_output=True,
    )
    deployed = []

    def deploy(handler):
        handler = f"examples.users.handlers.{handler}"
        deployed.append(Function(handler, environment=environment, path=[ROOT], timeout=20.0))
        return deployed[-1]

    yield deploy
    for one in deployed:
        one.close()


@pytest.fixture
def stored(admin):
    """Give what is in the table, as another session sees it."""

    def read():
        with admin.cursor() as cursor:
            cursor.execute("SELECT id, email, name FROM users ORDER BY id")
            return list(cursor.fetchall())

    return read


@pytest.fixture
def store(admin):
    def write(*names):
        with admin.cursor() as cursor:
            rows = [(f"{name.lower()}@example.com", name) for name in names]
            cursor.executemany("INSERT INTO users (email, name) VALUES (%s, %s)", rows)

    return write


def test_create_stores_the_user_and_answers_with_its_id(function, stored):
    answer = function("create_user").invoke(ANN).answer()

    assert stored() == [(answer["id"], "ann@example.com", "Ann")]


@pytest.mark.parametrize(
    ("event", "error"),
    [
        (ANN, "DuplicateKey"),
        ({"email": "bob@example.com", "name": "B" * 101}, "DataTooLong"),
        ({"email": "bob@example.com"}, "KeyError"),
    ],
)
def test_create_names_what_is_wrong_and_stores_nothing(function, store, stored, event, error):
    create_user = function("create_user")
    store("Ann")

    refused = create_user.invoke(event)

    assert refused.error["errorType"] == error
    assert [email for _, email, _ in stored()] == ["ann@example.com"]
    create_user.invoke({"email": "cid@example.com", "name": "Cid"}).answer()  # as ever after it


def test_a_duplicate_is_said_to_be_one_of_the_email_without_telling_it(function, store):
    create_user = function("create_user")
    store("Ann")

    message = create_user.invoke(ANN).error["errorMessage"]

    assert "another row has this value" in message
    assert "uq_users_email" in message
    assert "ann@example.com" not in message


def test_read_answers_with_the_user_as_stored(function):
    created = function("create_user").invoke({"email": "o@example.com", "name": "Öwl 🦉"}).answer()

    answer = function("read_user").invoke(created).answer()

    age = datetime.now().astimezone() - datetime.fromisoformat(answer.pop("created_at"))
    assert abs(age) < timedelta(minutes=1)
    assert answer == {"id": created["id"], "email": "o@example.com", "name": "Öwl 🦉"}


def test_read_of_a_missing_user_is_not_found(function):
    missing = function("read_user").invoke({"id": 42})

    assert missing.error["errorType"] == "NotFound"
    assert missing.error["errorMessage"] == "no User has the key 42"


def test_read_sees_what_was_created_since_its_last_invocation(function):
    create_user, read_user = function("create_user"), function("read_user")
    assert read_user.invoke({"id": 1}).error["errorType"] == "NotFound"

    created = create_user.invoke(ANN).answer()

    again = read_user.invoke(created)
    assert not again.cold
    assert again.answer()["name"] == "Ann"


def test_list_answers_with_all_users_in_the_order_of_their_ids(function, store):
    list_users = function("list_users")
    assert list_users.invoke({}).answer() == {"users": []}

    store("Cid", "Ann", "Bob")

    assert names(list_users.invoke({})) == ["Cid", "Ann", "Bob"]


def test_list_goes_on_after_an_id(function, store):
    list_users = function("list_users")
    store(*(f"U{number}" for number in range(101)))

    first = list_users.invoke({}).answer()["users"]

    assert len(first) == 100
    assert names(list_users.invoke({"after": first[-1]["id"]})) == ["U100"]


def names(invocation):
    return [user["name"] for user in invocation.answer()["users"]]
