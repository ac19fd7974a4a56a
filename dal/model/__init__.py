"""Models: a declarative base, column types and mixins. Optional to users."""

from dal.model.base import NAMING_CONVENTION, Base
from dal.model.datetimes import UTCDateTime
from dal.model.exact import ExactNumeric
from dal.model.timestamps import Timestamps
from dal.model.uuids import BinaryUUID, UUIDKey, uuid7
from dal.model.versioned import Versioned

__all__ = [
    "NAMING_CONVENTION",
    "Base",
    "BinaryUUID",
    "ExactNumeric",
    "Timestamps",
    "UTCDateTime",
    "UUIDKey",
    "Versioned",
    "uuid7",
]
