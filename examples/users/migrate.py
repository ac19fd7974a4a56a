"""The migrations, as a function: deployed with the others, and called before they are exchanged."""

from pathlib import Path

import dal.migrate
from dal import Database

handle = dal.migrate.handler(Database.from_env(), Path(__file__).with_name("migrations"))
