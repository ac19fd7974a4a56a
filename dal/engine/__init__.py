"""Reaching the server: settings, TLS, the lean connection, its dialect and its engine."""

from dal.engine.engine import create_engine
from dal.settings import Settings, settings_of

__all__ = ["Settings", "create_engine", "settings_of"]
