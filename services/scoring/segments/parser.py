'''Reads segment expressions: a recursive descent over a small grammar, with errors that point at the place.

    expression  = conjunction { "or" conjunction } ;
    conjunction = negation { "and" negation } ;
    negation    = "not" negation | "(" expression ")" | comparison ;
    comparison  = field ( ( "=" | "!=" | "<" | "<=" | ">" | ">=" ) value
                        | [ "not" ] "in" "(" value { "," value } ")"
                        | "contains" string
                        | "within" whole "days"
                        | "is" ( "known" | "unknown" ) ) ;
    field       = word { "." ( word | string ) } ;
    value       = number | string | date | "true" | "false" ;
    number      = [ "-" ] digit { digit } [ "." digit { digit } ] ;      (15 digits at most)
    string      = """ { any character but " and \\ | "\\"" | "\\\\" } """ ;
    date        = year "-" month "-" day ;                                (2026-07-01)
    word        = letter { letter | digit | "_" } ;                       (letters of any script)

Keywords may be written in capitals, names of fields may not. Text is compared as it is, capitals and all.
`within 30 days` are the observation date and the 30 days before it.

What is not known fits no comparison, `!=` and `not in` included; so `not (tier = "gold")` takes in those
without a tier and `tier != "gold"` does not. `is known` and `is unknown` ask for just that.
'''

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from difflib import get_close_matches
from functools import lru_cache
from typing import Any, Literal, cast
from unicodedata import east_asian_width

from services.scoring.segments.expressions import (
    WORD,
    Comparison,
    Conjunction,
    Disjunction,
    Expression,
    Negation,
    Operator,
    Value,
)
from services.scoring.segments.fields import ANY_ATTRIBUTE, ATTRIBUTE, FIELDS, Field, FieldType
from shared.problems import FieldError, Invalid

MOST_CHARACTERS = 2_000
MOST_COMPARISONS = 50
MOST_VALUES = 100
MOST_DEPTH = 20
MOST_DIGITS = 15  # what a double holds exactly
MOST_DAYS = 36_500
SHOWN_AROUND = 40  # characters of an excerpt on either side of the place

_OPERATORS: Mapping[FieldType, tuple[Operator, ...]] = {
    "number": ("=", "!=", "<", "<=", ">", ">=", "in", "not in"),
    "text": ("=", "!=", "in", "not in", "contains"),
    "date": ("=", "!=", "<", "<=", ">", ">=", "in", "not in", "within"),
    "boolean": ("=", "!="),
}
_TOKEN = re.compile(
    r"""(?P<space>\s+)
      | (?P<date>[0-9]{4}-[0-9]{2}-[0-9]{2}(?![0-9]))
      | (?P<number>-?[0-9]+(\.[0-9]+)?)
      | (?P<string>"(?:[^"\\]|\\["\\])*")
      | (?P<word>"""
    + WORD.pattern
    + r""")
      | (?P<symbol>!=|<=|>=|[=<>(),.])""",
    re.VERBOSE,
)
_TokenKind = Literal["date", "number", "string", "word", "symbol", "end"]
_KEYWORDS = ("and", "or", "not", "in", "contains", "within", "is", "true", "false")
_NAMES = sorted({name for name, _ in FIELDS} | {"attribute"})
_EXAMPLES: Mapping[FieldType, str] = {
    "number": "write 12 or -0.5",
    "text": 'write text in quotes, "…"',
    "date": "write 2026-07-01",
    "boolean": "write true or false",
}
_HINTS = {
    "“": 'write text in straight quotes: "…"',
    "”": 'write text in straight quotes: "…"',
    "「": 'write text in straight quotes: "…"',
    "'": 'write text in double quotes: "…"',
    '"': 'this text does not end; inside text only \\" and \\\\ follow a backslash',
    "（": "write parentheses as ( and )",
    "）": "write parentheses as ( and )",
    "，": "write commas as ,",
    "!": "unequal is written !=, and the opposite of a comparison not (…)",
}


class BadExpression(Invalid):
    """`position` counts characters from 0; the excerpt's second line has carets below the place."""

    slug, title = "bad-expression", "The segment's expression cannot be read"

    def __init__(self, detail: str, text: str, start: int, end: int) -> None:
        super().__init__(detail, errors=[FieldError("/expression", detail)])
        self.position = start
        self.excerpt = _excerpt(text, start, end)

    def document(self, request_id: str | None = None) -> dict[str, Any]:
        """The problem document; its error says where in the expression too."""
        body = super().document(request_id)
        body["errors"][0] |= {"position": self.position, "excerpt": self.excerpt}
        return body


@dataclass(frozen=True, slots=True)
class _Token:
    kind: _TokenKind
    text: str
    start: int
    end: int

    def says(self, *words: str) -> bool:
        """Whether it is one of these keywords or symbols."""
        return self.kind in ("word", "symbol") and self.text.lower() in words


@lru_cache(maxsize=512)
def parse(text: str) -> Expression:
    """The expression that a text says.

    Raises:
        BadExpression: it says none; the error points at the place.
    """
    if len(text) > MOST_CHARACTERS:
        raise BadExpression(
            f"longer than {MOST_CHARACTERS} characters", text, MOST_CHARACTERS, MOST_CHARACTERS + 1
        )
    return _Parser(text).parse()


class _Parser:
    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = _tokens(text)
        self.place = 0
        self.comparisons = 0

    def parse(self) -> Expression:
        """The whole text."""
        found = self.expression(0)
        if self.now.kind != "end":
            raise self.wrong('expected "and", "or" or the end')
        return found

    @property
    def now(self) -> _Token:
        return self.tokens[self.place]

    def take(self) -> _Token:
        token = self.now
        self.place += token.kind != "end"
        return token

    def took(self, *words: str) -> bool:
        if self.now.says(*words):
            self.place += 1
            return True
        return False

    def expect(self, symbol: str) -> None:
        if not self.took(symbol):
            raise self.wrong(f'expected "{symbol}"')

    def wrong(self, detail: str, first: _Token | None = None, last: _Token | None = None) -> BadExpression:
        start = first or self.now
        return BadExpression(detail, self.text, start.start, (last or start).end)

    def expression(self, depth: int) -> Expression:
        parts = [self.conjunction(depth)]
        while self.took("or"):
            parts.append(self.conjunction(depth))
        return parts[0] if len(parts) == 1 else Disjunction(tuple(parts))

    def conjunction(self, depth: int) -> Expression:
        parts = [self.negation(depth)]
        while self.took("and"):
            parts.append(self.negation(depth))
        return parts[0] if len(parts) == 1 else Conjunction(tuple(parts))

    def negation(self, depth: int) -> Expression:
        if depth > MOST_DEPTH:
            raise self.wrong(f"nested deeper than {MOST_DEPTH} levels")
        if self.took("not"):
            return Negation(self.negation(depth + 1))
        if self.took("("):
            inner = self.expression(depth + 1)
            self.expect(")")
            return inner
        return self.comparison()

    def comparison(self) -> Comparison:
        self.comparisons += 1
        if self.comparisons > MOST_COMPARISONS:
            raise self.wrong(f"more than {MOST_COMPARISONS} comparisons")
        field, keys = self.field()
        where = self.now
        operator = self.operator()
        if operator in ("is known", "is unknown"):
            return Comparison(field or ANY_ATTRIBUTE, keys, operator)
        if operator == "within":
            field = field or ATTRIBUTE["date"]
            self.check_operator(field, operator, where)
            return Comparison(field, keys, operator, (self.days(),))
        found = self.values(operator)
        field = field or ATTRIBUTE[_type(found[0][0])]
        self.check_operator(field, operator, where)
        for value, token in found:
            self.check_value(field, value, token)
        return Comparison(field, keys, operator, tuple(value for value, _ in found))

    def field(self) -> tuple[Field | None, tuple[str, ...]]:
        """The field and what follows its name; None for an attribute, whose type its value tells."""
        name = self.now
        if name.kind != "word" or name.says(*_KEYWORDS):
            raise self.wrong('expected a field, "not" or "("')
        self.take()
        keys = []
        while self.took("."):
            if self.now.kind not in ("word", "string"):
                raise self.wrong("expected a name after the dot, in quotes when it is no single word")
            keys.append(_said(self.take()))
        last = self.tokens[self.place - 1]
        if name.text == "attribute" and len(keys) == 1:
            return None, tuple(keys)
        field = FIELDS.get((name.text, len(keys)))
        if field is None:
            raise self.wrong(_unknown(name.text), name, last)
        if "currency" in field.keys and not re.fullmatch("[A-Z]{3}", keys[0]):
            raise self.wrong("a currency is three capital letters", last)
        return field, tuple(keys)

    def operator(self) -> Operator:
        token = self.now
        if self.took("=", "!=", "<", "<=", ">", ">=", "in", "contains", "within"):
            return cast(Operator, token.text.lower())
        if self.took("not"):
            self.expect("in")
            return "not in"
        if self.took("is"):
            if self.took("known"):
                return "is known"
            if self.took("unknown"):
                return "is unknown"
            raise self.wrong('expected "known" or "unknown"')
        raise self.wrong("expected a comparison: = != < <= > >= in, not in, contains, within or is")

    def values(self, operator: Operator) -> list[tuple[Value, _Token]]:
        """What the field is compared with, and where that stands."""
        if operator not in ("in", "not in"):
            return [self.value()]
        self.expect("(")
        found = [self.value()]
        while self.took(","):
            found.append(self.value())
            if len(found) > MOST_VALUES:
                raise self.wrong(f"more than {MOST_VALUES} values")
        self.expect(")")
        return found

    def value(self) -> tuple[Value, _Token]:
        token = self.now
        if self.took("true", "false"):
            return token.text.lower() == "true", token
        if token.kind == "string":
            return _said(self.take()), token
        if token.kind == "number":
            if sum(character.isdigit() for character in token.text) > MOST_DIGITS:
                raise self.wrong(f"a number has {MOST_DIGITS} digits at most")
            return Decimal(self.take().text), token
        if token.kind == "date":
            try:
                return date.fromisoformat(self.take().text), token
            except ValueError as error:
                raise self.wrong("there is no such day", token) from error
        raise self.wrong('expected a number, a "text", a date like 2026-07-01, true or false')

    def days(self) -> Decimal:
        """The `30 days` of `within 30 days`."""
        value, token = self.value()
        if not isinstance(value, Decimal) or value != int(value) or not 0 <= value <= MOST_DAYS:
            raise self.wrong(f"expected a whole number of days, {MOST_DAYS} at most", token)
        if not self.took("days", "day"):
            raise self.wrong('expected "days"')
        return value

    def check_operator(self, field: Field, operator: Operator, where: _Token) -> None:
        fitting = _OPERATORS[field.type]
        if operator not in fitting:
            raise self.wrong(
                f'"{operator}" does not fit {field.shown}, a {field.type}; {" ".join(fitting)} do',
                where,
            )

    def check_value(self, field: Field, value: Value, token: _Token) -> None:
        if _type(value) != field.type:
            raise self.wrong(f"{field.shown} is compared with a {field.type}: {_EXAMPLES[field.type]}", token)
        if field.choices and value not in field.choices:
            raise self.wrong(f"{field.shown} is one of {', '.join(field.choices)}", token)


def _tokens(text: str) -> list[_Token]:
    tokens, place = [], 0
    while place < len(text):
        match = _TOKEN.match(text, place)
        if match is None:
            hint = _HINTS.get(text[place], "this character has no meaning here")
            raise BadExpression(hint, text, place, place + 1)
        if match.lastgroup != "space":
            tokens.append(_Token(cast(_TokenKind, match.lastgroup), match[0], place, match.end()))
        place = match.end()
    return [*tokens, _Token("end", "", len(text), len(text))]


def _said(token: _Token) -> str:
    """A word, or the text within the quotes."""
    return re.sub(r"\\(.)", r"\1", token.text[1:-1]) if token.kind == "string" else token.text


def _type(value: Value) -> FieldType:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, Decimal):
        return "number"
    return "text" if isinstance(value, str) else "date"


def _unknown(name: str) -> str:
    """Why this is no field: its name, or what follows it."""
    if name == "attribute":
        return "an attribute is written attribute.NAME"
    if forms := [field.shown for field in FIELDS.values() if field.name == name]:
        return f"{name} is written {' or '.join(forms)}"
    near = get_close_matches(name, _NAMES, 3)
    return "there is no such field" + (f"; did you mean {' or '.join(near)}?" if near else "")


def _excerpt(text: str, start: int, end: int) -> str:
    """The line around a place, and below it carets; wide characters count double."""
    left = max(text.rfind("\n", 0, start) + 1, start - SHOWN_AROUND)
    line_end = text.find("\n", start)
    right = min(len(text) if line_end < 0 else line_end, start + SHOWN_AROUND)
    indent, marked = _width(text[left:start]), _width(text[start : min(end, right)])
    return f"{text[left:right]}\n{' ' * indent}{'^' * max(marked, 1)}"


def _width(text: str) -> int:
    return sum(2 if east_asian_width(character) in "WF" else 1 for character in text)
