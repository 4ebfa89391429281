"""Made customers for the view: ids ordered by time, bodies as the services write them. Always the same."""

import random
from collections.abc import Iterator
from datetime import UTC, datetime
from uuid import UUID

import asyncpg
import orjson

from gateway.view.answer import compose, from_rows
from shared.contracts.sections import SECTIONS

AS_OF = datetime(2026, 3, 1, 12, tzinfo=UTC)
AS_OF_STORED = '"2026-03-01T12:00:00+00:00"'  # as the gateway's query gives it
NAMES = ("李雷", "韩梅梅", "王芳", "Ada Lovelace", "Grace Hopper", "张伟", "Jean Bartik", "刘洋")
WORDS = (
    "快递把包裹弄丢了",
    "the parcel never came",
    "客服很耐心",
    "退款太慢",
    "love the new kettle",
    "发票开错了",
)
KINDS = (499, 503, 509, 521)
RECENT = 5  # purchases and points at most: a lively customer, and an answer that fits one row
# A row of view_sections: customer, section, version, as_of, body.
Row = tuple[UUID, str, int, datetime, str]


def customer_id(number: int) -> UUID:
    """The id of customer `number`: version 7, one a millisecond from 2026-01-01 on, random bits behind."""
    moment_ms = 1_767_225_600_000 + number
    bits = random.Random(number).getrandbits(74)
    value = moment_ms << 80 | 7 << 76 | (bits >> 62) << 64 | 2 << 62 | bits & (1 << 62) - 1
    return UUID(int=value)


def body_of(section: str, number: int) -> str:
    """A section's body for customer `number`, as JSON text."""
    body = {"profile": _profile, "feedback": _feedback, "loyalty": _loyalty, "scoring": _scoring}[section]
    return orjson.dumps(body(random.Random(number))).decode()


def rows(numbers: range) -> Iterator[Row]:
    """The four rows of each customer. Bodies repeat, each section's after a prime of its own: no two have the
    same four, and making them does not take longer than storing them.
    """
    kinds = {
        section: [body_of(section, number) for number in range(min(prime, len(numbers)))]
        for section, prime in zip(SECTIONS, KINDS, strict=True)
    }
    for number in numbers:
        customer = customer_id(number)
        for version, (section, bodies) in enumerate(kinds.items(), start=number * len(SECTIONS) + 1):
            yield customer, section, version, AS_OF, bodies[number % len(bodies)]


def answers(numbers: range) -> Iterator[tuple[UUID, str]]:
    """Each customer's 360 answer, put together by the gateway's own rule."""
    stored: list[tuple[str, int, str, str | None]] = []
    for customer, section, version, _, body in rows(numbers):
        stored.append((section, version, AS_OF_STORED, body))
        if len(stored) == len(SECTIONS):
            yield customer, compose(customer, from_rows(stored) or {}).decode()
            stored = []


async def fill_view(gateway: asyncpg.Pool, customers: int) -> None:
    """Put so many customers into the gateway's view, unless they are there already."""
    if await gateway.fetchval(
        "SELECT EXISTS (SELECT FROM view_sections WHERE customer_id = $1)", customer_id(0)
    ):
        return
    async with gateway.acquire() as connection:
        await connection.copy_records_to_table(
            "view_sections",
            records=rows(range(customers)),
            columns=["customer_id", "section", "version", "as_of", "body"],
        )
        await connection.execute("VACUUM (FREEZE, ANALYZE) view_sections")


def _profile(chance: random.Random) -> dict[str, object]:
    number = chance.randrange(10**8)
    chosen = {
        "source": "api",
        "observed_at": _moment(chance),
        "trust": 50,
        "rule": "most trusted, then newest",
    }
    name = chance.choice(NAMES)
    purchases = [_purchase(chance) for _ in range(chance.randint(0, RECENT))]
    amount = sum(int(str(purchase["amount"])) for purchase in purchases)
    return {
        "name": name,
        "registered_at": _moment(chance),
        "version": chance.randint(1, 9),
        "identities": [
            {"kind": "email", "source": None, "value": f"c{number}@example.com", "verified": True},
            {"kind": "external_id", "source": "shop", "value": f"C-{number}", "verified": True},
            {"kind": "phone", "source": None, "value": f"+86138{number:08d}", "verified": False},
        ],
        "attributes": {
            "name": {"value": name} | chosen,
            "plan": {"value": chance.choice(("free", "pro", "team"))} | chosen,
            "city": {"value": chance.choice(("上海", "Berlin", "成都"))} | chosen,
        },
        "consents": [
            {
                "purpose": "marketing",
                "channel": "email",
                "status": "granted",
                "occurred_at": _moment(chance),
                "expires_at": None,
            }
        ],
        "purchases": {
            "count": len(purchases),
            "first_at": _moment(chance),
            "last_at": _moment(chance),
            "totals": [{"currency": "CNY", "count": len(purchases), "amount": amount, "refunded": 0}],
        },
        "recent_purchases": purchases,
        "recent_activities": [],
    }


def _purchase(chance: random.Random) -> dict[str, object]:
    return {
        "id": _id(chance),
        "source": "shop",
        "source_id": f"O-{chance.randrange(10**6)}",
        "currency": "CNY",
        "amount": chance.randint(1_000, 99_000),
        "refunded": 0,
        "lines": chance.randint(1, 4),
        "touchpoint": "checkout",
        "channel": "web",
        "occurred_at": _moment(chance),
    }


def _feedback(chance: random.Random) -> dict[str, object]:
    tickets = [_ticket(chance) for _ in range(2)]
    at = _moment(chance)
    return {
        "open_tickets": {
            "count": 1,
            "items": [tickets[0] | {"department": "logistics", "assignee": None}],
        },
        "last_tickets": [ticket | {"resolved_at": None} for ticket in tickets],
        "tickets": {"count": 2, "mentions": 2, "by_kind": {"complaint": 2}},
        "surveys": {
            "answers": 1,
            "nps": {
                "score": chance.randint(0, 10),
                "survey": "nps",
                "touchpoint": "delivery",
                "occurred_at": at,
            },
            "csat": None,
            "ces": None,
        },
        "mood": {"average": round(chance.uniform(-1, 1), 3), "feedbacks": 3, "days": 90, "until": at},
    }


def _ticket(chance: random.Random) -> dict[str, object]:
    return {
        "id": _id(chance),
        "kind": "complaint",
        "category": chance.choice(("delivery", "billing", "quality")),
        "severity": "high",
        "mood": round(chance.uniform(-1, 0), 2),
        "status": "open",
        "channel": "review",
        "occurred_at": _moment(chance),
        "opened_at": _moment(chance),
    }


def _loyalty(chance: random.Random) -> dict[str, object]:
    balance = chance.randint(0, 50_000)
    return {
        "balance": balance,
        "pending": 0,
        "owed": 0,
        "lifetime": {"earned": balance + 500, "spent": 500},
        "next_expiry": {"points": chance.randint(1, 500), "expires_at": "2027-12-31T23:59:59+00:00"},
        "recent": [
            {
                "transfer_id": _id(chance),
                "kind": "earning",
                "points": chance.randint(1, 300),
                "balance": balance,
                "reason": "purchase",
                "rule": "purchases",
                "arithmetic": "floor(12900 / 100 × 1)",
                "reverses": None,
                "occurred_at": _moment(chance),
            }
            for _ in range(chance.randint(1, RECENT))
        ],
    }


def _scoring(chance: random.Random) -> dict[str, object]:
    scores = [chance.randint(1, 5) for _ in range(3)]
    return {
        "as_of": "2026-03-01",
        "rfm": {
            "recency_days": chance.randint(0, 400),
            "frequency": chance.randint(1, 40),
            "monetary": {"amount": chance.randint(1_000, 900_000), "currency": "CNY"},
            "recency_score": scores[0],
            "frequency_score": scores[1],
            "monetary_score": scores[2],
            "score": "".join(map(str, scores)),
        },
        "segment": chance.choice(("champion", "loyal", "at_risk", "hibernating")),
        "p_alive": round(chance.random(), 6),
        "expected_purchases": {"value": round(chance.uniform(0, 9), 6), "horizon_days": 365},
        "clv": {"amount": chance.randint(0, 500_000), "currency": "CNY", "horizon_days": 365},
        "models": {"purchases": "bg_nbd/3", "spend": "gamma_gamma/3"},
        "facts": {
            "purchases": chance.randint(1, 40),
            "refunds": 0,
            "first_purchase_on": "2025-04-01",
            "last_purchase_on": "2026-02-20",
            "other_spend": [],
            "tickets": {"total": 2, "open": 1, "complaints": 2, "mood": -0.4},
            "surveys": {"nps": chance.randint(0, 10), "csat": None, "ces": None},
        },
        "unknown": [],
    }


def _id(chance: random.Random) -> str:
    return str(customer_id(chance.randrange(10**9)))


def _moment(chance: random.Random) -> str:
    return f"2026-02-{chance.randint(1, 28):02d}T{chance.randint(0, 23):02d}:30:00.123456+00:00"
