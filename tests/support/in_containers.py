"""Runs a compiled spec as `goldline run` does, but each task in a container: `in_containers.py FOLDER IMAGE`.

kfp's own DockerRunner calls a task that fails fast a success: it looks at a container that is gone already. Here the
exit status of `docker run` is the task's.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from goldline.local import runner as spec_run

# What leads Google's clients to the stack; --env with a name alone hands on the value, if there is one.
VARIABLES = (
    "FIRESTORE_EMULATOR_HOST",
    "STORAGE_EMULATOR_HOST",
    "BIGQUERY_EMULATOR_HOST",
    "BIGQUERY_STORAGE_EMULATOR_HOST",
    "GOOGLE_CLOUD_PROJECT",
    "GOLDLINE_PII_KEY_FILE",
    "GOLDLINE_RETRY",
)


def docker_run(image: str, command: Sequence[str], artifacts: Path) -> list[str]:
    """The command in a container: as the image's own user, on this machine's network, with the run's artifacts."""
    key = os.environ["GOLDLINE_PII_KEY_FILE"]
    mounts = ["--volume", f"{artifacts}:{artifacts}", "--volume", f"{key}:{key}:ro"]
    variables = [word for name in VARIABLES for word in ("--env", name)]
    # kfp puts the interpreter of its own process where the spec says python3.
    words = [word.replace(sys.executable, "python3") for word in command]
    return ["docker", "run", "--rm", "--network", "host", *mounts, *variables, image, *words]


class ContainerTasks(spec_run.Tasks):
    """Tasks in containers."""

    image = ""

    def run_command(self, full_command: list[str], env_vars: dict[str, str] | None = None) -> int:
        """Run a task's command, as the spec has it, in a container."""
        return super().run_command(docker_run(self.image, full_command, self.folder / "artifacts"), env_vars)


if __name__ == "__main__":
    os.umask(0)  # kfp makes the folders of artifacts, the container's user writes into them
    ContainerTasks.image = sys.argv[2]
    spec_run.Tasks = ContainerTasks  # type: ignore[misc]
    sys.exit(spec_run.run(Path(sys.argv[1]), 1, is_isolated=True))
