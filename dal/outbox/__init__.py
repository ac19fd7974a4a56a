"""Messages that leave exactly when the work is committed: written with it, sent by a relay."""

from dal.outbox.message import Message
from dal.outbox.outbox import Backlog, Outbox
from dal.outbox.relay import Relay
from dal.outbox.tables import add_tables

__all__ = ["Backlog", "Message", "Outbox", "Relay", "add_tables"]
