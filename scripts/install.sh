#!/bin/sh
# Makes .venv from requirements-dev.lock with a uv of the project's own. Needs a system Python 3 and a package index; nothing else.
set -eu
cd "$(dirname "$0")/.."
UV_VERSION=0.13.9
tools=$PWD/.tools
uv=$tools/uv/bin/uv
export UV_PYTHON_INSTALL_DIR="$tools/python"
export UV_SYSTEM_CERTS=true # as pip does: a company's own certificates are the system's affair

say() { printf 'goldline: %s\n' "$*" >&2; }

# A bare Debian has Python but neither pip nor ensurepip: its own package of wheels carries pip, and unpacking needs no root.
pip_of_debian() {
    command -v apt-get >/dev/null 2>&1 && command -v dpkg-deb >/dev/null 2>&1 || return 1
    mkdir -p "$tools/deb"
    (
        cd "$tools/deb"
        apt-get download python3-pip-whl >/dev/null 2>&1 ||
            { [ "$(id -u)" = 0 ] && apt-get update -qq && apt-get download python3-pip-whl >/dev/null 2>&1; }
    ) || return 1
    dpkg-deb -x "$tools"/deb/python3-pip-whl_*.deb "$tools/deb"
    ls "$tools"/deb/usr/share/python-wheels/pip-*.whl
}

get_uv() {
    [ "$("$uv" --version 2>/dev/null | cut -d' ' -f2)" = "$UV_VERSION" ] && return
    say "fetching uv $UV_VERSION into .tools/"
    rm -rf "$tools/uv"
    if python3 -m pip --version >/dev/null 2>&1; then
        set -- python3 -m pip
    elif python3 -m venv "$tools/pip" >/dev/null 2>&1; then
        set -- "$tools/pip/bin/python" -m pip
    elif wheel=$(pip_of_debian); then
        set -- python3 "$wheel/pip"
    else
        say "this Python has no pip. Install it (Debian: apt-get install python3-pip) and try again"
        exit 1
    fi
    "$@" install --quiet --disable-pip-version-check --no-warn-script-location --root-user-action ignore \
        --target "$tools/uv" "uv==$UV_VERSION"
}

# On PATH, as a version of pyenv (whose shim answers only for the version that is switched on), else fetched by uv.
find_python() {
    for python in python3.13 python3 "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.13*/bin/python; do
        if "$python" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 13))' >/dev/null 2>&1; then
            command -v "$python"
            return
        fi
    done
    echo 3.13
}

get_uv
[ "${1:-}" = "--uv-only" ] && exit
[ -x .venv/bin/python ] || "$uv" venv --quiet --no-config --python "$(find_python)" .venv || {
    say "no Python 3.13 on PATH or under pyenv, and uv could not fetch one"
    exit 1
}
say "installing into .venv (some minutes at first, seconds later)"
"$uv" pip sync --quiet --require-hashes --compile-bytecode --python .venv/bin/python requirements-dev.lock
"$uv" pip install --quiet --no-deps --no-build-isolation --python .venv/bin/python --editable .
touch .venv/installed
