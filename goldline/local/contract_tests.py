"""`goldline test`: check SQL with ZetaSQL and run the contracts' unit tests on two engines, in seconds."""

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
    """Check all SQL, then run the unit tests of one table or of all; exit code 1 if anything is wrong, else 0.

    Args:
        home: folder of the stack.
        table: as `stg_orders`, `silver.stg_orders` or `shop/stg_orders`; None: all.
        out: stream for the results; None: standard output.
        folder: folder of SELECTs and contracts; None: the project's.

    Raises:
        ContractError: a contract is invalid.
        LookupError: no table has that name.
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
