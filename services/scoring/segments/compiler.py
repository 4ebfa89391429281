"""Turns expressions into SQL: fixed pieces of ours, and parameters that carry what the text said. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from services.scoring.segments.expressions import (
    Comparison,
    Conjunction,
    Disjunction,
    Expression,
    Negation,
    Value,
)
from services.scoring.segments.fields import OBSERVED


@dataclass(frozen=True, slots=True)
class Compiled:
    """Conditions over the rows of `fields.SOURCES`, never null, and the values of their parameters."""

    conditions: list[str]
    parameters: list[object]


def compile_all(expressions: Iterable[Expression], first: int) -> Compiled:
    """The conditions of these expressions, whose parameters are numbered from `first` on.

    `$1` is the observation date.
    """
    compiled = Compiled([], [])
    for expression in expressions:
        compiled.conditions.append(_condition(expression, compiled.parameters, first))
    return compiled


def _condition(expression: Expression, parameters: list[object], first: int) -> str:
    match expression:
        case Comparison():
            return _comparison(expression, parameters, first)
        case Negation(part=part):
            return f"(NOT {_condition(part, parameters, first)})"
        case Conjunction(parts=parts):
            return "(" + " AND ".join(_condition(part, parameters, first) for part in parts) + ")"
        case Disjunction(parts=parts):
            return "(" + " OR ".join(_condition(part, parameters, first) for part in parts) + ")"


def _comparison(one: Comparison, parameters: list[object], first: int) -> str:
    def bound(value: object) -> str:
        parameters.append(value)
        return f"${first + len(parameters) - 1}"

    cast = one.field.cast
    column = "(" + one.field.sql.format(*(bound(key) for key in one.keys), observed=OBSERVED) + f")::{cast}"
    values = [_bound_as(value, cast) for value in one.values]
    match one.operator:
        case "is known":
            return f"({column} IS NOT NULL)"
        case "is unknown":
            return f"({column} IS NULL)"
        case "in":
            test = f"{column} = ANY ({bound(values)}::{cast}[])"
        case "not in":
            test = f"{column} <> ALL ({bound(values)}::{cast}[])"
        case "contains":
            test = f"position({bound(values[0])}::text IN {column}) > 0"
        case "within":
            days = bound(int(one.values[0]))  # type: ignore[arg-type]
            test = f"{column} BETWEEN {OBSERVED} - {days}::int AND {OBSERVED}"
        case "!=":
            test = f"{column} <> {bound(values[0])}::{cast}"
        case operator:
            test = f"{column} {operator} {bound(values[0])}::{cast}"
    return f"coalesce({test}, false)"


def _bound_as(value: Value, cast: str) -> object:
    """A double where the column is one, so that both sides are rounded alike."""
    return float(value) if isinstance(value, Decimal) and cast == "float8" else value
