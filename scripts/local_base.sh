#!/bin/sh
# Makes a base image on a Debian machine that reaches no registry of images: a minimal system by debootstrap, and in it the
# Python 3.13 that .venv was made with. It stands in for python:3.13-slim. Needs root, debootstrap, a running docker.
set -eu
cd "$(dirname "$0")/.."
image=$1
. /etc/os-release
: "${VERSION_CODENAME:?not a Debian: give BASE_IMAGE instead}"
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT

# The libraries are those that Python's own modules are linked with. The suite is this machine's, as its Python is.
ssl=$(dpkg-query -W -f '${Package}\n' 'libssl3*' | head -n 1)
debootstrap --variant=minbase \
    --include="ca-certificates,netbase,tzdata,$ssl,libsqlite3-0,libffi8,libreadline8,liblzma5,libbz2-1.0,zlib1g,libuuid1,libexpat1" \
    "$VERSION_CODENAME" "$root" >/dev/null
rm -rf "$root"/var/cache/apt/archives/* "$root"/var/lib/apt/lists/* "$root"/usr/share/doc "$root"/usr/share/man "$root"/usr/share/locale

python=$(.venv/bin/python -c 'import sys; print(sys.base_prefix)')
tar -C "$python" --exclude='lib/python3.13/site-packages' --exclude='__pycache__' --exclude='lib/python3.13/test' \
    --exclude='*.a' --exclude='lib/python3.13/config-*' -cf - bin/python3.13 lib | tar -C "$root/usr/local" -xf -
ln -sf python3.13 "$root/usr/local/bin/python3"
mkdir -p "$root/usr/local/lib/python3.13/site-packages"
# Whom this machine trusts, the image may: a package index may stand behind a company's own certificate.
cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt"
chroot "$root" ldconfig
chroot "$root" /usr/local/bin/python3 -m ensurepip >/dev/null

tar -C "$root" -cf - . | docker import --change 'ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt' \
    --change 'CMD ["python3"]' - "$image" >/dev/null
