"""What `dal` knows of AWS Lambda."""

from typing import TYPE_CHECKING, Any

from dal.aws.answer import is_failure
from dal.aws.handler import RESERVE, as_unit_of_work

if TYPE_CHECKING:
    from dal.aws.publishers import ToEventBridge as ToEventBridge
    from dal.aws.publishers import ToSNS as ToSNS
    from dal.aws.publishers import ToSQS as ToSQS

__all__ = ["RESERVE", "as_unit_of_work", "is_failure"]


def __getattr__(name: str) -> Any:
    if name in {"ToEventBridge", "ToSNS", "ToSQS"}:  # loaded by those who use them
        from dal.aws import publishers  # noqa: PLC0415

        return getattr(publishers, name)
    raise AttributeError(f"module 'dal.aws' has no attribute {name!r}")
