"""Late-bound section snapshots: what a service shows of a customer in the 360 view.

A writer leaves a mark beside its change. The relay folds the marks it claims, takes the next version
*first* and reads the section for all those customers in one query afterwards. So a snapshot with a later
version always contains every change whose mark was claimed before it, and the gateway may keep the highest
version it has seen, whatever the order of arrival.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

import asyncpg
from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from shared.contracts.envelope import dataschema
from shared.ids import new_id
from shared.messaging.bus import Outgoing

# customer ids -> JSON text of the section, for each customer that the service knows
Build = Callable[[asyncpg.Connection, list[UUID]], Awaitable[dict[UUID, str]]]

_MARK = text("INSERT INTO section_marks (customer_id) SELECT unnest(CAST(:ids AS uuid[]))")


@dataclass(frozen=True, slots=True)
class Section:
    """One service's part of the view.

    `build` reads it for many customers in one query. `customers` is SQL giving `customer_id` of the known
    customers above `$1`, sorted, at most `$2` rows; it lets a rebuild walk through all of them.
    """

    name: str
    build: Build
    customers: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A section of one customer at one moment; `body` is JSON text, or None when nothing is known."""

    customer_id: UUID
    version: int
    as_of: datetime
    body: str | None


async def mark(session: AsyncSession, customer_ids: Iterable[UUID]) -> None:
    """Say that these customers' section changed; published after the transaction has committed."""
    ids = list(customer_ids)
    if ids:
        await session.execute(_MARK, {"ids": ids})
        session.info["emitted"] = True


async def take(connection: asyncpg.Connection, section: Section, ids: Sequence[UUID]) -> list[Snapshot]:
    """Snapshots of these customers as they stand now.

    The connection must not be inside a REPEATABLE READ transaction: the read has to see what was committed
    after the version was taken.
    """
    taken = await connection.fetchrow("SELECT nextval('section_version') AS version, clock_timestamp() AS at")
    bodies = await section.build(connection, list(ids))
    return [Snapshot(i, taken["version"], taken["at"].astimezone(UTC), bodies.get(i)) for i in ids]


def envelope(section: Section, snapshot: Snapshot) -> Outgoing:
    """The event of a snapshot. The body is placed as text, so that it is never parsed on the way out."""
    event_id, kind = new_id(), f"section.{section.name}"
    at = snapshot.as_of.isoformat().replace("+00:00", "Z")
    return Outgoing(
        event_id,
        kind,
        f'{{"specversion":"1.0","id":"{event_id}","source":"/{section.name}","type":"{kind}","time":"{at}",'
        f'"datacontenttype":"application/json","dataschema":"{dataschema(kind, 1)}",'
        f'"subject":"{snapshot.customer_id}","data":{{"customer_id":"{snapshot.customer_id}",'
        f'"version":{snapshot.version},"as_of":"{at}","body":{snapshot.body or "null"}}}}}',
    )
