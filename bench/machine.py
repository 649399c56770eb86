"""Description of machine and date, printed with each measurement."""

import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path


def described(packages: Sequence[str]) -> str:
    """Machine, versions of Python and `packages`, and date, in two lines."""
    names = [line.split(":")[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    memory = [int(line.split()[1]) / 2**20 for line in _lines("/proc/meminfo") if line.startswith("MemTotal")]
    cores = f"{len(os.sched_getaffinity(0))} cores of {names[0] if names else platform.machine()}"
    size = f", {memory[0]:.0f} GiB" if memory else ""
    versions = ", ".join(f"{package} {version(package)}" for package in packages)
    return (
        f"{cores}{size}, load {os.getloadavg()[0]:.1f}, {platform.system()} {platform.release()}\n"
        f"Python {platform.python_version()}, {versions}; {datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    )


def _lines(path: str) -> list[str]:
    return Path(path).read_text(encoding="utf-8").splitlines() if Path(path).exists() else []
