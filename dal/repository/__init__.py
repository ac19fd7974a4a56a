"""Repositories: typed access to the rows of a mapped class."""

from dal.repository.conditions import everything
from dal.repository.paging import Page
from dal.repository.repository import Repository
from dal.repository.upsert import Upserted

__all__ = ["Page", "Repository", "Upserted", "everything"]
