#!/bin/sh
# Resolves pyproject.toml into the lock files; with --check only says whether they are stale. No host is written into them.
set -eu
cd "$(dirname "$0")/.."
scripts/install.sh --uv-only
export UV_SYSTEM_CERTS=true
out=.
locks="requirements-dev.lock requirements.lock images/goldline/build.lock infra/checkov.lock"
if [ "${1:-}" = "--check" ]; then
    out=$(mktemp -d)
    trap 'rm -rf "$out"' EXIT
    tar -cf - $locks | tar -C "$out" -xf -
fi

compile() { # lock file, what goes in and further options: an existing lock file's versions are kept where they still fit
    lock=$1 && shift
    [ ! -x .venv/bin/python ] || set -- "$@" --python .venv/bin/python
    .tools/uv/bin/uv pip compile --quiet --universal --python-version 3.13 \
        --generate-hashes --no-emit-index-url --no-header --annotation-style line "$@" -o "$out/$lock" >/dev/null
}

compile requirements-dev.lock pyproject.toml --group local --group dev
compile requirements.lock pyproject.toml --constraints requirements-dev.lock
compile images/goldline/build.lock --group pyproject.toml:image-build
compile infra/checkov.lock --group pyproject.toml:infra
[ "$out" = . ] && exit
for lock in $locks; do
    diff -u "$lock" "$out/$lock" || { echo "$lock is stale: run 'make lock' and commit it" >&2; exit 1; }
done
