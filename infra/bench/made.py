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
NAMES = ("李雷", "韩梅梅", "王芳", "Ada Lovelace", "Grace Hopper", "张伟", "Jean Bartik", "刘洋")
WORDS = (
    "快递把包裹弄丢了",
    "the parcel never came",
    "客服很耐心",
    "退款太慢",
    "love the new kettle",
    "发票开错了",
)
# A row of view_sections: customer, section, version, as_of, body.
Row = tuple[UUID, str, int, datetime, str]


def customer_id(number: int) -> UUID:
    """The id of customer `number`: version 7, one a millisecond from 2026-01-01 on, random bits behind."""
    moment_ms = 1_767_225_600_000 + number
    bits = random.Random(number).getrandbits(74)
    value = moment_ms << 80 | 7 << 76 | (bits >> 62) << 64 | 2 << 62 | bits & (1 << 62) - 1
    return UUID(int=value)


def body_of(section: str, customer: UUID, number: int) -> str:
    """A section's body as JSON text."""
    body = {"profile": _profile, "feedback": _feedback, "loyalty": _loyalty, "scoring": _scoring}[section]
    return orjson.dumps(body(customer, random.Random(number))).decode()


def rows(numbers: range) -> Iterator[Row]:
    """The four rows of each customer."""
    for number in numbers:
        customer = customer_id(number)
        for version, section in enumerate(SECTIONS, start=number * len(SECTIONS) + 1):
            yield customer, section, version, AS_OF, body_of(section, customer, number)


def answers(numbers: range) -> Iterator[tuple[UUID, str]]:
    """Each customer's 360 answer, put together by the gateway's own rule."""
    found: list[Row] = []
    for row in rows(numbers):
        found.append(row)
        if len(found) == len(SECTIONS):
            shown = from_rows(one[1:] for one in found)
            yield row[0], compose(row[0], shown or {}).decode()
            found = []


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


def _profile(customer: UUID, chance: random.Random) -> dict[str, object]:
    number = chance.randrange(10**8)
    seen = f"2026-02-{chance.randint(1, 28):02d}T09:30:00.000000Z"
    source = {"source": "api", "seen_at": seen, "rule": "newest"}
    return {
        "id": str(customer),
        "name": chance.choice(NAMES),
        "identities": [
            {"kind": "email", "value": f"c{number}@example.com", "source": "", "verified": True},
            {"kind": "phone", "value": f"+86138{number:08d}", "source": "", "verified": False},
            {"kind": "external_id", "value": f"C-{number}", "source": "shop", "verified": True},
        ],
        "attributes": {
            "plan": {"value": chance.choice(("free", "pro", "team"))} | source,
            "city": {"value": chance.choice(("上海", "Berlin", "成都"))} | source,
            "language": {"value": chance.choice(("zh", "en"))} | source,
        },
        "consents": [{"purpose": "marketing", "channel": "email", "status": "granted", "at": seen}],
        "registered_at": "2025-06-01T08:00:00.000000Z",
        "purchases": {"count": chance.randint(1, 40), "last_at": seen},
    }


def _feedback(customer: UUID, chance: random.Random) -> dict[str, object]:
    tickets = [
        {
            "id": str(customer_id(chance.randrange(10**9))),
            "kind": "complaint",
            "category": chance.choice(("delivery", "billing", "quality")),
            "severity": "high",
            "status": "open",
            "mood": -0.6,
            "text": chance.choice(WORDS),
            "opened_at": "2026-02-20T10:00:00.000000Z",
        }
        for _ in range(3)
    ]
    return {
        "open_tickets": {"count": 1, "items": tickets[:1]},
        "last_tickets": tickets,
        "surveys": {"nps": chance.randint(0, 10), "csat": chance.randint(1, 5), "ces": chance.randint(1, 7)},
        "mood": {"average": round(chance.uniform(-1, 1), 2), "days": 90, "tickets": 3},
    }


def _loyalty(customer: UUID, chance: random.Random) -> dict[str, object]:
    return {
        "balance": chance.randint(0, 50_000),
        "pending": 0,
        "lifetime": {"earned": chance.randint(50_000, 90_000), "spent": chance.randint(0, 10_000)},
        "next_expiry": {"at": "2026-12-31T23:59:59Z", "points": chance.randint(1, 500)},
        "last_entries": [
            {
                "transfer_id": str(customer_id(chance.randrange(10**9))),
                "points": chance.randint(1, 300),
                "reason": "purchase",
                "at": "2026-02-11T10:00:00.000000Z",
            }
            for _ in range(3)
        ],
    }


def _scoring(customer: UUID, chance: random.Random) -> dict[str, object]:
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
        "unknown": [],
    }
