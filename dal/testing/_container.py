"""A MySQL container, through testcontainers, where a Docker engine and the image can be had."""

import contextlib
import gc
import os
import queue
import re
import secrets
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pymysql
from docker.errors import (  # type: ignore[import-untyped]
    APIError,
    DockerException,
    ImageNotFound,
)
from testcontainers.community.mysql import MySqlContainer
from testcontainers.core.config import ConnectionMode, testcontainers_config
from testcontainers.core.container import Reaper
from testcontainers.core.docker_client import DockerClient
from testcontainers.core.wait_strategies import LogMessageWaitStrategy

from dal.testing._keeper import Keeper
from dal.testing._rung import (
    MYSQL_OPTIONS,
    Answer,
    Running,
    Unavailable,
    Wanted,
    ask,
    complaint,
    is_loopback,
)

DEFAULT_IMAGE = "mysql:9.7"

_PORT = 3306
_FILES = "/dal-files"

# The server that the image's entrypoint starts for a moment says "port: 0", so one such line is
# enough. testcontainers' own pattern wants two: in vain where the data directory is ready made.
_READY = rf": ready for connections\.\s[^\n]*port: {_PORT}\b"
_READY_LIMIT = 120
_READY_POLL = 0.1

_ENGINE_LIMIT = 5
_PULL_SILENCE = 30.0

_Troubles = (DockerException, OSError, RuntimeError)


def container(wanted: Wanted) -> Running:
    """Start a MySQL container.

    Where nothing is to be had it says so within seconds: a registry is asked for the image's
    manifest, which has a time limit, before the image is pulled, which has none.

    Raises:
        Unavailable: no engine answers, the image cannot be had, or the server does not start.
    """
    image = os.environ.get("DAL_TEST_IMAGE", DEFAULT_IMAGE)
    with _engine() as client:
        _fetch(client, image, wanted.say)
        _start_reaper(client, wanted.say)
    return _start(image, wanted)


@contextlib.contextmanager
def _engine() -> Iterator[Any]:
    trouble = ""
    with warnings.catch_warnings():
        # The docker client leaves its socket open when the engine does not answer it.
        warnings.filterwarnings("ignore", "unclosed", ResourceWarning)
        try:
            client = DockerClient(timeout=_ENGINE_LIMIT).client
        except _Troubles as error:
            trouble = str(error)
        gc.collect()
    if trouble:
        raise Unavailable(f"no Docker engine answers ({trouble})")
    try:
        yield client
    finally:
        client.close()


def _fetch(client: Any, image: str, say: Callable[[str], None]) -> None:
    """Have the image in the engine.

    Raises:
        Unavailable: it is not there, and no registry gives it.
    """
    image = testcontainers_config.hub_image_name_prefix + image
    try:
        try:
            client.images.get(image)
        except ImageNotFound:
            client.images.get_registry_data(image)
            say(f"pulling the image {image}")
            _pull(client, image)
    except (DockerException, OSError) as error:
        why = _explained(error)
        raise Unavailable(f"the image {image} is not here and cannot be pulled ({why})") from error


def _explained(error: Exception) -> str:
    """What the engine says is the matter, without the request it says it about."""
    explanation = error.explanation if isinstance(error, APIError) else None
    return str(explanation or error)


def _pull(client: Any, image: str) -> None:
    # The engine retries a registry that went silent for minutes, and docker's client waits for it
    # without a limit; so it is the thread that waits, and its silence that is measured.
    steps: queue.Queue[str | None] = queue.Queue()

    def read() -> None:
        try:
            for step in client.api.pull(image, stream=True, decode=True):
                steps.put(step.get("error", ""))
        except (DockerException, OSError) as error:
            steps.put(str(error))
        steps.put(None)

    threading.Thread(target=read, name="dal-pull", daemon=True).start()
    try:
        while (error := steps.get(timeout=_PULL_SILENCE)) is not None:
            if error:
                raise OSError(error)
    except queue.Empty:
        raise OSError(f"nothing came for {_PULL_SILENCE:.0f} s") from None


def _start_reaper(client: Any, say: Callable[[str], None]) -> None:
    """Start testcontainers' own reaper if it is configured and can be had; else do without."""
    if testcontainers_config.ryuk_disabled:
        return
    try:
        _fetch(client, testcontainers_config.ryuk_image, say)
        Reaper.get_instance()
    except (Unavailable, *_Troubles):
        # Half started: it removes itself, which may be under way.
        with contextlib.suppress(DockerException):
            Reaper.delete_instance()
        testcontainers_config.ryuk_disabled = True


def _start(image: str, wanted: Wanted) -> Running:
    password = secrets.token_hex(16)
    name = f"dal-{secrets.token_hex(6)}"
    mysql = (
        MySqlContainer(
            image,
            username="root",
            password=password,
            dbname="test",
            wait_strategy_check_string=_READY,
        )
        .with_name(name)
        .with_command([*MYSQL_OPTIONS, *wanted.options(_FILES)])
        .with_tmpfs_mount("/var/lib/mysql")
        .waiting_for(
            LogMessageWaitStrategy(re.compile(_READY))
            .with_startup_timeout(_READY_LIMIT)
            .with_poll_interval(_READY_POLL)
        )
    )
    for file, content in wanted.files.items():
        # The server reads them as the image's user mysql, whatever its number is.
        mysql.with_copy_into_container(content, f"{_FILES}/{file}", 0o644)
    if _engine_is_near(mysql):
        # A tuple with no port: any free one, on loopback alone.
        mysql.ports = {f"{_PORT}/tcp": ("127.0.0.1",)}  # type: ignore[dict-item]
    # Before the start, which takes seconds, so that a kill meanwhile leaves nothing either.
    keeper = Keeper("container", name)
    try:
        mysql.start()
        address, answer = _reach(mysql, password)
    except BaseException as error:
        log = _log(mysql)
        keeper.end()
        if isinstance(error, _Troubles):
            why = complaint(log or _explained(error))
            raise Unavailable(f"the container of {image} did not start: {why}") from error
        raise
    finally:
        mysql.get_docker_client().client.close()
    return Running(
        what=f"a container of {image}, version {answer.version}",
        address=address,
        login=("root", password),
        answer=answer,
        stop=keeper.end,
    )


def _log(mysql: MySqlContainer) -> str:
    with contextlib.suppress(*_Troubles):
        return b"\n".join(mysql.get_logs()).decode(errors="replace")
    return ""


def _engine_is_near(mysql: MySqlContainer) -> bool:
    """Whether a port published on the engine's loopback should be within reach from here."""
    gateway = testcontainers_config.connection_mode_override is ConnectionMode.gateway_ip
    return is_loopback(mysql.get_docker_client().host()) and not gateway


def _reach(mysql: MySqlContainer, password: str) -> tuple[tuple[str, int], Answer]:
    if _engine_is_near(mysql):
        # testcontainers takes a /.dockerenv for a container beside the engine, and then connects to
        # the bridge's gateway, where nothing is published. So loopback is tried, and then the
        # container's own address, which is what such a container can reach.
        client, identity = mysql.get_docker_client(), mysql.get_container_id()
        addresses = [
            ("127.0.0.1", int(client.port(identity, _PORT))),
            (client.bridge_ip(identity), _PORT),
        ]
    else:
        addresses = [(mysql.get_container_host_ip(), mysql.get_exposed_port(_PORT))]
    refusals = []
    for address in addresses:
        try:
            return address, ask(address, ("root", password))
        except pymysql.err.OperationalError as error:
            refusals.append(str(error))
    raise Unavailable(f"the container started, but cannot be reached: {'; '.join(refusals)}")
