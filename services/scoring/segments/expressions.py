"""What a segment's expression says once it is read: a tree of comparisons, and its canonical text. Pure."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Literal

from services.scoring.segments.fields import Field

Value = Decimal | str | date | bool
Operator = Literal[
    "=", "!=", "<", "<=", ">", ">=", "in", "not in", "contains", "within", "is known", "is unknown"
]
WORD = re.compile(r"[^\W\d]\w*")


@dataclass(frozen=True, slots=True)
class Comparison:
    """A field, with what follows its name after dots, compared with values.

    One value, but many for `in` and `not in`, none for `is …`; for `within` a number of days.
    """

    field: Field
    keys: tuple[str, ...]
    operator: Operator
    values: tuple[Value, ...] = ()


@dataclass(frozen=True, slots=True)
class Negation:
    """Whoever does not fit the part."""

    part: "Expression"


@dataclass(frozen=True, slots=True)
class Conjunction:
    """Whoever fits all of the parts, two at least."""

    parts: tuple["Expression", ...]


@dataclass(frozen=True, slots=True)
class Disjunction:
    """Whoever fits any of the parts, two at least."""

    parts: tuple["Expression", ...]


Expression = Comparison | Negation | Conjunction | Disjunction


def write(expression: Expression) -> str:
    """The canonical text of an expression; reading it gives the expression again."""
    match expression:
        case Comparison():
            return _comparison(expression)
        case Negation(part=part):
            return f"not {_enclosed(part, Conjunction | Disjunction)}"
        case Conjunction(parts=parts):
            return " and ".join(_enclosed(part, Conjunction | Disjunction) for part in parts)
        case Disjunction(parts=parts):
            return " or ".join(_enclosed(part, Disjunction) for part in parts)


def comparisons(expression: Expression) -> Iterator[Comparison]:
    """Its comparisons, from left to right."""
    match expression:
        case Comparison():
            yield expression
        case Negation(part=part):
            yield from comparisons(part)
        case Conjunction(parts=parts) | Disjunction(parts=parts):
            for part in parts:
                yield from comparisons(part)


def _enclosed(part: Expression, kinds: object) -> str:
    return f"({write(part)})" if isinstance(part, kinds) else write(part)  # type: ignore[arg-type]


def _comparison(one: Comparison) -> str:
    keys = (key if WORD.fullmatch(key) else _quoted(key) for key in one.keys)
    field = ".".join((one.field.name, *keys))
    values = ", ".join(_value(value) for value in one.values)
    if one.operator in ("in", "not in"):
        return f"{field} {one.operator} ({values})"
    if one.operator == "within":
        return f"{field} within {values} days"
    return f"{field} {one.operator} {values}".rstrip()


def _value(value: Value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Decimal):
        return format(value, "f")
    return value.isoformat() if isinstance(value, date) else _quoted(value)


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
