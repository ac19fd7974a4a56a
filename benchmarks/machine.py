"""The kind of machine and the versions that figures come from; nothing that names either."""

import os
import platform
from importlib import metadata

from benchmarks.site import Site

_PACKAGES = ("SQLAlchemy", "PyMySQL", "advanced-alchemy", "Django", "mysqlclient")


def machine(site: Site) -> dict[str, object]:
    """Return what a reader needs to judge the figures."""
    return {
        "cpus": os.cpu_count(),
        "system": platform.system(),
        "python": platform.python_version(),
        "server": f"MySQL {site.server.version} ({site.server.rung}), on loopback",
        "packages": {name: _version(name) for name in _PACKAGES},
        "load": round(os.getloadavg()[0], 1),
    }


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
