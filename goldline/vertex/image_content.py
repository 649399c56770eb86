"""Content of the tasks' image, and its tag, a hash of it: the same content has the same tag on any machine.

With a tag that stays while the code changes, a task may run old code, and Vertex AI may take old results from its
cache, whose key holds the image's name. `python -m goldline.vertex.image_content` prints tag and version for
scripts/image.sh.
"""

import hashlib
import re
import tomllib
from pathlib import Path

from goldline.project import root as project_root
from goldline.spec.task import IMAGE

DOCKERFILE = "images/goldline/Dockerfile"
RECIPE = (DOCKERFILE, ".dockerignore", "requirements.lock", "images/goldline/build.lock")
PACKAGES = ("components", "goldline")
LEFT_OUT = ("goldline/local", "goldline/emulators")  # the laptop's runner and servers: no task imports them
TAG_LENGTH = 16


def content(root: Path | None = None) -> list[str]:
    """Paths of all files that the image is made from, below the project's folder, sorted."""
    root = root or project_root()
    code = (p.relative_to(root) for package in PACKAGES for p in (root / package).rglob("*") if p.is_file())
    code = (p for p in code if not any(p.is_relative_to(folder) for folder in LEFT_OUT))
    kept = (p for p in code if p.suffix != ".pyc" and "__pycache__" not in p.parts)
    return sorted([*RECIPE, *(p.as_posix() for p in kept)])


def content_tag(root: Path | None = None) -> str:
    """Tag of the image: a hash of the names and contents of its files.

    The base image is covered by its name in the Dockerfile only. An uploaded spec names the image by its digest, which
    covers the base's content too.
    """
    root, whole = root or project_root(), hashlib.sha256()
    for path in content(root):
        whole.update(f"{path}\n{hashlib.sha256((root / path).read_bytes()).hexdigest()}\n".encode())
    return whole.hexdigest()[:TAG_LENGTH]


def name(repository: str = "", root: Path | None = None) -> str:
    """Full name of the image, in a repository such as `europe-west1-docker.pkg.dev/my-project/goldline`."""
    return f"{repository.rstrip('/')}/{IMAGE}:{content_tag(root)}".removeprefix("/")


def difference(image: str, root: Path | None = None) -> str:
    """Message that an image has other code than this folder; empty if it has the same, or its name does not show it.

    Only a tag made by `content_tag` shows it: no other tag, and no tag before a digest, since the digest counts.

    Args:
        image: name of the image, as in goldline.yaml.
        root: the project's folder; None: that of the current one.
    """
    found = re.search(rf":([0-9a-f]{{{TAG_LENGTH}}})$", image)
    if not found or found[1] == (here := content_tag(root)):
        return ""
    return (
        f"the image {image.rsplit('/', 1)[-1]} is not of the code here, which is {here}: SELECTs and graph are sent "
        f"from here, tasks run the image's code. To run the code here: make image, push it, name it in goldline.yaml"
    )


def version(root: Path | None = None) -> str:
    """Version of the project in its pyproject.toml."""
    root = root or project_root()
    return str(tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"])


if __name__ == "__main__":
    print(content_tag(), version())
