"""The command `dal`; click and rich come with the extra `cli`."""

import sys


def main() -> None:
    """Run the command; without its extra, say how to install it (exit code 2)."""
    try:
        from dal.cli.app import dal  # noqa: PLC0415  # needs the extra
    except ModuleNotFoundError as missing:
        package = (missing.name or "").partition(".")[0]
        if package not in {"click", "rich"}:
            raise
        sys.stderr.write(f"dal: {package} is not installed; pip install 'lambda-dal[cli]'\n")
        sys.exit(2)
    dal(prog_name="dal")
