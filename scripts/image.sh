#!/bin/sh
# Builds the image of the tasks with docker or podman, named after its content, and prints the name. From the environment:
# BASE_IMAGE       the base, where it is not the Dockerfile's own
# IMAGE_REPOSITORY such as europe-west1-docker.pkg.dev/my-project/goldline, to push to
# RUN_AS           user and group, where it is not the Dockerfile's own (docs/first-cloud-run.md says when)
# BUILD_NETWORK    `host` where a build has no network of its own
set -eu
cd "$(dirname "$0")/.."
for builder in docker podman none; do
    command -v "$builder" >/dev/null 2>&1 && "$builder" info >/dev/null 2>&1 && break
done
[ "$builder" != none ] || { echo "no docker and no podman answers here: install one, or start its service" >&2; exit 1; }

facts=$(.venv/bin/python -m goldline.vertex.image_content)
tag=${facts% *}
image=${IMAGE_REPOSITORY:+${IMAGE_REPOSITORY%/}/}goldline:$tag
set -- --file images/goldline/Dockerfile --tag "$image" --build-arg "CONTENT=$tag" --build-arg "VERSION=${facts#* }"
[ -z "${BASE_IMAGE:-}" ] || set -- "$@" --build-arg "BASE_IMAGE=$BASE_IMAGE"
[ -z "${RUN_AS:-}" ] || set -- "$@" --build-arg "RUN_AS=$RUN_AS"
[ -z "${BUILD_NETWORK:-}" ] || set -- "$@" --network "$BUILD_NETWORK"
[ "$(uname -m)" = x86_64 ] || set -- "$@" --platform linux/amd64 # what Vertex AI's machines are
"$builder" build "$@" . >&2
echo "$image"
