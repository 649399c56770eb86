"""BigQuery's dialect of GoogleSQL: features and functions of ZetaSQL that it lacks, and those that only it has."""

import re
from collections.abc import Mapping
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from google.protobuf.message import Message
from zetasql.wasi._pb2.zetasql.local_service import local_service_pb2
from zetasql.wasi._pb2.zetasql.proto import options_pb2 as proto_options_pb2
from zetasql.wasi._pb2.zetasql.public import options_pb2, type_pb2

from goldline.emulators.googlesql.engine import Engine, EngineCrashError, EngineError

# Features of ZetaSQL that BigQuery lacks, by its reference as of 2026. Syntax and types first; functions that belong to
# a feature are off with it.
# https://cloud.google.com/bigquery/docs/reference/standard-sql/functions-all
FEATURES_BIGQUERY_LACKS = """
    AGGREGATE_FILTERING ALLOW_SLASH_PATHS ARRAY_EQUALITY ARRAY_GREATEST_LEAST ARRAY_ORDERING CAST_DIFFERENT_ARRAY_TYPES
    ENABLE_CONSTANT_EXPRESSION_IN_JSON_PATH ENABLE_MEASURES EXPERIMENTAL_MODULES FOR_UPDATE
    IMPLICIT_COERCION_STRING_LITERAL_TO_BYTES INLINE_LAMBDA_ARGUMENT JSON_TYPE_COMPARISON LATERAL_JOIN
    LIMIT_OFFSET_EXPRESSIONS MULTILEVEL_AGGREGATION MULTILEVEL_AGGREGATION_ON_UDAS MULTIWAY_UNNEST PIPE_ASSERT
    PIPE_CREATE_TABLE PIPE_DESCRIBE PIPE_EXPORT_DATA PIPE_FORK PIPE_IF PIPE_INSERT PIPE_RECURSIVE_UNION
    PIPE_STATIC_DESCRIBE PIPE_TEE SQL_GRAPH SQL_GRAPH_PATH_TYPE STRUCT_POSITIONAL_ACCESSOR TIMESTAMP_NANOS
    TIMESTAMP_PICOS TOKENIZED_SEARCH UNNEST_AND_FLATTEN_ARRAYS UUID_TYPE
    ARRAY_AGGREGATION_FUNCTIONS ARRAY_FIND_FUNCTIONS ARRAY_ZIP DOT_PRODUCT EXTENDED_GEOGRAPHY_PARSERS
    EXTRACT_FROM_PROTO FILTER_FIELDS FIRST_AND_LAST_N JSON_CONTAINS_FUNCTION JSON_MORE_VALUE_EXTRACTION_FUNCTIONS
    KLL_QUANTILES_EXTRACT_RELATIVE_RANK L1_NORM L2_NORM MANHATTAN_DISTANCE NULLIFZERO_ZEROIFNULL PI_FUNCTIONS PROTO_MAPS
    REPLACE_FIELDS TYPEOF_FUNCTION
"""
# Features of BigQuery that ZetaSQL leaves off even when asked for all.
FEATURES_BIGQUERY_HAS = "CREATE_VIEWS_WITH_COLUMN_OPTIONS DISABLE_FLOAT32"
# Functions of ZetaSQL that BigQuery lacks, and that belong to no feature.
FUNCTIONS_BIGQUERY_LACKS = """
    apply approx_cosine_distance approx_dot_product approx_euclidean_distance array_filter array_first_n array_includes
    array_includes_all array_includes_any array_is_distinct array_last_n array_max array_min array_remove_first_n
    array_remove_last_n array_transform bool_array dot_product elementwise_avg elementwise_sum flatten float64_array
    iferror int64_array iserror l1_norm l2_norm lax_bool_array lax_float64_array lax_int64_array lax_string_array
    manhattan_distance nulliferror range_is_end_unbounded range_is_start_unbounded regexp_extract_groups safe_to_json
    split_substr st_askml st_nearest_neighbors st_unaryunion string_array timestamp_from_unix_micros
    timestamp_from_unix_millis timestamp_from_unix_seconds to_seconds_interval zstd_compress zstd_decompress_to_bytes
    zstd_decompress_to_string
"""
# Functions of BigQuery that ZetaSQL lacks, each with an equivalent that can be checked.
ONLY_IN_BIGQUERY: Mapping[str, str] = {
    "max_by": "any_value(x having max y)",
    "min_by": "any_value(x having min y)",
    "contains_substr": "strpos(lower(x), 'text') > 0",
    "search": "regexp_contains",
}
FAMILIES_ONLY_IN_BIGQUERY = ("ml.", "ai.", "obj.", "bigframes.", "vector_search", "text_analyze", "information_schema")


class SqlError(ValueError):
    """SQL that ZetaSQL refuses, with line and column, counted from 1, where they are known."""

    def __init__(self, message: str, line: int | None = None, column: int | None = None) -> None:
        super().__init__(message if line is None else f"{message} [at {line}:{column}]")
        self.message, self.line, self.column = message, line, column


@cache
def shared_session(cache_folder: Path) -> "Session":
    """Session shared by the whole process: an engine and its list of functions take 0.1 s to make."""
    return Session(cache_folder)


class Session:
    """Engine set to BigQuery's dialect; a crashed engine is replaced, and `starts` counts them."""

    def __init__(self, cache_folder: Path) -> None:
        self._cache_folder = cache_folder
        self._engine = Engine(cache_folder)
        self.starts = 1

    def call[M: Message](self, method: str, request: Message, response: type[M]) -> M:
        """Call a method of ZetaSQL's service.

        Raises:
            SqlError: ZetaSQL refused the SQL, or crashed on it.
        """
        try:
            return self._engine.call(method, request, response)
        except EngineError as error:
            raise _located(str(error)) from error
        except EngineCrashError as error:
            self._engine = Engine(self._cache_folder)
            self.starts += 1
            raise SqlError(f"cannot be checked here, ZetaSQL itself failed on it: {error}") from error

    def options(self, parameters: Mapping[str, str]) -> Any:  # noqa: ANN401, zetasql's messages are untyped
        """Analyser options that declare query parameters, given as type names by parameter name."""
        options = proto_options_pb2.AnalyzerOptionsProto(
            language_options=self._language,
            default_timezone="UTC",
            error_message_mode=options_pb2.ERROR_MESSAGE_ONE_LINE,
        )
        for name, kind in parameters.items():
            parameter = options.query_parameters.add(name=name)
            parameter.type.type_kind = type_pb2.TypeKind.Value(f"TYPE_{kind}")
        return options

    @cached_property
    def _language(self) -> Any:  # noqa: ANN401
        language = self.call(
            "GetLanguageOptions",
            local_service_pb2.LanguageOptionsRequest(maximum_features=True),
            proto_options_pb2.LanguageOptionsProto,
        )
        features = set(language.enabled_language_features) - _features(FEATURES_BIGQUERY_LACKS)
        language.enabled_language_features[:] = sorted(features | _features(FEATURES_BIGQUERY_HAS))
        language.supported_statement_kinds[:] = []  # none named: every kind
        language.product_mode = options_pb2.PRODUCT_EXTERNAL  # FLOAT64, not DOUBLE
        language.reserved_keywords.append("QUALIFY")
        return language

    @cached_property
    def functions(self) -> Any:  # noqa: ANN401
        """Built-in functions of a catalog: those of BigQuery's dialect."""
        made = proto_options_pb2.ZetaSQLBuiltinFunctionOptionsProto(language_options=self._language)
        known = self.call("GetBuiltinFunctions", made, local_service_pb2.GetBuiltinFunctionsResponse)
        lacking = [f for f in known.function if ".".join(f.name_path) in FUNCTIONS_BIGQUERY_LACKS.split()]
        made.exclude_function_ids.extend(signature.context_id for f in lacking for signature in f.signature)
        return made


def _features(names: str) -> set[int]:
    """Numbers of features by their names; ValueError if ZetaSQL no longer knows one."""
    return {options_pb2.LanguageFeature.Value(f"FEATURE_{name}") for name in names.split()}


def _located(text: str) -> SqlError:
    found = re.fullmatch(r"(.*?) \[at (\d+):(\d+)\]", text, re.DOTALL)
    message, line, column = (found[1], int(found[2]), int(found[3])) if found else (text, None, None)
    return SqlError(_explained(message), line, column)


def _explained(message: str) -> str:
    """Message, with advice where BigQuery and ZetaSQL do not have the same function or table."""
    found = re.match(r"(?:Function|Table|Table-valued function) not found: ([\w.]+)", message)
    name = found[1].lower() if found else ""
    if name in ONLY_IN_BIGQUERY:
        return f"BigQuery has {name}, but it cannot be checked or run here; write {ONLY_IN_BIGQUERY[name]}"
    if name.startswith(FAMILIES_ONLY_IN_BIGQUERY) or ".information_schema" in name:
        return f"{message}. If BigQuery has it: it cannot be checked or run here, so keep it out of a table's SELECT"
    if name.removeprefix("safe.") in FUNCTIONS_BIGQUERY_LACKS.split():
        return f"{message}. ZetaSQL has it, BigQuery does not"
    if message.startswith("Unsupported built-in function"):
        return f"{message}. Google's reference executor can only analyse it; the local warehouse may run it"
    return message
