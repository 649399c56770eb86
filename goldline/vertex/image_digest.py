"""Digests of images: a tag may be moved during a run, a digest always names the same bytes."""

import re
from http import HTTPStatus
from urllib.parse import quote

from goldline.vertex.api import Cloud
from goldline.vertex.errors import CloudError

_TAGGED = re.compile(
    r"(?P<location>[a-z0-9-]+)-docker\.pkg\.dev/(?P<project>[^/]+)/(?P<repository>[^/:@]+)/(?P<image>[^:@]+)"
    r"(:(?P<tag>[\w.-]+))?"
)


class ImageError(CloudError):
    """There is no such image."""


def by_digest(cloud: Cloud, image: str) -> str:
    """Name of an image with its digest; that of a tag is looked up in Artifact Registry.

    Raises:
        ImageError: there is no such image.
        ValueError: the image has no digest, and is not in Artifact Registry.
        CloudError: Artifact Registry refused the request, or could not be reached.
    """
    if re.search(r"@sha256:[0-9a-f]{64}$", image):
        return image
    if not (found := _TAGGED.fullmatch(image)):
        raise ValueError(f"only Artifact Registry is asked for a tag's digest: give ...@sha256:..., got {image}")
    package = quote(found["image"], safe="")
    path = (
        f"v1/projects/{found['project']}/locations/{found['location']}/repositories/{found['repository']}"
        f"/packages/{package}/tags/{found['tag'] or 'latest'}"
    )
    try:
        version = str(cloud.get("artifactregistry", path)["version"])
    except CloudError as error:
        if error.status == HTTPStatus.NOT_FOUND:
            raise ImageError(f"there is no image {image}: push it first ({error})", error.status) from error
        raise
    return f"{image.removesuffix(f':{found["tag"]}')}@{version.rsplit('/', 1)[1]}"
