"""Repositories: typed access to the rows of a mapped class."""

from dal.repository.reading.paging import Page
from dal.repository.repository import Repository
from dal.repository.shared.conditions import everything
from dal.repository.writing.upsert import Upserted

__all__ = ["Page", "Repository", "Upserted", "everything"]
