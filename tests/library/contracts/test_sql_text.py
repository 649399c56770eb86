"""What is known of a SELECT without an engine: what it reads, and the same text under a prefix."""

from pathlib import Path
from random import Random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from goldline.contracts.catalog import catalog
from goldline.contracts.loading import load_all
from goldline.contracts.sql import SqlError, prefixed, reads
from goldline.project import sql_folder
from goldline.runs import ops

TABLE = "silver.stg_sales"


@pytest.mark.parametrize(
    ("select", "expected"),
    [
        ("select 1 as one", set()),
        ("select * from silver.a", {"silver.a"}),
        ("select * from silver.a;\n", {"silver.a"}),
        ("select * from silver.a join gold.b using (id) left join ops.c on true", {"silver.a", "gold.b", "ops.c"}),
        ("select * from silver.a, gold.b as b", {"silver.a", "gold.b"}),
        ("(select * from silver.a) union all select * from gold.b", {"silver.a", "gold.b"}),
        ("select (select max(x) from silver.a) from (select * from gold.b)", {"silver.a", "gold.b"}),
        ("select * from silver.a where x in (select x from gold.b)", {"silver.a", "gold.b"}),
        ("select * from silver.a where exists (select 1 from ops.b where b.x = a.x)", {"silver.a", "ops.b"}),
        # A CTE is no table, not even where it is named like one, or written in other letters
        ("with a as (select * from silver.a) select * from a", {"silver.a"}),
        ("with A as (select * from silver.b) select * from a", {"silver.b"}),
        ("with a as (with b as (select * from gold.c) select * from b) select * from a", {"gold.c"}),
        ("with recursive r as (select 1 as n union all select n + 1 from r) select * from r, silver.a", {"silver.a"}),
        # Arrays are no tables, whichever way they are joined
        ("select * from unnest([1, 2]) as n", set()),
        ("select * from silver.a as s, unnest(s.items) as item", {"silver.a"}),
        ("select array(select as struct i.x from unnest(items) as i with offset) from silver.a", {"silver.a"}),
        ("select * from silver.a as s, s.items as item", {"silver.a"}),
        ("select * from silver.a, a.items", {"silver.a"}),
        ("select * from silver.a as s cross join s.lines.items", {"silver.a"}),
        ("select * from silver.a as s where exists (select 1 from s.items as i where i.x = 1)", {"silver.a"}),
        ("with c as (select * from silver.a) select * from c where exists (select 1 from C.items)", {"silver.a"}),
        ("select * from (select * from silver.a) as q where exists (select 1 from q.lines.items)", {"silver.a"}),
        # Back-ticks around the whole name, or around its parts
        ("select * from `silver.a`", {"silver.a"}),
        ("select * from `silver`.`a` join `gold`.b using (id), ops.`c`", {"silver.a", "gold.b", "ops.c"}),
        # Comments and texts say nothing
        ("-- from gold.b\nselect 'from gold.c' from silver.a /* join gold.d */ # gold.e", {"silver.a"}),
        ("select \"from gold.b\", r'gold.c', '''from\ngold.d''' from silver.a", {"silver.a"}),
        ("/* one /* comment */ select * from silver.a", {"silver.a"}),
        ("from silver.a |> where x > 1 |> join gold.b using (x)", {"silver.a", "gold.b"}),
    ],
)  # fmt: skip
def test_the_tables_that_are_read(select: str, expected: set[str]) -> None:
    assert reads(select) == expected


@pytest.mark.parametrize(
    ("select", "message"),
    [
        ("", "expected one SELECT"),
        ("-- nothing", "expected one SELECT"),
        ("select 1; select 2", "expected one SELECT"),
        ("insert into silver.a select 1", "expected one SELECT"),
        ("create table silver.a as select 1", "expected one SELECT"),
        ("drop table silver.a", "expected one SELECT"),
        ("select (", "not GoogleSQL: "),
        ("select 'text", "not GoogleSQL: "),
        ("select * from a", "reads a, expected dataset.table with one of bronze, silver, gold, ops"),
        ("select * from other.a", "reads other.a, expected dataset.table"),
        ("select * from SILVER.a", "reads SILVER.a, expected dataset.table"),
        ("select * from project.silver.a", "reads project.silver.a, expected dataset.table"),
        ("select * from `project.silver.a`", "reads `project.silver.a`, expected dataset.table"),
        ("select * from sales.sales", "reads sales.sales, expected dataset.table"),
        ("select * from project.silver.a as project", "reads project.silver.a AS project, expected dataset.table"),
        ("select * from silver.a where exists (select 1 from s.items)", "reads s.items, expected dataset.table"),
        ("select * from external_query('there', 'select 1')", "a table function: the tables behind it are unknown"),
        ("select * from silver.newest(1)", "reads silver.newest(1), a table function"),
    ],
)
def test_what_cannot_be_read_is_refused(select: str, message: str) -> None:
    with pytest.raises(SqlError) as caught:
        reads(select)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "\x1b" not in str(caught.value)


def test_the_projects_selects_can_be_read() -> None:
    known = catalog(load_all(sql_folder()).values(), ops.TABLES).keys()
    found = {path.stem: reads(path.read_text(encoding="utf-8")) for path in sql_folder().glob("*/*.sql")}
    assert found
    assert {name: read for name, read in found.items() if not read or read - known} == {}


def test_a_prefix_changes_the_names_of_tables_alone() -> None:
    select = """-- silver.a is read
with a as (select 'silver.a', "silver.a", r'silver.a', '''silver.a''' as `text` from silver.a)
select a.id, s.silver.a, é.b /* silver.a */
from a, `silver.a` as s, `silver`.`a` as t, silver . a, silver.ab, gold.b as é # silver.a"""
    assert prefixed(select, "dev_", {"silver.a"}) == (
        """-- silver.a is read
with a as (select 'silver.a', "silver.a", r'silver.a', '''silver.a''' as `text` from dev_silver.a)
select a.id, s.silver.a, é.b /* silver.a */
from a, `dev_silver.a` as s, `dev_silver`.`a` as t, dev_silver . a, silver.ab, gold.b as é # silver.a"""
    )


# Any text made of the pieces that SQL is made of

NAMES = ["silver.stg_sales", "`silver.stg_sales`", "`silver`.`stg_sales`", "`silver`.stg_sales", "silver.`stg_sales`"]
NAMES += ["silver . stg_sales", "silver./* the table */stg_sales"]
QUIET = ["'silver.stg_sales'", '"silver.stg_sales"', "'''silver.stg_sales\nand more'''", "r'\\silver.stg_sales'"]
QUIET += [
    "b'silver.stg_sales'",
    "/* silver.stg_sales */",
    "-- silver.stg_sales\n",
    "# `silver.stg_sales`\n",
    "'it\\'s 😀'",
]
QUIET += [
    "s.silver.stg_sales",
    "silver",
    "stg_sales",
    ".5",
    "@run_date",
    "silver.stg_sales_old",
    "é",
    "sale_id",
    "gold.b",
]
PIECES = st.lists(st.tuples(st.booleans(), st.integers(0, 50), st.sampled_from([" ", "\n", "\t ", " , ", "(", ") "])))


def text_of(pieces: list[tuple[bool, int, str]], prefix: str) -> str:
    """The pieces as one text, with `prefix` before every table's dataset."""
    out = []
    for is_table, number, gap in pieces:
        piece = NAMES[number % len(NAMES)] if is_table else QUIET[number % len(QUIET)]
        out.append(("`" + prefix + piece[1:] if piece[0] == "`" else prefix + piece) if is_table else piece)
        out.append(f" {gap}")
    return "".join(out)


@given(PIECES, st.from_regex(r"[a-z][a-z0-9_]{0,5}", fullmatch=True))
@settings(max_examples=200, deadline=None)
def test_every_name_is_prefixed_and_nothing_else(pieces: list[tuple[bool, int, str]], prefix: str) -> None:
    assert prefixed(text_of(pieces, ""), prefix, {TABLE}) == text_of(pieces, prefix)


@given(PIECES, st.from_regex(r"[a-z][a-z0-9_]{0,5}", fullmatch=True))
@settings(max_examples=100, deadline=None)
def test_a_prefix_that_is_removed_again_leaves_the_text(pieces: list[tuple[bool, int, str]], prefix: str) -> None:
    select = text_of(pieces, "")
    there = prefixed(select, f"{prefix}zq_", {TABLE})
    assert there.replace(f"{prefix}zq_", "") == select


@given(st.text())
@example("select 'open")
def test_no_prefix_changes_no_text_at_all(select: str) -> None:
    assert prefixed(select, "") == select  # nor is it read


TABLES = st.sampled_from(["bronze.a", "silver.a", "silver.b", "gold.c", "ops.d"])


@given(st.lists(TABLES, min_size=1, max_size=6), st.randoms(use_true_random=False))
@settings(max_examples=50, deadline=None)
def test_order_and_repetition_do_not_matter(tables: list[str], dice: Random) -> None:
    def union(names: list[str]) -> str:
        return "\nunion all\n".join(f"select * from {name}" for name in names)

    shuffled = list(tables)
    dice.shuffle(shuffled)
    assert reads(union(tables)) == reads(union(shuffled + tables)) == set(tables)


@given(st.lists(TABLES, min_size=1, max_size=4))
@settings(max_examples=50, deadline=None)
def test_what_is_read_under_a_prefix_is_what_was_read(tables: list[str]) -> None:
    select = " union all ".join(f"select '{t}' as t from {t}, `{t}` -- {t}\n" for t in tables)
    under = prefixed(select, "dev_")
    assert reads(under.replace("dev_", "")) == reads(select)
    assert under.count("dev_") == 2 * len(tables)


@pytest.mark.parametrize(
    "path", sorted(sql_folder().rglob("*.sql")), ids=lambda path: str(path.relative_to(sql_folder()))
)
def test_the_projects_selects_under_a_prefix(path: Path) -> None:
    select = path.read_text(encoding="utf-8")
    under = prefixed(select, "dev_zq_")
    assert under != select
    assert under.replace("dev_zq_", "") == select
