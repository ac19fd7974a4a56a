"""What the functions are called with; the same for every peer."""

from typing import Any

#: Rows of the table `account`.
ACCOUNTS = 1000
#: Rows of the table `line`.
LINES = 1_001_000
PAGE = 100


def event(work: str, number: int, size: int) -> dict[str, Any]:
    """Return the event of the call with this number; `size` is how many rows it is about."""
    if work == "read_one":
        return {"id": number % ACCOUNTS + 1}
    if work in ("insert_one", "read_modify_write", "five_statements"):
        return {
            "source": number % ACCOUNTS + 1,
            "target": (number + 7) % ACCOUNTS + 1,
            "amount": number % 10 + 1,
        }
    if work.startswith("bulk_") and work != "bulk_purge":
        return {
            "rows": [
                {"id": key, "owner": f"owner number {key}", "balance": (key + number) % 1000}
                for key in range(1, size + 1)
            ]
        }
    return {
        "read_100": {},
        "bulk_purge": {"from": 0},
        "stream": {"rows": size},
        "stream_rows": {"rows": size},
        "page": {"after": (size - 1) * PAGE, "limit": PAGE},
    }[work]
