"""Repositories: typed access to the rows of a mapped class."""

from dal.repository.conditions import everything
from dal.repository.repository import Repository

__all__ = ["Repository", "everything"]
