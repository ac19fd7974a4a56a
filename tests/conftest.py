"""What every test here stands on."""

import re
from collections import Counter

_ADDRESS = re.compile(r" at 0x[0-9a-f]+|(?<=%\()\d{10,}(?= )")


def pytest_collection_modifyitems(items):
    """Name each test alike in every process: without addresses in memory.

    The workers of pytest-xdist agree by these names on what to run.
    """
    seen = Counter()
    for item in items:
        name = _ADDRESS.sub("", item.nodeid)
        if name != item.nodeid:
            seen[name] += 1
            item._id = type(item._id).parse(f"{name}#{seen[name]}")
