"""A module whose import takes as many seconds as SLOW_IMPORT says."""

import os
import time

time.sleep(float(os.environ["SLOW_IMPORT"]))


def remaining(event, context):
    return context.get_remaining_time_in_millis()
