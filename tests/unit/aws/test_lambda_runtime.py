"""The Lambda emulator, with the real awslambdaric process and no database."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from dal.testing import runtime
from dal.testing._runtime_process import RESPONSE_LIMIT
from dal.testing.runtime import Function, InvocationFailed

FUNCTIONS = Path(__file__).parents[1] / "functions"
ROOT = Path(__file__).parents[3]


def function(handler, **options):
    return Function(handler, path=[FUNCTIONS], **options)


def eventually(condition, seconds=5.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "did not happen in time"
        time.sleep(0.005)


def gone(pid):
    """Whether the process is no more (an orphan that nobody reaps counts as gone)."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return True
    return state == "Z"


def state(pid):
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


class TestInvocation:
    def test_the_first_is_cold_and_the_next_reuses_the_process(self):
        with function("plain.count") as fn:
            assert fn.pid is None
            first, second = fn.invoke({"a": 1}), fn.invoke([2])
            assert fn.cold_starts == 1
            assert fn.pid == first.payload["pid"]
        assert (first.cold, second.cold) == (True, False)
        assert first.payload == {"event": {"a": 1}, "calls": 1, "pid": first.payload["pid"]}
        assert second.payload == {"event": [2], "calls": 2, "pid": first.payload["pid"]}
        assert json.loads(second.raw) == second.payload == second.answer()
        assert first.init_duration > 0
        assert second.init_duration is None

    def test_the_context_tells_what_lambda_tells(self):
        with function("plain.describe", timeout=2.0, memory_mb=256, name="users") as fn:
            told = fn.invoke()
        assert told.payload["request_id"] == told.request_id
        assert told.payload["name"] == "users"
        assert told.payload["memory"] == "256"
        assert told.payload["arn"] == "arn:aws:lambda:us-east-1:123456789012:function:users"
        assert 1000 < told.payload["left"] <= 2000

    def test_a_handler_may_be_named_by_its_path(self):
        with Function("tests/unit/functions/plain.count", path=[ROOT]) as fn:
            assert fn.invoke().payload["calls"] == 1

    def test_the_function_sees_its_own_environment_and_not_the_developers(self, monkeypatch):
        for leak in ("DATABASE_URL", "DB_HOST", "DAL_TLS", "AWS_ACCESS_KEY_ID", "AWS_PROFILE"):
            monkeypatch.setenv(leak, "the developer's")
        with function("plain.describe", environment={"DB_HOST": "mine", "AWS_REGION": "x"}) as fn:
            seen = fn.invoke().payload["environment"]
        assert seen["DB_HOST"] == "mine"
        assert seen["AWS_REGION"] == seen["AWS_DEFAULT_REGION"] == "x"
        assert seen["AWS_LAMBDA_FUNCTION_NAME"] == "plain"
        assert seen["_HANDLER"] == "plain.describe"
        assert not {"DATABASE_URL", "DAL_TLS", "AWS_ACCESS_KEY_ID", "AWS_PROFILE"} & set(seen)
        assert "the developer's" not in seen.values()

    def test_bytes_go_out_as_they_are(self):
        with function("plain.answer_bytes") as fn:
            answer = fn.invoke()
        assert answer.raw == b"\x00plain"
        assert answer.payload is None
        assert answer.error is None

    def test_a_warm_invocation_takes_milliseconds(self):
        with function("plain.count") as fn:
            fn.invoke()
            fastest = min(fn.invoke().duration for _ in range(5))
        assert fastest < 0.02  # Nagle's delayed acknowledgements alone would be 0.08

    def test_the_log_is_what_this_invocation_wrote(self):
        with function("plain.talk") as fn:
            assert fn.invoke("one").log == "said one\nand on stderr\n"
            assert fn.invoke("two").log == "said two\nand on stderr\n"

    def test_a_second_thread_is_refused(self):
        with function("plain.sleep") as fn:
            thread = threading.Thread(target=fn.invoke, args=(0.3,))
            thread.start()
            eventually(lambda: fn.pid is not None)
            with pytest.raises(RuntimeError, match="in use by another thread"):
                fn.invoke(0)
            thread.join()
            assert fn.invoke(0).answer() == "slept"

    def test_an_event_that_is_no_json_raises_and_starts_nothing(self):
        with function("plain.count") as fn:
            with pytest.raises(TypeError):
                fn.invoke({1, 2})
            assert fn.cold_starts == 0


class TestErrors:
    def test_an_exception_is_given_as_posted_and_the_process_lives_on(self):
        with function("plain.raise_error") as fn:
            failed = fn.invoke()
            again = fn.invoke()
        assert failed.error["errorType"] == "LookupError"
        assert failed.error["errorMessage"] == "no such thing"
        assert "plain.py" in failed.error["stackTrace"][-1]
        assert failed.payload is None
        assert json.loads(failed.raw) == failed.error
        assert not again.cold

    def test_answer_raises_with_the_end_of_the_log(self):
        with function("plain.raise_error") as fn:
            failed = fn.invoke()
        with pytest.raises(InvocationFailed) as caught:
            failed.answer()
        assert caught.value.error == failed.error
        assert str(caught.value).startswith("LookupError: no such thing\n")
        assert "[ERROR] LookupError: no such thing" in str(caught.value)

    def test_an_answer_that_is_no_json_is_an_error_of_the_runtime(self):
        with function("plain.answer_a_set") as fn:
            assert fn.invoke().error["errorType"] == "Runtime.MarshalError"

    def test_an_import_error_is_given_as_posted_and_the_next_one_starts_afresh(self):
        with function("broken.handler") as fn:
            failed, again = fn.invoke(), fn.invoke()
        assert failed.error["errorType"] == "ValueError"
        assert failed.error["errorMessage"] == "wrong setting"
        assert "wrong setting" in failed.log
        assert failed.duration == 0.0
        assert failed.init_duration > 0
        assert (failed.cold, again.cold, fn.cold_starts) == (True, True, 2)

    @pytest.mark.parametrize(
        ("handler", "kind"),
        [
            ("absent.handler", "Runtime.ImportModuleError"),
            ("plain.absent", "Runtime.HandlerNotFound"),
            ("plain", "Runtime.MalformedHandlerName"),
        ],
    )
    def test_a_wrong_handler_is_named(self, handler, kind):
        with function(handler) as fn:
            assert fn.invoke().error["errorType"] == kind

    @pytest.mark.parametrize(
        ("event", "reason"),
        [
            (3, "Runtime exited with error: exit status 3"),
            (0, "Runtime exited without providing a reason"),
            ("SystemExit", "Runtime exited without providing a reason"),
        ],
    )
    def test_a_process_that_ends_is_an_exit_error_and_the_next_one_is_cold(self, event, reason):
        with function("plain.leave") as fn:
            failed = fn.invoke(event)
            assert fn.pid is None
            assert fn.invoke(event).cold
        assert failed.error == {
            "errorType": "Runtime.ExitError",
            "errorMessage": f"RequestId: {failed.request_id} Error: {reason}",
        }

    def test_a_process_that_ends_at_import_is_an_exit_error(self):
        with function("exits.handler") as fn:
            failed = fn.invoke()
        assert failed.error["errorType"] == "Runtime.ExitError"
        assert failed.error["errorMessage"].endswith("exit status 7")
        assert failed.init_duration < 5

    def test_an_answer_may_have_six_megabytes_and_100_bytes(self):
        with function("plain.answer_of_size") as fn:
            largest = fn.invoke(RESPONSE_LIMIT)
            too_large = fn.invoke(RESPONSE_LIMIT + 1)
            after = fn.invoke(10)
        assert len(largest.raw) == RESPONSE_LIMIT == 6_291_556
        assert too_large.error["errorType"] == "Function.ResponseSizeTooLarge"
        assert "6291556 bytes" in too_large.error["errorMessage"]
        assert after.cold  # the runtime takes the 413 for fatal
        assert len(after.raw) == 10


class TestTime:
    def test_at_the_timeout_the_process_is_killed_and_the_next_one_is_fresh(self):
        with function("plain.sleep", timeout=0.3) as fn:
            assert fn.invoke(0).answer() == "slept"
            pid = fn.pid
            failed = fn.invoke(30)
            assert gone(pid)
            assert fn.pid is None
            assert fn.invoke(0).cold
        assert failed.error == {
            "errorType": "Sandbox.Timedout",
            "errorMessage": (
                f"RequestId: {failed.request_id} Error: Task timed out after 0.30 seconds"
            ),
        }
        assert 0.3 <= failed.duration < 2.0
        assert not failed.cold

    def test_the_import_is_not_on_the_clock_of_the_invocation(self):
        with function("slow.remaining", timeout=0.5, environment={"SLOW_IMPORT": "0.6"}) as fn:
            late = fn.invoke()
        assert 300 < late.answer() <= 500
        assert late.init_duration > 0.6
        assert late.duration < 0.2

    def test_an_import_over_the_limit_is_started_again_on_the_clock(self, monkeypatch):
        monkeypatch.setattr(runtime, "INIT_LIMIT", 0.2)
        with function("slow.remaining", timeout=20.0, environment={"SLOW_IMPORT": "0.3"}) as fn:
            late = fn.invoke()
            assert fn.cold_starts == 2
        assert 0 < late.answer() < 19_700
        assert late.cold

    def test_an_import_that_never_ends_times_out_with_the_function(self, monkeypatch):
        monkeypatch.setattr(runtime, "INIT_LIMIT", 0.2)
        with function("slow.remaining", timeout=0.3, environment={"SLOW_IMPORT": "30"}) as fn:
            failed = fn.invoke()
        assert failed.error["errorType"] == "Sandbox.Timedout"
        assert failed.duration == 0.0

    def test_a_frozen_environment_does_not_run_until_the_next_invocation(self):
        with function("plain.count") as fn:
            fn.invoke()
            fn.freeze()
            assert state(fn.pid) == "T"
            fn.freeze()  # once more does no harm
            assert fn.invoke().payload["calls"] == 2
            assert state(fn.pid) != "T"
            fn.freeze()
            fn.thaw()
            assert state(fn.pid) != "T"

    def test_nothing_to_freeze_is_an_error_and_nothing_to_thaw_is_not(self):
        with function("plain.count") as fn:
            fn.thaw()
            with pytest.raises(RuntimeError, match="no execution environment"):
                fn.freeze()


class TestTheEnd:
    def test_kill_ends_the_process_and_the_next_invocation_is_cold(self):
        with function("plain.count") as fn:
            pid = fn.invoke().payload["pid"]
            fn.freeze()
            fn.kill()
            assert gone(pid)
            assert fn.pid is None
            again = fn.invoke()
        assert again.cold
        assert again.payload["calls"] == 1

    def test_a_process_killed_from_outside_between_invocations_is_replaced(self):
        with function("plain.count") as fn:
            os.kill(fn.invoke().payload["pid"], signal.SIGKILL)
            eventually(lambda: fn.pid is None)
            assert fn.invoke().payload["calls"] == 1

    def test_kill_from_another_thread_ends_an_invocation(self):
        with function("plain.sleep") as fn:
            fn.invoke(0)
            threading.Timer(0.1, fn.kill).start()
            failed = fn.invoke(30)
        assert failed.error["errorType"] == "Runtime.ExitError"
        assert failed.error["errorMessage"].endswith("signal: killed")

    def test_close_ends_what_the_handler_started_too(self):
        with function("plain.spawn") as fn:
            child = fn.invoke().answer()
            assert not gone(child)
        eventually(lambda: gone(child))

    def test_close_without_a_start_and_twice_is_no_error(self):
        fn = function("plain.count")
        fn.close()
        fn.invoke()
        fn.close()
        fn.close()

    @pytest.mark.parametrize("doing", ["frozen", "busy"])
    def test_nothing_outlives_a_parent_that_was_killed(self, doing):
        parent = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(PARENT), doing],
            env={**os.environ, "PYTHONPATH": str(ROOT), "FUNCTIONS": str(FUNCTIONS)},
            stdout=subprocess.PIPE,
            text=True,
        )
        with parent:
            pid = int(parent.stdout.readline())
            if doing == "frozen":
                assert state(pid) == "T"
            else:
                time.sleep(0.1)  # it has its event by then
            parent.kill()
        eventually(lambda: gone(pid))


PARENT = """
    import os, sys, time
    from dal.testing.runtime import Function

    fn = Function("plain.sleep", path=[os.environ["FUNCTIONS"]], timeout=60.0)
    fn.invoke(0)
    if sys.argv[1] == "frozen":
        fn.freeze()
    print(fn.pid, flush=True)
    if sys.argv[1] == "frozen":
        time.sleep(60)
    fn.invoke(60)
"""


def test_the_parent_does_not_import_the_runtime_client():
    code = "import sys, dal.testing.runtime; print('awslambdaric' in sys.modules)"
    out = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert out.stdout == "False\n"
