"""ZetaSQL, Google's own analyser and reference executor of GoogleSQL, set to BigQuery's dialect.

PyPI's `zetasql` ships it as one WebAssembly module. `Analyser` resolves SQL against tables' columns as BigQuery does,
names and types included; `Executor` runs a SELECT on small tables given as Python rows.
"""

from goldline.emulators.googlesql.analyse import Analyser, SqlError, Statement
from goldline.emulators.googlesql.execute import Executor, Relation
from goldline.emulators.googlesql.sql_types import Field, SqlType
from goldline.emulators.googlesql.sql_values import NotOfTypeError, normal

__all__ = ["Analyser", "Executor", "Field", "NotOfTypeError", "Relation", "SqlError", "SqlType", "Statement", "normal"]
