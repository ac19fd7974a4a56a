"""TLS: one `SSLContext` per process for each way to trust, built once, and sessions to resume.

PyMySQL builds a new context for every connection, 50 of the 56 ms of a default connect, and several
of its `ssl_*` spellings verify nothing. A ready context is the only form without doubt.

A resumed session spares both sides the certificate: its key proves the server that showed it when
the session began (RFC 8446, 2.2). MySQL keeps sessions for `ssl_session_cache_timeout`, 300 s; a
server that does not know one goes through the full handshake.
"""

from __future__ import annotations

import functools
import socket
import ssl
import time
from pathlib import Path

from dal.errors import ConfigurationError
from dal.settings import Settings

RDS_BUNDLE = (
    "for RDS and Aurora download AWS's global-bundle.pem (AWS guide: 'Using SSL/TLS to encrypt a "
    "connection to a DB instance'), ship it with the function and name it in DAL_TLS_CA"
)


def context_for(settings: Settings) -> ssl.SSLContext | None:
    """Return the process's context for these settings; None where TLS is disabled.

    Raises:
        ConfigurationError: `tls_ca` holds no certificate.
    """
    if settings.tls == "disabled":
        return None
    if settings.tls == "unverified":
        return _unverified()
    return _verified(None if settings.tls_ca is None else str(Path(settings.tls_ca).resolve()))


_sessions: dict[tuple[ssl.SSLContext, str, int], ssl.SSLSession] = {}


def wrap(plain: socket.socket, context: ssl.SSLContext, host: str, port: int) -> ssl.SSLSocket:
    """Encrypt a connection to `host` and `port`, resuming the last session with them."""
    session = _sessions.get((context, host, port))
    return context.wrap_socket(plain, server_hostname=host, session=session)


def remember(encrypted: ssl.SSLSocket, host: str, port: int) -> None:
    """Keep the session of a connection that ends, for the next ones to resume.

    Python copies a session whenever it hands one out, which costs as much as resuming spares: so
    one session serves until half of the time that the server gave it is over.
    """
    place = (encrypted.context, host, port)
    known = _sessions.get(place) if encrypted.session_reused else None
    if known is not None and time.time() < known.time + known.ticket_lifetime_hint / 2:
        return
    session = encrypted.session
    if session is not None and session.has_ticket:
        _sessions[place] = session


# Said outright: some builds leave it to an openssl.cnf that a bare system lacks.
_OLDEST = ssl.TLSVersion.TLSv1_2


@functools.cache
def _verified(authorities: str | None) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=authorities)
    except OSError as error:  # ssl.SSLError as well
        raise ConfigurationError(
            f"tls_ca names {authorities!r}, which cannot be read as PEM certificates; "
            f"its variable is DAL_TLS_CA; {RDS_BUNDLE}"
        ) from error
    context.minimum_version = _OLDEST
    # Python 3.13 adds VERIFY_X509_STRICT, which refuses authorities without a critical
    # basicConstraints, such as rds-ca-2019 and those that MySQL makes for itself.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


@functools.cache
def _unverified() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = _OLDEST
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
