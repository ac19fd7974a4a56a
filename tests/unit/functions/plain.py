"""Handlers for the runtime's tests: each shows one thing a function can do."""

import os
import sys
import time

calls = 0


def count(event, context):
    global calls  # noqa: PLW0603 - state that outlives an invocation is the subject
    calls += 1
    return {"event": event, "calls": calls, "pid": os.getpid()}


def describe(event, context):
    return {
        "request_id": context.aws_request_id,
        "name": context.function_name,
        "memory": context.memory_limit_in_mb,
        "arn": context.invoked_function_arn,
        "left": context.get_remaining_time_in_millis(),
        "environment": dict(os.environ),
    }


def raise_error(event, context):
    raise LookupError("no such thing")


def answer_a_set(event, context):
    return {1, 2}


def answer_bytes(event, context):
    return b"\x00plain"


def answer_of_size(event, context):
    return "x" * (event - 2)  # the quotes around it make two more


def leave(event, context):
    if event == "SystemExit":
        sys.exit()
    os._exit(event)


def sleep(event, context):
    time.sleep(event)
    return "slept"


def talk(event, context):
    sys.stdout.write(f"said {event}\n")
    os.write(2, b"and on stderr\n")


def spawn(event, context):
    child = os.fork()
    if child == 0:
        time.sleep(60)
    return child
