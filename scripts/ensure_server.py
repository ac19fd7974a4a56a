"""See to it that dal.testing can start a database server here; silent where it can.

Where there is neither a Docker engine with MySQL's image nor a server's program, and this is Debian
and root: install the program from Debian's packages. Not the service: none is started or enabled.
"""

import os
import shutil
import subprocess
import sys

IMAGE = os.environ.get("DAL_TEST_IMAGE", "mysql:9.7")
SERVERS = {
    "mysqld": ["mysql-server-core"],
    "mariadbd": ["mariadb-server-core", "mariadb-client-core"],
}
PLACES = os.pathsep.join(
    [os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin", "/usr/libexec"]
)


def say(what: str) -> None:
    print(f"server: {what}", file=sys.stderr)


def lacks_container() -> str | None:
    """Why MySQL cannot be had in a container, or None where it can."""
    # As dal.testing does it: testcontainers knows more ways to an engine than docker's client.
    from docker.errors import DockerException, ImageNotFound
    from testcontainers.core.config import testcontainers_config
    from testcontainers.core.docker_client import DockerClient

    image = testcontainers_config.hub_image_name_prefix + IMAGE
    try:
        engine = DockerClient(timeout=5).client
    except (DockerException, OSError, RuntimeError):
        return "no Docker engine answers"
    try:
        engine.images.get(image)
    except ImageNotFound:
        try:
            engine.images.get_registry_data(image)
        except (DockerException, OSError):
            return f"the Docker engine has no image {image} and reaches no registry"
    return None


def lacks(rung: str) -> str | None:
    """Why the rung cannot be had, or None where it can."""
    if rung == "container":
        return lacks_container()
    return None if shutil.which(rung, path=PLACES) else f"{rung} is not installed"


def apt_get(*arguments: str) -> None:
    subprocess.run(
        ["apt-get", "-qq", "-o", "DPkg::Lock::Timeout=300", *arguments],
        check=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        env={**os.environ, "DEBIAN_FRONTEND": "noninteractive", "DEBCONF_NOWARNINGS": "yes"},
    )


def known_to_apt(packages: list[str]) -> bool:
    shown = subprocess.run(
        ["apt-cache", "show", "--no-all-versions", *packages], capture_output=True, check=False
    )
    return shown.returncode == 0


def main() -> str | None:
    """Return what stops the work, or None."""
    if os.environ.get("DAL_TEST_URL"):
        return None
    wanted = os.environ.get("DAL_TEST_RUNG")
    # The quick answers first.
    missing: list[str] = []
    for rung in [wanted] if wanted else ["mysqld", "mariadbd", "container"]:
        reason = lacks(rung)
        if reason is None:
            return None
        missing.append(reason)
    why = ", ".join(missing)
    installable = {name: SERVERS[name] for name in SERVERS if wanted in (None, name)}
    if not installable or not shutil.which("apt-get"):
        return f"{why}: start Docker, or install MySQL or MariaDB, or set DAL_TEST_URL"
    if os.geteuid() != 0:
        command = "apt-get install " + " ".join([*installable.values()][-1])
        return f"{why}: run {command} as root, or start Docker, or set DAL_TEST_URL"
    try:
        apt_get("update")
        for packages in installable.values():
            if known_to_apt(packages):
                say(f"{why}: installing {' '.join(packages)} (programs only, no service)")
                apt_get("install", "--no-install-recommends", *packages)
                return None
    except subprocess.CalledProcessError as error:
        return f"{why}, and {' '.join(error.cmd)} failed with {error.returncode}"
    return f"{why}, and Debian's packages have none here: start Docker, or set DAL_TEST_URL"


if __name__ == "__main__":
    stopped_by = main()
    if stopped_by:
        say(stopped_by)
        sys.exit(1)
