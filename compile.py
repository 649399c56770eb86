"""Compile pipeline.py to pipeline.json, and check the result as Vertex AI would read it.

python compile.py            write pipeline.json, its picture in README.md and the page of its parameters
python compile.py --check    write nothing; show the difference if one of them is stale
python compile.py --env prod also write the copy for an environment of goldline.yaml, which names the image by digest,
                             and register it as a template for the console
"""

import argparse
import difflib
import sys
from pathlib import Path
from typing import Any

from goldline import project
from goldline.spec.check.budget import nights
from goldline.spec.check.check import check
from goldline.spec.compiled import compiled, is_same
from goldline.spec.parameters_page import page
from goldline.spec.picture import BEGIN, END, with_picture


def main(arguments: list[str] | None = None) -> int:
    """Compile and check; exit code: 0 good, 1 findings, a stale file or a failed request, 2 wrong settings."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing, fail if pipeline.json is stale")
    parser.add_argument("--env", metavar="NAME", help="also write and register the copy for this environment")
    parser.add_argument("--image", default="", help="image instead of the environment's, with tag or digest")
    parser.add_argument("--tag", action="append", help="tag of the template; may be repeated (default: latest)")
    options = parser.parse_args(arguments)
    text, spec = compiled()
    committed, described = project.pipeline_json(), project.root() / "docs" / "parameters.md"
    if findings := check(spec, nights()):
        print("\n".join(str(f) for f in findings), file=sys.stderr)
        return 1
    try:
        made = {committed: text, described: page(spec), **_readme(spec)}
    except ValueError as error:
        print(f"README.md: {error}", file=sys.stderr)
        return 1
    if options.check:
        return max(_compare(path, content) for path, content in made.items())
    for path, content in made.items():
        path.write_text(content, encoding="utf-8")
    print(f"{committed.name}: {len(spec['deploymentSpec']['executors'])} tasks, {len(text) // 1024} KiB, no findings")
    return _template(options.env, options.image, options.tag or ["latest"]) if options.env else 0


def _readme(spec: dict[str, Any]) -> dict[Path, str]:
    """Text of README.md with the picture, by path; empty if README.md has no lines BEGIN and END."""
    readme = project.root() / "README.md"
    there = readme.read_text(encoding="utf-8") if readme.exists() else ""
    return {readme: with_picture(there, spec)} if {BEGIN, END}.intersection(there.splitlines()) else {}


def _template(environment: str, image: str, tags: list[str]) -> int:
    from goldline.vertex.commands import template
    from goldline.vertex.errors import CloudError

    try:
        text, address = template(environment, image, tags)
    except (ValueError, CloudError) as error:
        print(f"compile.py: {error}", file=sys.stderr)
        return 2 if isinstance(error, ValueError) else 1
    target = project.pipeline_json().with_name(f"pipeline.{environment}.yaml")
    target.write_text(text, encoding="utf-8")
    print(f"{target.name}: {len(text) // 1024} KiB")
    print(f"template {address}" if address else f"no template: {environment} names no repository for them")
    return 0


def _compare(committed: Path, text: str) -> int:
    there = committed.read_text(encoding="utf-8") if committed.exists() else ""
    if there == text or (committed.suffix == ".json" and is_same(there, text)):
        print(f"{committed.name} is what pipeline.py compiles to")
        return 0
    lines = difflib.unified_diff(there.splitlines(), text.splitlines(), "committed", "compiled", n=2, lineterm="")
    print("\n".join(lines), file=sys.stderr)
    print(f"{committed.name} is stale: run `make compile` and commit it", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
