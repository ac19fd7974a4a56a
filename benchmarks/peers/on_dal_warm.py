"""On dal with `pool="warm"`: the same functions, and one session kept from each to the next."""

import os

os.environ["DAL_POOL"] = "warm"

from on_dal import (  # noqa: F401
    bulk_insert,
    bulk_purge,
    bulk_update,
    bulk_upsert,
    five_statements,
    insert_one,
    page,
    prepare_page,
    read_100,
    read_modify_write,
    read_one,
    stream,
)
