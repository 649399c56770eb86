"""Masking of personal data in raw JSON lines before they reach the lake; the rest of a line stays byte for byte.

In a well-formed line the contract's PII rules apply to the fields that it names, nested ones too, and e-mail addresses
in any other text are masked. In a malformed line, which may break off anywhere, the values of those fields and all
e-mail addresses are masked in its text.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from pydantic_core import from_json

from goldline.contracts.source_contract import SourceColumn, SourceContract
from goldline.privacy.pseudonym import Key

MASK = "***"
LINE_MAX = 1024 * 1024  # bytes of a line: more than any event has, and few enough for a reader's buffer
SHOWN = 2000  # characters kept of an over-long line
# An @ as it is, URL-encoded once or more often, or escaped in JSON.
AT = re.compile(r"(@|%(?:25)*40|\\u0040)", re.IGNORECASE)
BEFORE_AT = re.compile(r"[^\s@\"'<>()\[\]{},:;=?&/|\\]*")  # for the reversed text before the @
AFTER_AT = re.compile(r"[\w-]+(?:(?:\.|%2e)[\w-]+)*(?:\.|%2e)[^\W\d_]{2,}", re.IGNORECASE)
# A line without any of these has no e-mail address and no escaped key.
UNUSUAL = (b"@", b"\\", b"%40", b"%25")
SUSPECT = re.compile(r"[@\\%]")
TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\]:,]|[^\s"{}\[\]:,]+')
CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
PSEUDONYMS_KEPT = 50_000


def masked(text: str) -> str:
    """Text with each e-mail address replaced by `***`."""
    # Split at the @: one pattern for the whole address takes quadratic time in a long text.
    parts = AT.split(text)
    for i in range(1, len(parts), 2):
        name, host = BEFORE_AT.match(parts[i - 1][::-1]), AFTER_AT.match(parts[i + 1])
        if name and name[0] and host:
            parts[i - 1] = parts[i - 1][: len(parts[i - 1]) - name.end()] + MASK
            parts[i], parts[i + 1] = "", parts[i + 1][host.end() :]
    return "".join(parts)


def _no_key(value: str) -> str:
    raise ValueError("a PII rule needs a pseudonym, but there is no key")


@dataclass(frozen=True)
class Rule:
    """PII rule of one column, prepared for finding its value in a line without parsing tokens.

    Attributes:
        path: names of the columns around it, from the top of a line, and its own.
        is_single: whether a line holds at most one value of it: neither the column nor one around it is an array.
        name: its name as JSON writes it, in quotes.
        value: pattern of the name, a colon and a string; group 1 is the string's content.
    """

    column: SourceColumn
    path: tuple[str, ...]
    is_single: bool
    name: bytes
    value: re.Pattern[bytes]

    @classmethod
    def of(
        cls, columns: Iterable[SourceColumn], path: tuple[str, ...] = (), *, is_single: bool = True
    ) -> "Iterator[Rule]":
        """Rules of columns and, at any depth, of their fields."""
        for column in columns:
            here, single = (*path, column.name), is_single and column.mode != "REPEATED"
            if column.pii != "none":
                name = json.dumps(column.name).encode()
                yield cls(column, here, single, name, re.compile(name + rb'\s*:\s*"([^"]*)"'))
            yield from cls.of(column.fields, here, is_single=single)

    def value_in(self, content: Any) -> Any:  # noqa: ANN401, JSON holds anything
        """Value at the rule's path in a parsed line; None if there is none."""
        for name in self.path:
            content = content.get(name) if isinstance(content, dict) else None
        return content


class Treatment:
    """Masking of the lines of one source; without a `key`, a rule `pii: hmac` fails.

    Attributes:
        found: counts of lines that are `malformed`, `over_long`, `not_utf8` or `blank` (left out), of `masked` texts,
            and of values `held_back` because their rule cannot treat their type.
    """

    def __init__(self, contract: SourceContract, key: Key | None) -> None:
        self.found: Counter[str] = Counter()
        self._columns = {c.name: c for c in contract.columns}
        self._rules = list(Rule.of(contract.columns))
        self._pseudonym = lru_cache(PSEUDONYMS_KEPT)(key.pseudonym) if key else _no_key
        names = "|".join(sorted(re.escape(r.column.name) for r in self._rules))
        # In a malformed line: a text that may not end, the rest of the line from a bracket on, or a bare word.
        self._values = re.compile(rf'"({names})"\s*:\s*("(?:[^"\\]|\\.)*"?|[\[{{].*|[^\s,}}\]]+)', re.DOTALL)

    def lines(self, batch: Sequence[bytes]) -> list[bytes]:
        """Lines that may go into the lake: masked, blank ones left out, no line end or control character inside."""
        treated = [self._line(line) for line in batch]
        kept = [line for line in treated if line]
        self.found["blank"] += len(treated) - len(kept)
        return kept

    def _line(self, line: bytes) -> bytes:
        if len(line) > LINE_MAX:
            self.found["over_long"] += 1
            return self._safe(line[: 4 * SHOWN], "(over-long) ")[: 5 * SHOWN]
        line = line.replace(b"\r", b" ").strip()  # JSON allows it only between values, as white space
        if not line:
            return line
        try:
            content = from_json(line, allow_inf_nan=False, cache_strings="keys")
        except ValueError:
            return self._malformed(line)
        if isinstance(content, dict) and not any(each in line for each in UNUSUAL):
            treated = self._treated_simply(line, content)
            if treated is not None:
                return treated
        if not isinstance(content, dict):
            self.found["malformed"] += 1
        return self._edited(line.decode()).encode()

    def _treated_simply(self, line: bytes, content: dict[str, Any]) -> bytes | None:
        """Fast path: the line with personal values replaced in place; None if their places are not certain."""
        for rule in self._rules:
            if rule.path[0] not in content or rule.name not in line:
                continue
            value = rule.value_in(content)
            # If the name occurs once and its path has a value, the value follows that name.
            if not rule.is_single or not isinstance(value, str) or line.count(rule.name) > 1:
                return None
            place = rule.value.search(line)
            if place is None:
                return None
            kept = json.dumps(self.kept(rule.column, value)).encode()
            line = line[: place.start(1) - 1] + kept + line[place.end(1) + 1 :]
        return line

    def kept(self, column: SourceColumn, value: object) -> str | None:
        """Value that a column's PII rule leaves: a pseudonym, the last four characters, or None."""
        if column.pii == "drop" or value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            self.found["held_back"] += 1
            return None
        if column.pii == "last4":
            return str(value)[-4:]
        return self._pseudonym(str(value))

    def _edited(self, text: str) -> str:
        edit = _Edit(text, self)
        edit.value(next(edit.tokens), None, self._columns)
        return edit.done()

    def mask(self, text: str) -> str:
        """Text with e-mail addresses masked; a text that had one is counted."""
        found = masked(text)
        self.found["masked"] += found != text
        return found

    def _malformed(self, line: bytes) -> bytes:
        try:
            line.decode()
        except UnicodeDecodeError:
            self.found["not_utf8"] += 1
            return self._safe(line, "(not UTF-8) ")
        self.found["malformed"] += 1
        return self._safe(line, "")

    def _safe(self, line: bytes, prefix: str) -> bytes:
        """Bad line, masked, as UTF-8 without control characters; still malformed, so it is never read as a record."""
        text = line.decode("utf-8", "backslashreplace")
        if self._rules:
            text = self._values.sub(rf'"\1":{MASK}', text)
        text = CONTROL.sub(lambda c: f"\\x{ord(c[0]):02x}", self.mask(text))
        return (prefix + text).encode()


class _Edit:
    """Editor of one well-formed line: reads its tokens and replaces only what a rule or a mask applies to."""

    def __init__(self, text: str, treatment: Treatment) -> None:
        self.tokens = TOKEN.finditer(text)
        self._text = text
        self._treatment = treatment
        self._parts: list[str] = []
        self._end = 0

    def done(self) -> str:
        """Edited line."""
        return "".join([*self._parts, self._text[self._end :]])

    def value(self, token: re.Match[str], column: SourceColumn | None, fields: dict[str, SourceColumn]) -> None:
        """Apply rules and masks to the value that begins at the token; `column` is None if it is undeclared."""
        if column and column.pii != "none" and (token[0] != "[" or column.mode != "REPEATED"):
            end = self._skipped(token)
            value = json.loads(self._text[token.start() : end])
            self._replace(token.start(), end, json.dumps(self._treatment.kept(column, value)))
        elif token[0] == "{":
            self._object(fields)
        elif token[0] == "[":
            self._array(column, fields)
        elif token[0][0] == '"':
            self._mask(token)

    def _object(self, fields: dict[str, SourceColumn]) -> None:
        token = next(self.tokens)
        while token[0] != "}":
            column = fields.get(json.loads(token[0]) if "\\" in token[0] else token[0][1:-1])
            self._mask(token)
            next(self.tokens)  # the colon
            self.value(next(self.tokens), column, {f.name: f for f in column.fields} if column else {})
            token = self._next_item()

    def _array(self, column: SourceColumn | None, fields: dict[str, SourceColumn]) -> None:
        token = next(self.tokens)
        while token[0] != "]":
            self.value(token, column, fields)
            token = self._next_item()

    def _next_item(self) -> re.Match[str]:
        token = next(self.tokens)
        return next(self.tokens) if token[0] == "," else token

    def _skipped(self, token: re.Match[str]) -> int:
        """End position of the value that begins at the token; consumes its tokens."""
        depth = int(token[0] in "{[")
        while depth:
            token = next(self.tokens)
            depth += (token[0] in "{[") - (token[0] in "}]")
        return token.end()

    def _mask(self, token: re.Match[str]) -> None:
        if not SUSPECT.search(token[0]):
            return
        text = json.loads(token[0])
        if (kept := self._treatment.mask(text)) != text:
            self._replace(token.start(), token.end(), json.dumps(kept, ensure_ascii=False))

    def _replace(self, start: int, end: int, text: str) -> None:
        self._parts += [self._text[self._end : start], text]
        self._end = end
