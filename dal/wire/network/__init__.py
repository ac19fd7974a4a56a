"""The bytes: a socket whose every wait is bounded, TLS, and why no connection was made."""
