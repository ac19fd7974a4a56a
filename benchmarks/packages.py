"""What is deployed of each peer: its handlers and the packages they need, and nothing else.

Copied from this environment, so that every case runs the same versions. A second interpreter plays
Lambda's own, with the runtime client alone: here are cryptography and whatever else a benchmark
needs, which would be loaded (PyMySQL loads cryptography where it is installed).
"""

import compileall
import shutil
import sys
import venv
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

from benchmarks.site import ROOT

NEEDS = {
    "on_dal": ["SQLAlchemy", "PyMySQL"],
    "lean_hand": ["PyMySQL"],
    "shared_context": ["PyMySQL"],
    "by_hand": ["PyMySQL"],
    "on_django": ["Django", "mysqlclient"],
    "on_sqlalchemy": ["SQLAlchemy", "PyMySQL"],
    "on_advanced_alchemy": ["advanced-alchemy", "PyMySQL"],
}


def deployed(peer: str, directory: Path) -> Path:
    """Return a new directory with the handlers of this peer and what they import."""
    place = directory / peer
    place.mkdir()
    for name in _closure(NEEDS[peer]):
        _copy(name, place)
    for handlers in (ROOT / "benchmarks" / "peers").glob("*.py"):
        if handlers.stem in (peer, "address", "statements", "by_hand"):
            shutil.copy(handlers, place)
    if peer == "on_dal":
        shutil.copytree(ROOT / "dal", place / "dal", ignore=shutil.ignore_patterns("__pycache__"))
    compileall.compile_dir(place, quiet=2)
    return place


def interpreter(directory: Path) -> Path:
    """Return a Python that has Lambda's runtime client and no other package."""
    place = directory / "runtime"
    venv.create(place, symlinks=True)
    (packages,) = place.glob("lib/python*/site-packages")
    for name in _closure(["awslambdaric"]):
        _copy(name, packages)
    compileall.compile_dir(packages, quiet=2)
    return place / "bin" / "python"


def megabytes(place: Path) -> float:
    """Return the size of what is deployed, without compiled bytecode."""
    files = (path for path in place.rglob("*") if path.is_file() and path.suffix != ".pyc")
    return round(sum(path.stat().st_size for path in files) / 1e6, 1)


def _closure(names: Iterable[str]) -> set[str]:
    found: set[str] = set()
    rest = list(names)
    while rest:
        name = rest.pop().lower().replace("_", "-")
        if name in found:
            continue
        found.add(name)
        for text in metadata.requires(name) or ():
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                rest.append(requirement.name)
    return found


def _copy(name: str, place: Path) -> None:
    distribution = metadata.distribution(name)
    for file in distribution.files or ():
        source = Path(str(distribution.locate_file(file)))
        if ".." in file.parts or source.suffix == ".pyc" or not source.is_file():
            continue  # commands, which a function does not have
        target = place / file
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)


def version() -> str:
    """Return this Python's version."""
    return sys.version.split()[0]
