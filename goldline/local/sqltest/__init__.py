"""What `goldline test` does: SQL is judged by Google's analyser, and the contracts' unit tests run on two engines."""

from goldline.local.sqltest.analysis import Problem, check_sql
from goldline.local.sqltest.cases import CaseError, CaseResult, Engine, Outcome, run_cases
from goldline.local.sqltest.compare import differences
from goldline.local.sqltest.reference_engine import ReferenceEngine

__all__ = [
    "CaseError",
    "CaseResult",
    "Engine",
    "Outcome",
    "Problem",
    "ReferenceEngine",
    "check_sql",
    "differences",
    "run_cases",
]
