"""GoogleSQL where DuckDB's reading of a text, or of a product, is another."""

from local_bigquery.sql import rules
from local_bigquery.sql.rules.datetime import from_local
from local_bigquery.sql.rules.typing import DECIMALS, TEXT, kind
from sqlglot import exp

from goldline.emulators.warehouse.upstream import Context

Type = exp.DataType.Type

# Turns what BigQuery does not take for an integer ('1.5', '1e3', '1_000') into what DuckDB does not either.
# Unlike BigQuery's, hexadecimal texts are refused.
NOT_WHOLE = r"^(?s:(.*[^0-9+\-\s].*))$"
# Types whose CAST is right as it is.
SURE = {
    *exp.DataType.INTEGER_TYPES,
    *exp.DataType.REAL_TYPES,
    *exp.DataType.TEMPORAL_TYPES,
    Type.BOOLEAN,
    Type.JSON,
    Type.BINARY,
    Type.VARBINARY,
}


def call(name: str, *args: exp.Expr | str | int) -> exp.Anonymous:
    """A call of DuckDB's function."""
    return exp.Anonymous(this=name, expressions=[exp.convert(arg) for arg in args])


def _cast_as(node: exp.Cast, value: exp.Expr) -> exp.Cast:
    return type(node)(this=value, to=node.to.copy())


def _by_type(node: exp.Cast, text: exp.Expr) -> exp.Expr:
    """`text` where the value is one; where only DuckDB knows its type, it is asked at run time."""
    if kind(node.this) in TEXT:
        return text
    is_text = exp.EQ(this=call("typeof", node.this.copy()), expression=exp.Literal.string("VARCHAR"))
    return exp.Case(ifs=[exp.If(this=is_text, true=text)], default=_cast_as(node, node.this.copy()))


def text_to_integer(node: exp.Expr, context: Context) -> exp.Expr:
    """CAST('1.5' AS INT64) fails, SAFE_CAST gives NULL; DuckDB rounds to 2."""
    if not isinstance(node, exp.Cast) or node.to.this != Type.BIGINT or kind(node.this) in SURE:
        return node
    text = exp.cast(node.this.copy(), "VARCHAR")
    checked = call("regexp_replace", text, NOT_WHOLE, r"Bad int64 value: \1")
    return _by_type(node, _cast_as(node, checked))


def text_to_bool(node: exp.Expr, context: Context) -> exp.Expr:
    """Only 'true' and 'false' are BOOLs; DuckDB takes 'yes', 't' and '1' too."""
    if not isinstance(node, exp.Cast) or node.to.this != Type.BOOLEAN or kind(node.this) in SURE:
        return node
    text = call("lower", exp.cast(node.this.copy(), "VARCHAR"))
    words = [
        exp.If(this=exp.Literal.string("true"), true=exp.true()),
        exp.If(this=exp.Literal.string("false"), true=exp.false()),
    ]
    wrong = None
    if not isinstance(node, exp.TryCast):
        message = exp.DPipe(this=exp.Literal.string("Bad bool value: "), expression=text.copy())
        wrong = call("error", message)  # NULL for NULL
    return _by_type(node, exp.Case(this=text, ifs=words, default=wrong))


def numeric_to_text(node: exp.Expr, context: Context) -> exp.Expr:
    """CAST(NUMERIC '1.50' AS STRING) is '1.5', not '1.500000000'."""
    if not isinstance(node, exp.Cast) or node.to.this not in TEXT or kind(node.this) not in DECIMALS:
        return node
    return call("regexp_replace", call("regexp_replace", node, r"(\.\d*?)0+$", r"\1"), r"\.$", "")


def numeric_product(node: exp.Expr, context: Context) -> exp.Expr:
    """A product of NUMERICs has nine digits after the point; DuckDB gives eighteen.

    It still fails, before it is rounded, from about 1e20 on, where BigQuery goes on to 1e29.
    """
    if isinstance(node, exp.Mul) and kind(node) == Type.DECIMAL:
        return exp.cast(node, exp.DataType.build(DECIMALS[Type.DECIMAL], dialect="duckdb"))
    return node


def safe_time(tree: exp.Expr, context: Context) -> exp.Expr:
    """SAFE.PARSE_TIMESTAMP gives NULL, and `%E*S` is understood.

    Upstream first wraps the function in one that sets the time zone, and then guards the outer one alone. So here the
    guard is put around the inner one, before; its argument stays outside, as SAFE does not cover arguments.
    """
    for node in list(tree.find_all(exp.StrToTime, exp.UnixToTime)):
        if isinstance(node, exp.ParseDatetime):
            continue
        whole = node.parent if isinstance(node.parent, exp.SafeFunc) else node
        value, replaced = node.this.copy(), whole is not node
        parsed: exp.Expr = node.copy()
        if replaced:
            parsed.set("this", exp.column("a0", table="s"))
        if isinstance(parsed, exp.StrToTime) and "%E*S" in parsed.text("format"):
            parsed, replaced = _with_fraction(parsed), True
        if whole is not node:
            parsed = _guarded(parsed, value)
        if replaced:
            whole.replace(parsed)
    return tree


def _guarded(function: exp.Expr, value: exp.Expr) -> exp.Expr:
    row = exp.Struct(expressions=[exp.PropertyEQ(this=exp.to_identifier("a0"), expression=value)])
    body = exp.Lambda(this=exp.func("TRY", function), expressions=[exp.to_identifier("s")])
    return call("list_extract", call("list_transform", exp.Array(expressions=[row]), body), 1)


def _with_fraction(node: exp.StrToTime) -> exp.Expr:
    """strptime takes several forms: seconds with a fraction, and without."""
    form = node.text("format").replace("%Ez", "%z")
    year = "%Y "  # what is not in the form is of 1970, in DuckDB of 1900
    forms = [exp.Literal.string(year + form.replace("%E*S", seconds)) for seconds in ("%S.%f", "%S")]
    value = exp.DPipe(this=exp.Literal.string("1970 "), expression=node.this.copy())
    parsed = call("strptime", value, exp.Array(expressions=forms))
    if "%z" in form:
        return parsed
    instant: exp.Expr = from_local(parsed, node.args.get("zone"))
    return instant


def install() -> None:
    """Adds SQL rules: one before upstream's for dates, the others after all of its."""
    rules.STATEMENT_RULES.insert(0, safe_time)
    rules.NODE_RULES += [text_to_integer, text_to_bool, numeric_to_text, numeric_product]
