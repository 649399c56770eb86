"""`goldline test`: SQL judged by Google's analyser, and the contracts' unit tests on both engines, in seconds."""

import sys
from pathlib import Path
from typing import TextIO

from goldline.contracts.loading import load_all
from goldline.local import stack
from goldline.local.servers import PROJECT
from goldline.local.sqltest.analysis import check_sql
from goldline.local.sqltest.cases import run_cases
from goldline.local.sqltest.reference_engine import ReferenceEngine
from goldline.project import sql_folder


def run_contract_tests(home: Path, table: str | None, out: TextIO | None = None, folder: Path | None = None) -> int:
    """Check the SQL, run the cases of one table or of all; 1 if anything is wrong.

    Args:
        home: the stack's.
        table: as `stg_orders`, `silver.stg_orders` or `shop/stg_orders`; None: all.
        out: where to show what happens.
        folder: SELECTs and contracts; another one than the project's to try a change in a copy.

    Raises:
        ContractError: a contract is wrong.
        LookupError: there is no such table.
    """
    out, folder = out or sys.stdout, folder or sql_folder()
    if problems := check_sql(folder):
        out.write("".join(f"{problem}\n" for problem in problems))
        return 1
    with stack.using(home) as use, use.leading():
        from goldline.local.sqltest.warehouse_engine import WarehouseEngine

        engine = WarehouseEngine(PROJECT, stack.BUCKET)
        try:
            results = run_cases(load_all(folder), folder, [ReferenceEngine(), engine], table)
        finally:
            engine.close()
    for r in results:
        out.write(f"  {'✓' if r.passed else '✗'} {r.table}: {r.case} ({r.engine}, {r.seconds:.1f} s)\n")
        if r.message:
            out.write("".join(f"      {line}\n" for line in r.message.splitlines()))
    failed = sum(not r.passed for r in results)
    out.write(f"{len(results) - failed} passed, {failed} failed\n")
    return 1 if failed else 0
