"""What the service asks of its tables."""

from dal import Repository
from examples.users.models import User


class Users(Repository[User]):
    """All users."""

    def following(self, last: int = 0, *, size: int = 100) -> list[User]:
        """Return the users after the one with the id `last`, in the order of their ids."""
        return self.find(User.id > last, order_by=User.id, limit=size)
