"""Says whether a customer fits an expression, in Python alone: what the SQL is held against."""

import operator
import re
from collections.abc import Callable, Mapping
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from services.scoring.segments.expressions import Comparison, Conjunction, Disjunction, Expression, Negation
from services.scoring.segments.fields import ANY_ATTRIBUTE

Known = Mapping[tuple[str, ...], Any]  # by the field's name and what follows it; none that are not known

COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "in": lambda value, values: value in values,
    "not in": lambda value, values: value not in values,
    "contains": operator.contains,
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def fits(expression: Expression, known: Known, observed: date) -> bool:
    match expression:
        case Negation(part=part):
            return not fits(part, known, observed)
        case Conjunction(parts=parts):
            return all(fits(part, known, observed) for part in parts)
        case Disjunction(parts=parts):
            return any(fits(part, known, observed) for part in parts)
        case Comparison():
            return compares(expression, known.get((expression.field.name, *expression.keys)), observed)


def compares(one: Comparison, value: Any, observed: date) -> bool:
    if one.field.name == "attribute" and one.field != ANY_ATTRIBUTE:
        value = typed(value, one.field.type)
    if one.operator in ("is known", "is unknown"):
        return (value is None) == (one.operator == "is unknown")
    if value is None:
        return False
    values: list[Any] = list(one.values)
    if one.field.cast == "float8":
        value, values = float(value), [float(v) for v in values]
    if one.operator == "within":
        return observed - timedelta(days=int(values[0])) <= value <= observed
    return bool(COMPARE[one.operator](value, values if one.operator in ("in", "not in") else values[0]))


def typed(value: Any, kind: str) -> Any:
    """An attribute's value as this type; None when it is of another."""
    if isinstance(value, bool):
        return value if kind == "boolean" else None
    if isinstance(value, int | float):
        return Decimal(str(value)) if kind == "number" else None
    if not isinstance(value, str) or kind not in ("text", "date"):
        return None
    if kind == "text":
        return value
    try:
        return date.fromisoformat(value) if re.fullmatch("[0-9]{4}-[0-9]{2}-[0-9]{2}", value) else None
    except ValueError:
        return None
