"""`dal migrate init`: the files that Alembic wants, for a new service."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path

import click

from dal.cli.terminal import Mistake

_MODELS = re.compile(r"(?P<module>[^\W\d]\w*(?:\.[^\W\d]\w*)*)(?::(?P<base>[^\W\d]\w*))?")


@click.command()
@click.argument("models", default="models:Base")
def init(models: str) -> None:
    """Write alembic.ini and migrations/ here, for a new service.

    MODELS is the module that has your models, and the name of their base in it: models:Base where
    you say nothing. No file that is there is changed.

    \b
    Examples:
      dal migrate init                      models.py has the class Base
      dal migrate init shop.models:Base

    \b
    Exit codes:
      0  the files are written
      2  one of them is there already, and none was written; or MODELS is no name
    """
    named = _MODELS.fullmatch(models)
    if named is None:
        raise Mistake(f"{models} is no module and name, such as shop.models:Base")
    texts = _texts(named["module"], named["base"] or "Base")
    there = [str(path) for path in texts if path.exists()]
    if there:
        raise Mistake(f"there is {', '.join(there)} already: nothing was written")
    for path, text in texts.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x") as file:
            file.write(text)
        click.echo(f"wrote {path}", err=True)
    Path("migrations/versions").mkdir(exist_ok=True)
    click.echo("Now: alembic revision --autogenerate -m ..., then alembic upgrade head", err=True)


def _texts(module: str, base: str) -> dict[Path, str]:
    starter = resources.files("dal") / "migrate" / "starter"
    env = (starter / "env.py.txt").read_text().replace("MODULE", module).replace("BASE", base)
    return {
        Path("alembic.ini"): (starter / "alembic.ini").read_text(),
        Path("migrations/env.py"): env,
        Path("migrations/script.py.mako"): (starter / "script.py.mako").read_text(),
    }
