"""Birthdays: once a year, on the day that a customer's attributes give."""

from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from uuid import UUID

import asyncpg

from services.loyalty.earning.rules import Deed
from services.loyalty.earning.service import count
from services.loyalty.earning.store import own_id
from services.loyalty.settings import LoyaltySettings
from shared.clock import utc_now
from shared.database import Database, raw
from shared.ids import new_id
from shared.jobs import Job

ATTRIBUTES = ("birthday", "birth_date", "date_of_birth")
EVERY_S = 3600.0
LOOK_BACK_DAYS = 7  # how long the service may have been down
BATCH = 500  # members in one transaction
A_YEAR_APART = timedelta(days=300)  # two gifts, at the least

_NOTE = """
    INSERT INTO birthdays (customer_id, month, day)
    SELECT * FROM unnest($1::uuid[], $2::smallint[], $3::smallint[])
    ON CONFLICT (customer_id) DO UPDATE SET (month, day) = (excluded.month, excluded.day)
"""
# Indexes: birthdays_in_year, accounts_kind_owner_key, deeds_of_member. One gift a year, also when the day was
# changed meanwhile, or customers with two days are one by now.
_ON = """
    SELECT customer_id FROM birthdays AS b
      LEFT JOIN accounts AS a ON a.kind = 'member' AND a.owner = b.customer_id
     WHERE month = $1 AND day = $2 AND customer_id > $3
       AND NOT EXISTS (SELECT FROM deeds AS d
                        WHERE d.customer_id = CASE WHEN a.merged_into IS NULL THEN b.customer_id
                              ELSE (SELECT survivor FROM survivors(ARRAY[b.customer_id])) END
                          AND d.kind = 'birthday' AND d.occurred_at > $4)
     ORDER BY customer_id LIMIT $5
"""
_REMOVE = "DELETE FROM birthdays WHERE customer_id = ANY ($1::uuid[])"
NOBODY = UUID(int=0)


def born_on(attributes: Mapping[str, Any]) -> tuple[int, int] | None:
    """Month and day of an attribute that holds an ISO date, with or without the year (`--02-29`)."""
    for name in ATTRIBUTES:
        value = attributes.get(name)
        if isinstance(value, str):
            try:
                born = date.fromisoformat(value[:10].replace("--", "2000-", 1))
            except ValueError:
                continue
            return born.month, born.day
    return None


async def note(connection: asyncpg.Connection, attributes: Mapping[UUID, Mapping[str, Any]]) -> None:
    """Remember the days that attributes of customers tell; what was taken away is forgotten."""
    told = sorted(who for who, values in attributes.items() if not values.keys().isdisjoint(ATTRIBUTES))
    days = [(who, *day) for who in told if (day := born_on(attributes[who]))]
    if len(days) < len(told):
        await connection.execute(_REMOVE, told)
    if days:
        await connection.execute(_NOTE, *map(list, zip(*days, strict=True)))


async def give(database: Database, settings: LoyaltySettings, now: datetime) -> int:
    """Count the birthdays of today and of the days that were missed; returns how many."""
    given = 0
    for back in reversed(range(LOOK_BACK_DAYS)):
        day = (now - timedelta(days=back)).date()
        given += await _give_on(database, settings, day, (day.month, day.day), now)
        if (day.month, day.day) == (2, 28) and (day + timedelta(days=1)).month == 3:
            given += await _give_on(database, settings, day, (2, 29), now)
    return given


async def _give_on(
    database: Database, settings: LoyaltySettings, day: date, born: tuple[int, int], now: datetime
) -> int:
    given, after = 0, NOBODY
    at = datetime.combine(day, time(), UTC)
    while True:
        async with database.session() as session:
            connection = await raw(session)
            rows = await connection.fetch(_ON, *born, after, at - A_YEAR_APART, BATCH)
            who = [own_id(row["customer_id"]) for row in rows]
            deeds = [Deed(new_id(), "birthday", each, at, now, "Birthday") for each in who]
            given += len(await count(connection, settings, deeds))
        if len(who) < BATCH:
            return given
        after = who[-1]


def birthday_job(settings: LoyaltySettings) -> Job:
    """The gifts by the clock."""

    async def run(database: Database) -> None:
        await give(database, settings, utc_now())

    return Job("birthdays", EVERY_S, run)
