"""What the service asks of its tables."""

from dal import Repository
from examples.users.models import User


class Users(Repository[User]):
    """All users."""

    def page(self, *, after: int = 0, size: int = 100) -> list[User]:
        """Return the next users in the order of their ids; an empty list after the last."""
        return self.find(User.id > after, order_by=User.id, limit=size)
