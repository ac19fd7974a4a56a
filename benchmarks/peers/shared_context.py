"""The article's handlers with one `SSLContext` for all connections, and nothing else changed."""

import ssl

import address
import by_hand
from by_hand import (  # noqa: F401
    bulk_insert,
    bulk_purge,
    bulk_update,
    bulk_upsert,
    five_statements,
    insert_one,
    page,
    read_100,
    read_modify_write,
    read_one,
    stream,
)

if address.CA:
    by_hand.TLS["ssl"] = ssl.create_default_context(cafile=address.CA)
