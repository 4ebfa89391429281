"""The expression language: what it says, how it points at mistakes, and that the SQL says the same."""

from datetime import date, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import asyncpg
import hypothesis
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.scoring.segments import store
from services.scoring.segments.compiler import compile_all
from services.scoring.segments.expressions import (
    Comparison,
    Conjunction,
    Disjunction,
    Expression,
    Negation,
    Operator,
    comparisons,
    write,
)
from services.scoring.segments.fields import ANY_ATTRIBUTE, ATTRIBUTE, FIELDS
from services.scoring.segments.parser import (
    MOST_COMPARISONS,
    MOST_DAYS,
    MOST_VALUES,
    BadExpression,
    parse,
)
from shared.database import Database
from tests.scoring.segments.evaluator import fits

DAY = date(2026, 7, 1)
SYMBOLS: tuple[Operator, ...] = ("=", "!=", "<", "<=", ">", ">=")

# Values that meet: few of each type, so that equal ones are common; text that tries to get out.
NUMBERS = [Decimal(n) for n in ("0", "1", "2", "-1", "0.5", "100", "99999.99", "9007199254740")]
TEXTS = [
    "gold",
    "Gold",
    "金卡",
    "",
    'say "hi"',
    "back\\slash",
    "'; DROP TABLE segments; --",
    "$1",
    "{0}",
    "%s",
]
DATES = [DAY, DAY - timedelta(days=1), DAY - timedelta(days=30), DAY + timedelta(days=1), date(2020, 2, 29)]
ODD = [1, 0.5, 10**400, True, False, "2026-07-01", "2026-02-30", "2020-02-29"]
NAMES = ["plan", "套餐", "two words", 'a"b', "not", "x'y"]


def values(kind: str, choices: tuple[str, ...]) -> st.SearchStrategy[Any]:
    pools: dict[str, list[Any]] = {
        "number": NUMBERS,
        "text": list(choices or TEXTS),
        "date": DATES,
        "boolean": [True, False],
    }
    return st.sampled_from(pools[kind])


@st.composite
def comparison(draw: st.DrawFn) -> Comparison:
    field = draw(st.sampled_from([*FIELDS.values(), *ATTRIBUTE.values(), ANY_ATTRIBUTE]))
    keys = tuple(draw(st.sampled_from(["CNY", "USD"] if key == "currency" else NAMES)) for key in field.keys)
    if field == ANY_ATTRIBUTE or draw(st.integers(0, 9)) == 0:
        attribute = ANY_ATTRIBUTE if field.name == "attribute" else field
        return Comparison(attribute, keys, draw(st.sampled_from(["is known", "is unknown"])))
    operators: dict[str, tuple[Operator, ...]] = {
        "number": (*SYMBOLS, "in", "not in"),
        "text": ("=", "!=", "in", "not in", "contains"),
        "date": (*SYMBOLS, "in", "not in", "within"),
        "boolean": ("=", "!="),
    }
    operator = draw(st.sampled_from(operators[field.type]))
    if operator == "within":
        return Comparison(field, keys, operator, (Decimal(draw(st.sampled_from([0, 1, 30, MOST_DAYS]))),))
    one = values(field.type, field.choices)
    if operator in ("in", "not in"):
        return Comparison(field, keys, operator, tuple(draw(st.lists(one, min_size=1, max_size=3))))
    return Comparison(field, keys, operator, (draw(one),))


def several(parts: st.SearchStrategy[Expression]) -> st.SearchStrategy[tuple[Expression, ...]]:
    return st.lists(parts, min_size=2, max_size=3).map(tuple)


EXPRESSIONS: st.SearchStrategy[Expression] = st.recursive(
    comparison(),
    lambda parts: st.one_of(
        parts.map(Negation), several(parts).map(Conjunction), several(parts).map(Disjunction)
    ),
    max_leaves=8,
)


@given(EXPRESSIONS)
def test_what_is_written_reads_the_same(expression: Expression) -> None:
    assert parse(write(expression)) == expression


@given(EXPRESSIONS)
def test_nothing_of_the_text_reaches_the_sql(expression: Expression) -> None:
    compiled = compile_all([expression], first=2)
    bare = write(expression)
    for one in comparisons(expression):
        for said in (*one.keys, *one.values):
            if isinstance(said, str) and len(said) > 3 and said not in one.field.choices:
                assert said in bare or said.replace("\\", "\\\\").replace('"', '\\"') in bare
                assert said not in compiled.conditions[0]
    assert compiled.conditions[0].count("$") >= len(compiled.parameters)


def refusal(text: str) -> BadExpression | None:
    try:
        parse(text)
    except BadExpression as error:
        return error
    return None


@given(st.text(max_size=60) | st.text("spend>=<1() andornotin.\"'tier,", max_size=60))
def test_any_text_is_read_or_refused_at_a_place_within_it(text: str) -> None:
    refused = refusal(text)
    if refused is not None:
        assert 0 <= refused.position <= len(text)
        line, carets = refused.excerpt.rsplit("\n", 1)
        assert "\n" not in line
        assert set(carets.strip()) == {"^"}


def test_the_example_of_the_design_is_read() -> None:
    said = (
        "spend > 50000 and last_purchase within 30 days and not (complaints >= 2)"
        ' and attribute.plan in ("pro", "team") and tier = "gold"'
    )
    assert write(parse(said)) == said.replace("(complaints >= 2)", "complaints >= 2")
    assert parse('attribute."套餐" = "专业版"') == parse('attribute.套餐 = "专业版"')
    assert parse("purchases > 1 OR tickets = 0 AND NOT points IS KNOWN") == parse(
        "(purchases > 1) or (tickets = 0 and (not (points is known)))"
    )


@pytest.mark.parametrize(
    ("text", "detail", "excerpt"),
    [
        ("spnd > 3", "there is no such field; did you mean spend?", "spnd > 3\n^^^^"),
        ("spend > 3 and", 'expected a field, "not" or "("', "spend > 3 and\n             ^"),
        ("tier = “金卡”", 'write text in straight quotes: "…"', "tier = “金卡”\n       ^"),
        ("attribute.套餐 > > 1", 'expected a number, a "text", a date like 2026-07-01, true or false',
         "attribute.套餐 > > 1\n                 ^"),
        ("tier > 3", '">" does not fit tier, a text; = != in not in contains do', "tier > 3\n     ^"),
        ('spend = "x"', "spend is compared with a number: write 12 or -0.5", 'spend = "x"\n        ^^^'),
        ("spend > 3 tier", 'expected "and", "or" or the end', "spend > 3 tier\n          ^^^^"),
        ("last_purchase > 2026-02-30", "there is no such day", None),
        ("last_purchase > 30", "last_purchase is compared with a date: write 2026-07-01", None),
        ("last_purchase within 1.5 days", "expected a whole number of days, 36500 at most", None),
        ('grade = "hgh"', "grade is one of high, middle, low", 'grade = "hgh"\n        ^^^^^'),
        ("spend.cny > 1", "a currency is three capital letters", "spend.cny > 1\n      ^^^"),
        ("consent.marketing is known", "consent is written consent.PURPOSE.CHANNEL", None),
        ("attribute is known", "an attribute is written attribute.NAME", None),
        ('attribute.plan in ("a", 3)', 'attribute.NAME is compared with a text: write text in quotes, "…"',
         'attribute.plan in ("a", 3)\n                        ^'),
        ("attribute.vip > true", '">" does not fit attribute.NAME, a boolean; = != do', None),
        ("points = 1234567890123456", "a number has 15 digits at most", None),
        ("(" * 30 + "tickets = 1" + ")" * 30, "nested deeper than 20 levels", None),
        (" or ".join(["tickets = 1"] * 51), f"more than {MOST_COMPARISONS} comparisons", None),
        (f"tickets in ({', '.join(['1'] * 101)})", f"more than {MOST_VALUES} values", None),
        ("x" * 2001, "longer than 2000 characters", None),
        ('tier = "gold', 'this text does not end; inside text only \\" and \\\\ follow a backslash', None),
        ("", 'expected a field, "not" or "("', "\n^"),
    ],
)  # fmt: skip
def test_mistakes_are_named_at_their_place(text: str, detail: str, excerpt: str | None) -> None:
    refused = refusal(text)
    assert refused is not None
    assert refused.detail == detail
    assert excerpt is None or refused.excerpt == excerpt
    error = refused.document()["errors"][0]
    assert (error["pointer"], error["position"]) == ("/expression", refused.position)


@st.composite
def customer(draw: st.DrawFn) -> dict[tuple[str, ...], Any]:
    """What is known of one customer, by the name of the field and what follows it."""

    def maybe(*choices: Any) -> Any:
        return draw(st.sampled_from([*choices, None]))

    currency = maybe("CNY", "USD")
    spend = draw(st.sampled_from([0, 1, 100, 9007199254740])) if currency else None
    other = maybe(1, 100) if currency else None
    clv = maybe(0, 100)
    known = {
        ("currency",): currency,
        ("spend",): spend,
        ("spend", "CNY"): spend if currency == "CNY" else other,
        ("spend", "USD"): spend if currency == "USD" else other,
        ("order_value",): spend / 2 if spend is not None else None,
        ("clv",): clv,
        ("clv", "CNY"): clv if currency == "CNY" else None,
        ("clv", "USD"): clv if currency == "USD" else None,
        ("last_purchase",): (last := maybe(*DATES)),
        ("days_since_purchase",): (DAY - last).days if last else None,
        ("mood",): maybe(Decimal("0.5"), Decimal("-1")),
        ("p_alive",): maybe(0.5, 0.1 + 0.2),
        ("rfm_segment",): maybe("champions", "lost"),
        ("grade",): maybe("high", "low"),
        ("value_index",): None,
        ("tier",): maybe(*TEXTS),
        ("cluster",): maybe("gold", "c1"),
        ("churn_risk",): (risk := maybe(0.5, 1.0)),
        ("at_risk",): None if risk is None else risk > 0.7,
    }
    if known["grade",] is not None:
        known["value_index",] = draw(st.sampled_from([0.5, 1.0]))
    for name in ("purchases", "buying_days", "refunds", "tickets", "open_tickets", "complaints"):
        known[name,] = draw(st.sampled_from([0, 1, 2, 100]))
    known["severe_tickets",] = known["breaches",] = 0
    known["buying_days",] = 2 if currency else 0
    for name in NAMES:
        known["attribute", name] = draw(
            st.sampled_from(
                [*TEXTS, 1, 0.5, 10**400, True, False, None, "2026-07-01", "2026-02-30", "2020-02-29"]
            )
        )
        known["consent", name, name] = maybe("granted", "denied")
    return known


INSERTS = {
    "customer_facts": """
        INSERT INTO customer_facts (customer_id, purchases, days, refunds, last_on, currency, spend,
            other_spend, currency_days, tickets, open_tickets, complaints, mood, tier)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8::text::jsonb, $9, $10, $11, $12, $13, $14)
    """,
    "customer_scores": """
        INSERT INTO customer_scores (customer_id, as_of, horizon_days, unknown, segment, p_alive, clv)
        VALUES ($1, $2, 365, '{}', $3, $4, $5)
    """,
    "value_indexes": "INSERT INTO value_indexes (customer_id, value, grade, parts) VALUES ($1, $2, $3, '{}')",
    "churn_risks": """
        INSERT INTO churn_risks (customer_id, risk, above, kind, model, reasons, as_of)
        VALUES ($1, $2, $3, 'contractual', '', '{}', now())
    """,
    "customer_segments": "INSERT INTO customer_segments (customer_id, cluster) VALUES ($1, $2)",
    "told_attributes": """
        INSERT INTO told_attributes (customer_id, name, value, told_at, told_by)
        VALUES ($1, $2, $3::text::jsonb, now(), gen_random_uuid())
    """,
    "told_consents": """
        INSERT INTO told_consents (customer_id, purpose, channel, status, occurred_at, told_by)
        VALUES ($1, $2, $2, $3, now(), gen_random_uuid())
    """,
}


async def keep(connection: asyncpg.Connection, known: dict[tuple[str, ...], Any]) -> Any:
    """Write down what is known of a customer; returns their id."""
    one = uuid4()
    currency = known["currency",]
    other = None
    if currency and (amount := known["spend", "USD" if currency == "CNY" else "CNY"]) is not None:
        name = "USD" if currency == "CNY" else "CNY"
        other = orjson.dumps([{"currency": name, "amount": amount, "days": 1}]).decode()
    await connection.execute(
        INSERTS["customer_facts"], one, known["purchases",], known["buying_days",], known["refunds",],
        known["last_purchase",], currency, known["spend",], other, 2 if currency else None,
        known["tickets",], known["open_tickets",], known["complaints",], known["mood",], known["tier",],
    )  # fmt: skip
    scores = (known["rfm_segment",], known["p_alive",], known["clv",])
    await connection.execute(INSERTS["customer_scores"], one, DAY, *scores)
    if known["grade",]:
        await connection.execute(INSERTS["value_indexes"], one, known["value_index",], known["grade",])
    if known["churn_risk",]:
        await connection.execute(INSERTS["churn_risks"], one, known["churn_risk",], known["at_risk",])
    await connection.execute(INSERTS["customer_segments"], one, known["cluster",])
    for name in NAMES:
        value = known["attribute", name]
        said = str(value) if value == 10**400 else orjson.dumps(value).decode()
        await connection.execute(INSERTS["told_attributes"], one, name, said)
        if status := known["consent", name, name]:
            await connection.execute(INSERTS["told_consents"], one, name, status)
    return one


EDGES = [
    parse(said)
    for said in (
        "last_purchase within 0 days",
        "last_purchase within 1 day",
        "last_purchase within 30 days",
        "attribute.plan within 30 days",
        "attribute.plan >= 2020-02-29",
        "attribute.plan = 1 or attribute.plan = true",
        "not (attribute.plan != 0.5)",
        'tier contains "old" or tier contains "卡"',
        "spend.USD >= 100 and spend != 0",
    )
]


async def test_the_sql_agrees_with_python_on_whoever_there_may_be(database: Database) -> None:
    drawn: list[tuple[list[dict[tuple[str, ...], Any]], list[Expression]]] = []

    @hypothesis.settings(max_examples=8, database=None, phases=[hypothesis.Phase.generate])
    @hypothesis.seed(360)
    @given(st.lists(customer(), min_size=8, max_size=8), st.lists(EXPRESSIONS, min_size=20, max_size=20))
    def draw(customers: list[dict[tuple[str, ...], Any]], expressions: list[Expression]) -> None:
        drawn.append((customers, expressions))

    draw()
    both = 0
    async with database.pool.acquire() as connection:
        for customers, expressions in drawn:
            ids = [await keep(connection, known) for known in customers]
            rules = {uuid4(): expression for expression in (*EDGES, *expressions)}
            pairs = set(zip(*await store.fitting(connection, ids, rules, DAY), strict=True))
            for one, known in zip(ids, customers, strict=True):
                for rule, expression in rules.items():
                    expected = fits(expression, known, DAY)
                    assert ((one, rule) in pairs) == expected, (write(expression), known)
                    both += expected
    assert 0.2 < both / (len(drawn) * 8 * (20 + len(EDGES))) < 0.8
