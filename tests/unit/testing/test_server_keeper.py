"""What is started for a test is taken away after it, whatever ended the test; and the template."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from dal.testing._keeper import Keeper
from dal.testing._template import lay_out


def eventually(holds, seconds=5.0):
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def runs(process):
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.fixture
def directory(tmp_path):
    made = tmp_path / "data"
    made.mkdir()
    (made / "table").write_text("rows")
    return made


@pytest.fixture
def keep(directory):
    """Keep a process that writes its number and stays; give the keeper and the number."""
    keepers = []

    def start(script="echo $$ >&2; exec sleep 60"):
        keeper = Keeper("process", str(directory), "/bin/sh", "-c", script)
        keepers.append(keeper)
        eventually(lambda: keeper.log().endswith("\n"))
        return keeper, int(keeper.log())

    yield start
    for keeper in keepers:
        keeper.end()


class TestTheKeeper:
    def test_leaves_neither_process_nor_directory_when_it_ends(self, keep, directory):
        keeper, kept = keep()
        keeper.end()
        assert not runs(kept)
        assert not directory.exists()
        keeper.end()

    def test_does_not_wait_for_a_process_that_ignores_requests(self, keep):
        keeper, kept = keep("trap '' TERM INT HUP; echo $$ >&2; while :; do sleep 1; done")
        started = time.monotonic()
        keeper.end()
        assert not runs(kept)
        assert time.monotonic() - started < 2

    def test_has_ended_when_the_process_has_and_still_tells_what_it_wrote(self, keep, directory):
        keeper, _ = keep("echo $$ >&2")
        eventually(lambda: keeper.ended)
        assert keeper.log().strip().isdigit()
        assert not directory.exists()

    def test_outlives_the_thread_that_started_it(self, keep):
        with ThreadPoolExecutor(1) as pool:
            keeper, kept = pool.submit(keep).result()
        time.sleep(0.1)
        assert runs(kept)
        assert not keeper.ended

    @pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
    def test_is_not_ended_by_a_fork_of_its_asker(self, keep):
        keeper, kept = keep()
        fork = os.fork()
        if fork == 0:
            try:
                keeper.end()
            finally:
                os._exit(0)
        os.waitpid(fork, 0)
        time.sleep(0.1)
        assert runs(kept)

    def test_says_what_it_could_not_remove(self, keep, directory):
        keeper, _ = keep()
        for path in sorted(directory.rglob("*"), reverse=True):
            path.unlink()
        directory.rmdir()
        with pytest.raises(RuntimeError, match="not removed wholly"):
            keeper.end()

    def test_told_to_terminate_takes_away_what_it_kept(self, keep, directory):
        keeper, kept = keep()
        os.kill(keeper._process.pid, signal.SIGTERM)
        eventually(lambda: keeper.ended)
        assert not runs(kept)
        assert not directory.exists()

    @pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG is Linux's")
    def test_killed_takes_the_process_with_it(self, keep):
        keeper, kept = keep()
        os.kill(keeper._process.pid, signal.SIGKILL)
        eventually(lambda: not runs(kept))
        with pytest.raises(RuntimeError, match="not removed wholly"):
            keeper.end()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, None], ids=str)
def test_nothing_outlives_the_asker(directory, how):
    code = (
        "import sys, time; from dal.testing._keeper import Keeper\n"
        "keeper = Keeper('process', sys.argv[1], '/bin/sh', '-c', 'echo $$ >&2; exec sleep 60')\n"
        "while not keeper.log().endswith('\\n'): time.sleep(0.01)\n"
        "print(keeper.log(), flush=True)\n"
        "if sys.argv[2] != 'None': time.sleep(60)\n"
    )
    command = [sys.executable, "-c", code, str(directory), str(how)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as asker:
        kept = int(asker.stdout.readline())
        if how is not None:
            asker.send_signal(how)
    if how is not None:
        eventually(lambda: not runs(kept))
        eventually(lambda: not directory.exists())
    assert not runs(kept)
    assert not directory.exists()


class TestTheTemplate:
    @pytest.fixture(autouse=True)
    def cache(self, monkeypatch, tmp_path):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        return tmp_path / "cache"

    @pytest.fixture
    def initialise(self, tmp_path):
        """A command that takes a while, and notes in `self.runs` each time that it ran."""
        notes = tmp_path / "notes"
        notes.touch()

        def command(data):
            script = 'echo x >>"$1"; mkdir "$2"; sleep 0.2; echo 1 >"$2/auto.cnf"; echo 1 >"$2/ibd"'
            return ["/bin/sh", "-c", script, "sh", str(notes), str(data)]

        command.runs = lambda: len(notes.read_text().split())
        return command

    def test_is_made_once_however_many_ask_at_once(self, tmp_path, initialise):
        said = []
        targets = [tmp_path / str(number) for number in range(4)]
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda data: lay_out(data, "9.7.4", initialise, said.append), targets))
        assert initialise.runs() == 1
        assert len(said) == 1
        assert all((data / "ibd").exists() for data in targets)

    def test_gives_no_copy_the_identity_of_another(self, tmp_path, initialise):
        lay_out(tmp_path / "a", "9.7.4", initialise, print)
        assert not (tmp_path / "a" / "auto.cnf").exists()

    def test_is_made_anew_for_another_version(self, tmp_path, initialise):
        lay_out(tmp_path / "a", "9.7.4", initialise, print)
        lay_out(tmp_path / "b", "9.7.5", initialise, print)
        assert initialise.runs() == 2

    def test_that_failed_is_not_kept(self, tmp_path, initialise):
        def fail(data):
            return ["/bin/sh", "-c", 'mkdir "$1"; echo no room; exit 1', "sh", str(data)]

        with pytest.raises(subprocess.CalledProcessError) as caught:
            lay_out(tmp_path / "a", "9.7.4", fail, print)
        assert caught.value.output == "no room\n"
        with pytest.raises(subprocess.CalledProcessError):
            lay_out(tmp_path / "a", "9.7.4", fail, print)

    def test_is_done_without_where_no_cache_can_be_written(self, tmp_path, cache, initialise):
        cache.write_text("a file is in the way")
        lay_out(tmp_path / "a", "9.7.4", initialise, print)
        lay_out(tmp_path / "b", "9.7.4", initialise, print)
        assert (tmp_path / "b" / "ibd").exists()
        assert initialise.runs() == 2
