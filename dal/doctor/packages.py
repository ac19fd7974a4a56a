"""Which packages a function has to compile at each cold start."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType

_OURS = ("dal", "sqlalchemy", "pymysql")


def uncompiled(
    environ: Mapping[str, str] | None = None, modules: Mapping[str, ModuleType] | None = None
) -> Sequence[str] | None:
    """Return the packages that were loaded without bytecode; None outside a Lambda function.

    Lambda names its function in `AWS_LAMBDA_FUNCTION_NAME`
    (https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html).
    """
    environ = os.environ if environ is None else environ
    if "AWS_LAMBDA_FUNCTION_NAME" not in environ:
        return None
    loaded = sys.modules if modules is None else modules
    return [name for name in _OURS if name in loaded and not _is_compiled(loaded[name])]


def _is_compiled(module: ModuleType) -> bool:
    cached = getattr(module, "__cached__", None)
    return cached is None or Path(cached).is_file()
