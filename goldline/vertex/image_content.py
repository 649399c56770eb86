"""What goes into the image of the tasks, and the tag made of it: the same content, the same tag, on any machine.

A tag that stayed while the code changed would let a task run old code, and Vertex AI find old results in its cache: the
cache's key holds the image's name. `python -m goldline.vertex.image_content` prints what scripts/image.sh labels it
with.
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
LEFT_OUT = ("goldline/local", "goldline/emulators")  # the laptop's runner and servers: no task knows of them
TAG_LENGTH = 16


def content(root: Path | None = None) -> list[str]:
    """The paths of all files that the image is made from, sorted."""
    root = root or project_root()
    code = (p.relative_to(root) for package in PACKAGES for p in (root / package).rglob("*") if p.is_file())
    code = (p for p in code if not any(p.is_relative_to(folder) for folder in LEFT_OUT))
    kept = (p for p in code if p.suffix != ".pyc" and "__pycache__" not in p.parts)
    return sorted([*RECIPE, *(p.as_posix() for p in kept)])


def content_tag(root: Path | None = None) -> str:
    """The image's tag: a hash of the names and the content of all that goes in.

    The base image is named in the Dockerfile but what that name stands for is not hashed: the spec that is uploaded
    names the image by its digest, which covers it.
    """
    root, whole = root or project_root(), hashlib.sha256()
    for path in content(root):
        whole.update(f"{path}\n{hashlib.sha256((root / path).read_bytes()).hexdigest()}\n".encode())
    return whole.hexdigest()[:TAG_LENGTH]


def name(repository: str = "", root: Path | None = None) -> str:
    """The image's full name, in a repository such as `europe-west1-docker.pkg.dev/my-project/goldline`."""
    return f"{repository.rstrip('/')}/{IMAGE}:{content_tag(root)}".removeprefix("/")


def difference(image: str, root: Path | None = None) -> str:
    """A line on the code of an image, where it is not the code that lies here; empty where it is, or none can tell.

    Only a tag that was made of content tells: not one of another form, and not where a digest is given, which is what
    counts then, whatever tag stands before it.

    Args:
        image: its name, as in goldline.yaml.
        root: the repository.
    """
    found = re.search(rf":([0-9a-f]{{{TAG_LENGTH}}})$", image)
    if not found or found[1] == (here := content_tag(root)):
        return ""
    return (
        f"the image {image.rsplit('/', 1)[-1]} is not of the code here, which is {here}: SELECTs and graph are sent "
        f"from here, the tasks run the image's code. For the code here: make image, push it, name it in goldline.yaml"
    )


def version(root: Path | None = None) -> str:
    """The package's version."""
    root = root or project_root()
    return str(tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"])


if __name__ == "__main__":
    print(content_tag(), version())
