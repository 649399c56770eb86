"""Google's own analyser and reference executor of GoogleSQL, as the judge of the project's SQL.

PyPI's `zetasql` carries them as one WebAssembly module. `Analyser` resolves SQL against tables' columns as BigQuery
does, names and types included; `Executor` runs a SELECT on small tables given as Python rows.
"""

from goldline.local.googlesql.analyse import Analyser, SqlError, Statement
from goldline.local.googlesql.execute import Executor, Relation
from goldline.local.googlesql.types import Field, SqlType
from goldline.local.googlesql.values import NotOfTypeError, normal

__all__ = ["Analyser", "Executor", "Field", "NotOfTypeError", "Relation", "SqlError", "SqlType", "Statement", "normal"]
