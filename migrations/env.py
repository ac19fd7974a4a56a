"""What Alembic runs for each of its commands."""

from dal.migrate import run
from examples.users.models import User

run(User.metadata)
