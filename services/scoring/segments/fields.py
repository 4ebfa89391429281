"""The catalogue of what a segment's expression may speak of: one line for each field.

A field's SQL is an expression over the rows of `SOURCES`; `{0}`, `{1}` stand for the parameters that carry
what follows the name after dots, `{observed}` for the observation date. Null means: not known.
"""

from dataclasses import dataclass
from typing import Literal

from services.scoring.value.rules import SEGMENTS

FieldType = Literal["number", "text", "date", "boolean"]
KeyKind = Literal["currency", "name", "purpose", "channel"]

SOURCES = """
    customer_facts f
    LEFT JOIN customer_scores s ON s.customer_id = f.customer_id
    LEFT JOIN value_indexes i ON i.customer_id = f.customer_id
    LEFT JOIN churn_risks h ON h.customer_id = f.customer_id
    LEFT JOIN customer_segments c ON c.customer_id = f.customer_id
"""
OBSERVED = "$1::date"
_RFM = tuple(sorted({name for row in SEGMENTS for name in row}))
_MINOR = "in minor units of the currency that the customer mostly buys in"


@dataclass(frozen=True, slots=True)
class Field:
    """Something known of a customer. `keys` are the parts after its name; `choices` all values there are.

    `cast` is the SQL type in which it is compared.
    """

    name: str
    type: FieldType
    cast: Literal["float8", "numeric", "text", "date", "boolean"]
    sql: str
    meaning: str
    keys: tuple[KeyKind, ...] = ()
    choices: tuple[str, ...] = ()

    @property
    def shown(self) -> str:
        """How it is written, `spend.CURRENCY`."""
        return ".".join((self.name, *(key.upper() for key in self.keys)))


def _number(name: str, sql: str, meaning: str, *keys: KeyKind) -> Field:
    return Field(name, "number", "float8", sql, meaning, keys)


def _text(name: str, sql: str, meaning: str, *choices: str) -> Field:
    return Field(name, "text", "text", sql, meaning, (), choices)


def _date(name: str, sql: str, meaning: str) -> Field:
    return Field(name, "date", "date", sql, meaning)


_FIELDS = (
    _date("registered", "(f.registered_at AT TIME ZONE 'UTC')::date", "the day they registered"),
    _number("purchases", "f.purchases", "purchases that were not given back in full"),
    _number("buying_days", "f.days", "days with a purchase"),
    _number("refunds", "f.refunds", "refunds"),
    _date("first_purchase", "f.first_on", "the day of their first purchase"),
    _date("last_purchase", "f.last_on", "the day of their last purchase"),
    _number("days_since_purchase", "{observed} - f.last_on", "days since their last purchase"),
    _number("days_between_purchases", "f.gap_mean", "mean days from one purchase day to the next"),
    _text("currency", "f.currency", "the currency they mostly buy in"),
    _number("spend", "f.spend", f"what they spent net of refunds, {_MINOR}"),
    _number(
        "spend",
        """CASE WHEN f.currency = {0}::text THEN f.spend ELSE (
               SELECT (o ->> 'amount')::bigint FROM jsonb_array_elements(f.other_spend) o
               WHERE o ->> 'currency' = {0}::text) END""",
        "what they spent net of refunds in this currency, in its minor units",
        "currency",
    ),
    _number(
        "order_value",
        "f.spend::float8 / nullif(f.currency_days, 0)",
        f"what they spent on a day with a purchase, {_MINOR}",
    ),
    _number("tickets", "f.tickets", "tickets"),
    _number("open_tickets", "f.open_tickets", "tickets that are open"),
    _number("complaints", "f.complaints", "tickets that are complaints"),
    _number("severe_tickets", "f.severe_tickets", "tickets of high or critical severity"),
    _number("breaches", "f.breaches", "tickets that missed what was promised"),
    _number("mood", "f.mood", "mean mood of their tickets, -1 to 1"),
    _number("nps", "f.nps", "their latest answer to the nps survey, 0 to 10"),
    _number("csat", "f.csat", "their latest answer to the csat survey"),
    _number("ces", "f.ces", "their latest answer to the ces survey"),
    _text("rfm_segment", "s.segment", "the segment by recency, frequency and money", *_RFM),
    _number("recency_score", "s.recency_score", "1 to 5, 5 is best"),
    _number("frequency_score", "s.frequency_score", "1 to 5, 5 is best"),
    _number("monetary_score", "s.monetary_score", "1 to 5, 5 is best"),
    _number("p_alive", "s.p_alive", "the probability that they still buy, 0 to 1"),
    _number("expected_purchases", "s.expected_purchases", "purchases expected within the horizon"),
    _number("clv", "s.clv", f"lifetime value over the horizon, {_MINOR}"),
    _number(
        "clv",
        "CASE WHEN f.currency = {0}::text THEN s.clv END",
        "lifetime value of those who mostly buy in this currency, in its minor units",
        "currency",
    ),
    _number("churn_risk", "h.risk", "the risk that they leave, 0 to 1"),
    Field("at_risk", "boolean", "boolean", "h.above", "whether the risk that they leave is above the line"),
    _number("value_index", "i.value", "the value index, 0 to 1"),
    _text("grade", "i.grade", "the grade of the value index", "high", "middle", "low"),
    _text("tier", "f.tier", "the loyalty tier"),
    _number("points", "f.points", "points at hand"),
    _text("cluster", "c.cluster", "the label of the cluster they are in"),
    Field(
        "consent",
        "text",
        "text",
        """(SELECT w.status FROM consents w
            WHERE w.customer_id = f.customer_id AND w.purpose = {0}::text AND w.channel = {1}::text)""",
        "their latest will about a purpose and channel",
        ("purpose", "channel"),
        ("granted", "denied", "withdrawn"),
    ),
)

FIELDS = {(field.name, len(field.keys)): field for field in _FIELDS}

_ATTRIBUTE = """(SELECT {value} FROM customer_attributes a
                 WHERE a.customer_id = f.customer_id AND a.name = {{0}}::text)"""
_STRING = "CASE WHEN jsonb_typeof(a.value) = 'string' THEN a.value #>> ARRAY[]::text[] END"
_DATE = """CASE WHEN jsonb_typeof(a.value) = 'string'
                     AND a.value #>> ARRAY[]::text[] ~ '^[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}$'
                     AND pg_input_is_valid(a.value #>> ARRAY[]::text[], 'date')
                THEN (a.value #>> ARRAY[]::text[])::date END"""


def _attribute(type_: FieldType, cast: Literal["numeric", "text", "date", "boolean"], value: str) -> Field:
    sql, meaning = _ATTRIBUTE.format(value=value), "an attribute of the profile"
    return Field("attribute", type_, cast, sql, meaning, ("name",))


# An attribute may hold anything: what it is compared with says which type is meant, and one that holds
# another type is not known as that.
ATTRIBUTE: dict[FieldType, Field] = {
    "number": _attribute(
        "number", "numeric", "CASE WHEN jsonb_typeof(a.value) = 'number' THEN a.value::numeric END"
    ),
    "text": _attribute("text", "text", _STRING),
    "date": _attribute("date", "date", _DATE),
    "boolean": _attribute(
        "boolean", "boolean", "CASE WHEN jsonb_typeof(a.value) = 'boolean' THEN a.value::boolean END"
    ),
}
ANY_ATTRIBUTE = _attribute("text", "text", "nullif(a.value, 'null'::jsonb)::text")
