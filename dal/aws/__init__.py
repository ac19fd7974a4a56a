"""What `dal` knows of AWS Lambda."""

from dal.aws.answer import is_failure
from dal.aws.handler import RESERVE, as_unit_of_work

__all__ = ["RESERVE", "as_unit_of_work", "is_failure"]
