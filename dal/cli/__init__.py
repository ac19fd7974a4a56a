"""The command `dal`; click and rich come with the extra `cli`."""

import sys


def main() -> None:
    """Run the command; without its extra, say how to install it (exit code 2)."""
    try:
        from dal.cli.app import dal  # noqa: PLC0415  # needs the extra
    except ModuleNotFoundError as missing:
        if missing.name not in {"click", "rich"}:
            raise
        sys.exit(_without_extra(missing.name))
    dal(prog_name="dal")


def _without_extra(missing: str) -> int:
    sys.stderr.write(
        f"dal: the package {missing} is not installed; pip install 'lambda-dal[cli]'\n"
    )
    return 2
