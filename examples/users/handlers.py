"""The three Lambda functions of the service.

Whatever leaves a handler as an exception reaches the caller as an error with its name and message
(`DuplicateKey`, `NotFound`), and nothing is stored.
"""

from typing import Any

from dal import Database
from examples.users.models import User
from examples.users.repository import Users

# At module level: it reads the settings and opens nothing. Connections belong to invocations.
db = Database.from_env()
users = Users(db)


@db.handler
def create_user(event: dict[str, Any], context: object) -> dict[str, Any]:  # noqa: ARG001
    """Store a user and answer with its id; COMMIT comes before the answer leaves."""
    user = users.add(User(email=event["email"], name=event["name"]))
    return {"id": user.id}


@db.handler(read_only=True)
def read_user(event: dict[str, Any], context: object) -> dict[str, Any]:  # noqa: ARG001
    """Answer with one user as it is now."""
    return view(users.get_one(event["id"]))


@db.handler(read_only=True)
def list_users(event: dict[str, Any], context: object) -> dict[str, Any]:  # noqa: ARG001
    """Answer with the hundred users that follow the id in `after`, or the first hundred."""
    return {"users": [view(user) for user in users.following(event.get("after", 0))]}


def view(user: User) -> dict[str, Any]:
    """Return what callers get to see of a user: values that JSON has."""
    return {
        "id": user.id,
        "email": user.email,
        "name": user.name,
        "created_at": f"{user.created_at.isoformat()}Z",
    }
