"""SQL rules for casts, products and parsed times that DuckDB evaluates differently from BigQuery."""

from local_bigquery.sql import rules
from local_bigquery.sql.rules.datetime import from_local
from local_bigquery.sql.rules.typing import DECIMALS, TEXT, kind
from sqlglot import exp

from goldline.emulators.warehouse.upstream import Context

Type = exp.DataType.Type

# Text that BigQuery does not cast to an integer ('1.5', '1e3', '1_000'): replaced by text that DuckDB refuses too.
# Hexadecimal text is refused as well, unlike in BigQuery.
NOT_WHOLE = r"^(?s:(.*[^0-9+\-\s].*))$"
# Types that DuckDB casts as BigQuery does.
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
    """Call of a DuckDB function."""
    return exp.Anonymous(this=name, expressions=[exp.convert(arg) for arg in args])


def _cast_as(node: exp.Cast, value: exp.Expr) -> exp.Cast:
    return type(node)(this=value, to=node.to.copy())


def _by_type(node: exp.Cast, text: exp.Expr) -> exp.Expr:
    """Expression `text` for a text value, else the plain cast; a type that only DuckDB knows is checked at run time."""
    if kind(node.this) in TEXT:
        return text
    is_text = exp.EQ(this=call("typeof", node.this.copy()), expression=exp.Literal.string("VARCHAR"))
    return exp.Case(ifs=[exp.If(this=is_text, true=text)], default=_cast_as(node, node.this.copy()))


def text_to_integer(node: exp.Expr, context: Context) -> exp.Expr:
    """SQL rule: CAST('1.5' AS INT64) fails and SAFE_CAST gives NULL, where DuckDB rounds to 2."""
    if not isinstance(node, exp.Cast) or node.to.this != Type.BIGINT or kind(node.this) in SURE:
        return node
    text = exp.cast(node.this.copy(), "VARCHAR")
    checked = call("regexp_replace", text, NOT_WHOLE, r"Bad int64 value: \1")
    return _by_type(node, _cast_as(node, checked))


def text_to_bool(node: exp.Expr, context: Context) -> exp.Expr:
    """SQL rule: only 'true' and 'false' are cast to BOOL, where DuckDB takes 'yes', 't' and '1' too."""
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
    """SQL rule: CAST(NUMERIC '1.50' AS STRING) is '1.5', where DuckDB gives '1.500000000'."""
    if not isinstance(node, exp.Cast) or node.to.this not in TEXT or kind(node.this) not in DECIMALS:
        return node
    return call("regexp_replace", call("regexp_replace", node, r"(\.\d*?)0+$", r"\1"), r"\.$", "")


def numeric_product(node: exp.Expr, context: Context) -> exp.Expr:
    """SQL rule: a product of NUMERICs has nine digits after the point, where DuckDB gives eighteen.

    From about 1e20 on it still fails before it is rounded; BigQuery's limit is 1e29.
    """
    if isinstance(node, exp.Mul) and kind(node) == Type.DECIMAL:
        return exp.cast(node, exp.DataType.build(DECIMALS[Type.DECIMAL], dialect="duckdb"))
    return node


def safe_time(tree: exp.Expr, context: Context) -> exp.Expr:
    """SQL rule: SAFE.PARSE_TIMESTAMP gives NULL on a failure, and the format `%E*S` is supported.

    Upstream first wraps the function in one that sets the time zone, and then guards only the outer one. So this rule
    guards the inner one before that; the argument stays outside, as SAFE does not cover arguments.
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
    """Parsing of a time by two formats of strptime: seconds with a fraction, and without."""
    form = node.text("format").replace("%Ez", "%z")
    year = "%Y "  # parts that the format lacks are of 1970; DuckDB takes 1900
    forms = [exp.Literal.string(year + form.replace("%E*S", seconds)) for seconds in ("%S.%f", "%S")]
    value = exp.DPipe(this=exp.Literal.string("1970 "), expression=node.this.copy())
    parsed = call("strptime", value, exp.Array(expressions=forms))
    if "%z" in form:
        return parsed
    instant: exp.Expr = from_local(parsed, node.args.get("zone"))
    return instant


def install() -> None:
    """Add SQL rules: safe_time before upstream's rules, the others after them."""
    rules.STATEMENT_RULES.insert(0, safe_time)
    rules.NODE_RULES += [text_to_integer, text_to_bool, numeric_to_text, numeric_product]
