"""A copy of the project for tests that change it."""

import shutil
import subprocess
from pathlib import Path

from goldline.project import root


def copied(folder: Path) -> Path:
    """Copy what git knows of, uncommitted changes included, into a folder; return it."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=root(),
        capture_output=True,
        text=True,
        check=True,
    )
    for name in listed.stdout.split("\0"):
        if name and (root() / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(root() / name, folder / name)
    return folder
