#!/bin/sh
# Checks infra/: Terraform's format and types, and checkov's rules, in an environment of its own. What could not be checked
# here is said, each time.
set -eu
cd "$(dirname "$0")/.."
say() { printf 'infra: %s\n' "$*" >&2; }

if command -v terraform >/dev/null 2>&1; then
    terraform fmt -check -diff -recursive infra
    say "formatted as terraform fmt would"
    copy=$(mktemp -d)
    trap 'rm -rf "$copy"' EXIT
    cp infra/*.tf "$copy"
    if timeout 120 terraform -chdir="$copy" init -backend=false -input=false >"$copy/init.log" 2>&1; then
        terraform -chdir="$copy" validate
    elif grep -q -e 'could not connect' -e 'no such host' -e 'Failed to query available provider packages' "$copy/init.log"; then
        say "NOT CHECKED: types and references (terraform validate): the provider's registry is not reached from here"
    else
        cat "$copy/init.log" >&2
        exit 1
    fi
else
    say "NOT CHECKED: format, types and references: there is no terraform here"
fi

scripts/install.sh --uv-only
export UV_SYSTEM_CERTS=true
tool=.tools/checkov
if ! cmp -s infra/checkov.lock "$tool/installed"; then
    say "installing checkov into $tool"
    rm -rf "$tool"
    .tools/uv/bin/uv venv --quiet --no-config --python .venv/bin/python "$tool"
    .tools/uv/bin/uv pip sync --quiet --require-hashes --python "$tool/bin/python" infra/checkov.lock
    cp infra/checkov.lock "$tool/installed"
fi
"$tool/bin/checkov" --directory infra --framework terraform --quiet --compact --skip-download
