#!/bin/sh
# Resolves pyproject.toml into the two lock files; with --check only says whether they are stale. No host is written into them.
set -eu
cd "$(dirname "$0")/.."
scripts/install.sh --uv-only
export UV_SYSTEM_CERTS=true
out=.
[ "${1:-}" = "--check" ] && out=$(mktemp -d) && trap 'rm -rf "$out"' EXIT && cp requirements*.lock "$out"

compile() { # lock file, further options: an existing lock file's versions are kept where they still fit
    lock=$1 && shift
    [ ! -x .venv/bin/python ] || set -- "$@" --python .venv/bin/python
    .tools/uv/bin/uv pip compile pyproject.toml --quiet --universal --python-version 3.13 \
        --generate-hashes --no-emit-index-url --no-header --annotation-style line "$@" -o "$out/$lock" >/dev/null
}

compile requirements-dev.lock --group local --group dev
compile requirements.lock --constraints requirements-dev.lock
[ "$out" = . ] && exit
for lock in requirements.lock requirements-dev.lock; do
    diff -u "$lock" "$out/$lock" || { echo "$lock is stale: run 'make lock' and commit it" >&2; exit 1; }
done
