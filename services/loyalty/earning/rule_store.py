"""All SQL of the earning rules, and how their versions follow one another in time."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

import orjson

from services.loyalty.earning.rules import Rule, in_order
from services.loyalty.ledger.store import Connection

_ALL = "SELECT id, version, definition::text, made_at FROM earning_rules ORDER BY id, version"
# Index: earning_rules_pkey.
_PAGE = """
    SELECT DISTINCT ON (id) id, version, definition::text, made_at FROM earning_rules WHERE id > $1
     ORDER BY id, version DESC LIMIT $2
"""
_NEWEST = """
    SELECT id, version, definition::text, made_at FROM earning_rules WHERE id = $1
     ORDER BY version DESC LIMIT 1
"""
_COUNT = "SELECT count(DISTINCT id) FROM earning_rules"
_ADD = """
    INSERT INTO earning_rules (id, version, definition, made_at, made_by)
    VALUES ($1, $2, $3::text::jsonb, $4, $5)
    ON CONFLICT DO NOTHING RETURNING version
"""


@dataclass(frozen=True, slots=True)
class Version:
    """A rule as it was written."""

    id: str
    version: int
    definition: Mapping[str, Any]
    made_at: datetime


async def rules(connection: Connection) -> list[Rule]:
    """Every version of every rule that is or was enabled, in the order in which they are asked."""
    return effective([_version(row) for row in await connection.fetch(_ALL)])


def effective(versions: Iterable[Version]) -> list[Rule]:
    """Rules with the time in which each version counts: until the next one was made."""
    found: list[Rule] = []
    following: dict[str, datetime] = {}
    for each in sorted(versions, key=lambda each: (each.id, each.version), reverse=True):
        rule = read(each, until=following.get(each.id))
        following[each.id] = each.made_at
        if each.definition.get("enabled", True) and (rule.ends_at is None or rule.starts_at < rule.ends_at):
            found.append(rule)
    return in_order(found)


def read(version: Version, *, until: datetime | None = None) -> Rule:
    """A version as a rule, which counts from when it starts or was made, to its end or `until`.

    The first version may start before it was made; a later one changes nothing that happened before.
    """
    said = version.definition
    starts_at = _moment(said.get("starts_at")) or version.made_at
    if version.version > 1:
        starts_at = max(starts_at, version.made_at)
    ends = [end for end in (_moment(said.get("ends_at")), until) if end is not None]
    return Rule(
        version.id,
        version.version,
        said["kind"],
        starts_at,
        min(ends, default=None),
        version.made_at,
        rate=_decimal(said.get("rate")),
        points=said.get("points"),
        multiplier=_decimal(said.get("multiplier")),
        currency=said.get("currency"),
        categories=frozenset(said.get("categories", ())),
        skus=frozenset(said.get("skus", ())),
        channels=frozenset(said.get("channels", ())),
        subjects=frozenset(said.get("subjects", ())),
        first_only=said.get("first_purchase_only", False),
        exclusive=said.get("exclusive", False),
        priority=said.get("priority", 0),
        daily_limit=said.get("daily_limit"),
        monthly_limit=said.get("monthly_limit"),
        pending_days=said.get("pending_days", 0),
        points_days=said.get("points_days"),
    )


async def page(connection: Connection, after: str, limit: int) -> list[Version]:
    """The newest version of each rule after one of them, by id."""
    return [_version(row) for row in await connection.fetch(_PAGE, after, limit)]


async def newest(connection: Connection, rule_id: str) -> Version | None:
    """A rule as it is now."""
    row = await connection.fetchrow(_NEWEST, rule_id)
    return None if row is None else _version(row)


async def count(connection: Connection) -> int:
    """How many rules there are."""
    found: int = await connection.fetchval(_COUNT)
    return found


async def add(connection: Connection, version: Version, made_by: str) -> bool:
    """Keep a version; False when there is one of this number."""
    definition = orjson.dumps(version.definition).decode()
    added = await connection.fetchval(_ADD, version.id, version.version, definition, version.made_at, made_by)
    return added is not None


def _version(row: Any) -> Version:
    return Version(row["id"], row["version"], orjson.loads(row["definition"]), row["made_at"])


def _moment(value: str | None) -> datetime | None:
    return None if value is None else datetime.fromisoformat(value)


def _decimal(value: str | None) -> Decimal | None:
    return None if value is None else Decimal(value)
