"""What is told of customers again and again, and of which the newest stands: attributes, consents, standings.

Each is kept as it was told of each customer; the views customer_attributes, consents and loyalty_standings
show what stands of all who are one. Order and repetition never matter.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

import asyncpg
import orjson

from shared.contracts import Event
from shared.contracts.loyalty import PointsEvent, TierChanged
from shared.contracts.profile import ConsentChanged, CustomerRegistered, CustomerUpdated

MOST_ATTRIBUTES = 100  # of a customer; the first by name stay
LONGEST_VALUE = 64
# Attributes whose name has one of these words, or is one of these, say who somebody is: not kept here.
PERSONAL_WORDS = frozenset({
    "email", "mail", "phone", "mobile", "telephone", "tel", "fax", "address", "street", "postcode", "zip",
    "zipcode", "iban", "passport", "ssn", "surname", "firstname", "lastname", "fullname", "nickname",
    "username", "birthday", "birthdate", "dob", "contact", "note", "comment", "姓名", "电话", "地址", "邮箱",
})  # fmt: skip
PERSONAL_NAMES = frozenset({
    "name", "first name", "last name", "full name", "given name", "family name", "middle name", "user name",
    "display name", "birth date", "date of birth",
})  # fmt: skip

_RECORD_ATTRIBUTES = """
    INSERT INTO told_attributes AS t (customer_id, told_of, name, value, told_at, told_by)
    SELECT coalesce(o.owner, told.customer_id), CASE WHEN o.owner IS NOT NULL THEN o.customer_id END,
           told.name, told.value::jsonb, told.at, told.by
    FROM unnest($1::uuid[], $2::text[], $3::text[], $4::timestamptz[], $5::uuid[])
        AS told (customer_id, name, value, at, by)
    LEFT JOIN owners o USING (customer_id)
    WHERE o.customer_id IS NULL OR o.owner IS NOT NULL
    ORDER BY told.customer_id, told.name
    ON CONFLICT (coalesce(told_of, customer_id), name) DO UPDATE SET
        value = EXCLUDED.value, told_at = EXCLUDED.told_at, told_by = EXCLUDED.told_by
    WHERE (EXCLUDED.told_at, EXCLUDED.told_by) > (t.told_at, t.told_by)
    RETURNING customer_id
"""
_BOUND_ATTRIBUTES = """
    DELETE FROM told_attributes t USING (
        SELECT coalesce(told_of, customer_id) AS id, name,
               row_number() OVER (PARTITION BY coalesce(told_of, customer_id) ORDER BY name) AS place
        FROM told_attributes WHERE coalesce(told_of, customer_id) = ANY ($1)
    ) ranked
    WHERE coalesce(t.told_of, t.customer_id) = ranked.id AND t.name = ranked.name AND ranked.place > $2
"""
_RECORD_CONSENTS = """
    INSERT INTO told_consents AS t (customer_id, told_of, purpose, channel, status, occurred_at, told_by)
    SELECT coalesce(o.owner, told.customer_id), CASE WHEN o.owner IS NOT NULL THEN o.customer_id END,
           told.purpose, told.channel, told.status, told.at, told.by
    FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::timestamptz[], $6::uuid[])
        AS told (customer_id, purpose, channel, status, at, by)
    LEFT JOIN owners o USING (customer_id)
    WHERE o.customer_id IS NULL OR o.owner IS NOT NULL
    ORDER BY told.customer_id, told.purpose, told.channel
    ON CONFLICT (coalesce(told_of, customer_id), purpose, channel) DO UPDATE SET
        status = EXCLUDED.status, occurred_at = EXCLUDED.occurred_at, told_by = EXCLUDED.told_by
    WHERE (EXCLUDED.occurred_at, EXCLUDED.told_by) > (t.occurred_at, t.told_by)
    RETURNING customer_id
"""
_RECORD_STANDINGS = """
    INSERT INTO told_standings AS t (customer_id, told_of, what, tier, points, told_at, told_by)
    SELECT coalesce(o.owner, told.customer_id), CASE WHEN o.owner IS NOT NULL THEN o.customer_id END,
           told.what, told.tier, told.points, told.at, told.by
    FROM unnest($1::uuid[], $2::text[], $3::text[], $4::bigint[], $5::timestamptz[], $6::uuid[])
        AS told (customer_id, what, tier, points, at, by)
    LEFT JOIN owners o USING (customer_id)
    WHERE o.customer_id IS NULL OR o.owner IS NOT NULL
    ORDER BY told.customer_id, told.what
    ON CONFLICT (coalesce(told_of, customer_id), what) DO UPDATE SET
        tier = EXCLUDED.tier, points = EXCLUDED.points, told_at = EXCLUDED.told_at, told_by = EXCLUDED.told_by
    WHERE (EXCLUDED.told_at, EXCLUDED.told_by) > (t.told_at, t.told_by)
    RETURNING customer_id
"""


async def record_attributes(
    connection: asyncpg.Connection, events: Iterable[Event[CustomerRegistered] | Event[CustomerUpdated]]
) -> set[UUID]:
    """Keep what there is to compute with of the attributes that changed; returns of whom there was some."""
    newest: dict[tuple[UUID, str], tuple[Event[Any], Any]] = {}
    for event in sorted(events, key=lambda e: (e.time, e.id)):
        for name, value in computable(event.data.attributes).items():
            newest[event.data.customer_id, name] = (event, value)
    if not newest:
        return set()
    rows = await connection.fetch(
        _RECORD_ATTRIBUTES,
        [customer_id for customer_id, _ in newest],
        [name for _, name in newest],
        [None if value is None else orjson.dumps(value).decode() for _, value in newest.values()],
        [event.time for event, _ in newest.values()],
        [event.id for event, _ in newest.values()],
    )
    await connection.execute(_BOUND_ATTRIBUTES, sorted({who for who, _ in newest}), MOST_ATTRIBUTES)
    return {row["customer_id"] for row in rows}


async def record_consents(
    connection: asyncpg.Connection, events: Iterable[Event[ConsentChanged]]
) -> set[UUID]:
    """Keep the latest will about each purpose and channel; returns whose changed."""
    newest = {
        (e.data.customer_id, e.data.purpose, e.data.channel): e
        for e in sorted(events, key=lambda e: (e.data.occurred_at, e.id))
    }
    rows = await connection.fetch(
        _RECORD_CONSENTS,
        [customer_id for customer_id, _, _ in newest],
        [purpose for _, purpose, _ in newest],
        [channel for _, _, channel in newest],
        [event.data.status for event in newest.values()],
        [event.data.occurred_at for event in newest.values()],
        [event.id for event in newest.values()],
    )
    return {row["customer_id"] for row in rows}


async def record_standings(
    connection: asyncpg.Connection, events: Iterable[Event[TierChanged] | Event[PointsEvent]]
) -> set[UUID]:
    """Keep tier and points as loyalty told them last; returns whose changed."""
    newest: dict[tuple[UUID, str], Event[Any]] = {}
    for event in sorted(events, key=lambda e: (e.time, e.id)):
        newest[event.data.customer_id, "tier" if isinstance(event.data, TierChanged) else "points"] = event
    rows = await connection.fetch(
        _RECORD_STANDINGS,
        [customer_id for customer_id, _ in newest],
        [what for _, what in newest],
        [event.data.to_tier if what == "tier" else None for (_, what), event in newest.items()],
        [event.data.balance if what == "points" else None for (_, what), event in newest.items()],
        [event.time for event in newest.values()],
        [event.id for event in newest.values()],
    )
    return {row["customer_id"] for row in rows}


def computable(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes that are numbers, booleans or short words and do not say who somebody is.

    None stands for a value that was taken away or is none to compute with: the one before holds no more.
    """
    return {
        name: value if _is_plain(value) else None
        for name, value in attributes.items()
        if not _is_personal(name)
    }


def _is_plain(value: object) -> bool:
    if isinstance(value, str):
        return len(value) <= LONGEST_VALUE and "@" not in value
    return isinstance(value, bool | int | float)


def _is_personal(name: str) -> bool:
    words = re.findall(r"[^\W_]+", name.lower())
    return " ".join(words) in PERSONAL_NAMES or not PERSONAL_WORDS.isdisjoint(words)
