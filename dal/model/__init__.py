"""Models: a declarative base with a naming convention. Optional to users."""

from dal.model.base import NAMING_CONVENTION, Base

__all__ = ["NAMING_CONVENTION", "Base"]
