"""All flows, twenty times with the tasks that are ready shuffled by a seed: the same tables, records and lineage.

`make proof-order` runs it: a quarter of an hour, so it is no part of `make test-all`; test_any_order.py is a sample of
it. Clickstream has run once before: customers' features read its sessions as last published, which is all that may
depend on the order of flows.
"""

from pathlib import Path

import pytest

from goldline.privacy.pseudonym import make_key_file
from tests.project.test_any_order import DAY, SMALL
from tests.support.run_outcome import KEY, goldline, new_home, outcome

SEEDS = 20
WAYS = [["--isolated"], ["--parallel=1"], *([f"--shuffle={seed}", "--parallel=4"] for seed in range(SEEDS))]


@pytest.mark.timeout(3600)
def test_any_order_leaves_the_same(tmp_path: Path) -> None:
    make_key_file(tmp_path / KEY)
    first = None
    for way in WAYS:
        home = new_home(tmp_path / way[0], (tmp_path / KEY).read_bytes())
        for flows in (["--flows=clickstream"], []):
            done = goldline(home, "run", DAY, SMALL, *flows, *way)
            assert done.returncode == 0, done.stdout + done.stderr
        found = outcome(home)
        first = first or found
        for kind in (0, 1):  # tables, lineage
            assert [name for name, content in found[kind].items() if content != first[kind][name]] == [], way
            assert found[kind].keys() == first[kind].keys()
        print(f"{' '.join(way)}: {sum(map(len, found[0].values())):,} rows in {len(found[0])} tables, as the first")
