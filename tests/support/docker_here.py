"""A Docker daemon for the proofs: the one that runs, or one of our own, ended by its own id."""

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from goldline.local import processes
from goldline.project import root

BASE = "python:3.13-slim"
LOCAL_BASE = "goldline-base:local"
DATA = root() / ".tools" / "docker"  # kept, so that a second build finds the layers of the first
START_SECONDS = 60.0
PULL_SECONDS = 120.0


def docker(*words: str, timeout: float | None = None) -> str:
    """What a docker command prints.

    Raises:
        CalledProcessError: it failed.
    """
    done = subprocess.run(["docker", *words], check=True, capture_output=True, text=True, timeout=timeout)
    return done.stdout.strip()


def answers(*words: str, timeout: float | None = None) -> bool:
    """Whether a docker command succeeds."""
    try:
        docker(*words, timeout=timeout)
    except (OSError, subprocess.SubprocessError):
        return False
    return True


@contextlib.contextmanager
def daemon() -> Iterator[None]:
    """A daemon that `docker` talks to: installed with Debian's own packages and started where none answers."""
    if answers("info"):
        yield
        return
    if shutil.which("dockerd") is None:
        _install()
    before = os.environ.get("DOCKER_HOST")
    with tempfile.TemporaryDirectory(prefix="goldline-docker-") as made:
        folder = Path(made)
        DATA.mkdir(parents=True, exist_ok=True)
        # No bridge and no firewall rules: builds and containers use this machine's network as it is.
        command = ["dockerd", "--storage-driver=overlay2", "--iptables=false", "--ip6tables=false", "--bridge=none"]
        command += ["--data-root", str(DATA), "--exec-root", str(folder / "exec"), "--pidfile", str(folder / "pid")]
        address = f"unix://{folder}/docker.sock"
        log = DATA.parent / "docker.log"
        process = processes.start([*command, "--host", address], log)
        os.environ["DOCKER_HOST"] = address
        try:
            processes.wait_until(lambda: answers("info"), process, log, START_SECONDS)
            yield
        finally:
            if running := docker("ps", "--quiet").split():  # whoever asked for them is gone, or about to be
                docker("kill", *running)
            processes.stop(process)
            _unmount(folder)
            os.environ.pop("DOCKER_HOST")
            if before is not None:
                os.environ["DOCKER_HOST"] = before


def base_image() -> str:
    """BASE_IMAGE, or the Dockerfile's own base where a registry can be reached, or one that is made on this machine."""
    if given := os.environ.get("BASE_IMAGE"):
        return given
    if answers("image", "inspect", BASE) or answers("pull", "--quiet", BASE, timeout=PULL_SECONDS):
        return BASE
    if not answers("image", "inspect", LOCAL_BASE):
        if shutil.which("debootstrap") is None:
            _apt_get("debootstrap")
        subprocess.run([root() / "scripts" / "local_base.sh", LOCAL_BASE], check=True)
    return LOCAL_BASE


def _unmount(folder: Path) -> None:
    """Take away what the daemon leaves mounted below a folder: the network namespace that containers shared."""
    mounts = [Path(line.split(" ")[1]) for line in Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()]
    for mounted in mounts:
        if mounted.is_relative_to(folder):
            subprocess.run(["umount", mounted], check=True)


def _install() -> None:
    if shutil.which("apt-get") is None or os.getuid():
        raise RuntimeError("no docker answers here; on a Debian machine, as root, this proof would install its own")
    _apt_get("docker.io")


def _apt_get(package: str) -> None:
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    subprocess.run(["apt-get", "update", "-qq"], check=True, env=quiet)
    install = ["apt-get", "install", "-qq", "-y", "--no-install-recommends", package]
    subprocess.run(install, check=True, env=quiet, stdout=subprocess.DEVNULL)
