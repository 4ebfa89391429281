"""The timeline: events become lines, and all SQL of them.

A line is written once, under its event's id. It also gets the customer's next `position`, counted under a
row lock that lasts until the commit; so whoever has read up to a position has missed nothing before it, and a
stream resumes from there. A line about a ticket without a customer waits until an event says whose the ticket
is; both kinds of event meet at the ticket's row, so neither can pass the other unseen.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg

from gateway.view.answer import stamp
from gateway.view.lines import Line, line_id, lines_of, ticket_owners
from shared.contracts import Event, EventData, feedback, loyalty, profile, scoring
from shared.messaging.reactions import Reactions

CHUNK = 5_000  # lines per statement

_CLAIM_TICKETS = """
    INSERT INTO timeline_tickets AS known (ticket_id, customer_id)
    SELECT * FROM unnest($1::uuid[], $2::uuid[])
    ON CONFLICT (ticket_id) DO UPDATE SET customer_id = coalesce(excluded.customer_id, known.customer_id)
    RETURNING ticket_id, customer_id
"""

# Index: timeline_waiting_ticket.
_STOP_WAITING = """
    DELETE FROM timeline_waiting AS waiting USING timeline_tickets AS known
    WHERE known.ticket_id = waiting.ticket_id AND known.customer_id IS NOT NULL
      AND waiting.ticket_id = ANY($1::uuid[])
    RETURNING known.customer_id, waiting.ticket_id, event_id, item, type, occurred_at, recorded_at, summary
"""

_WAIT = """
    INSERT INTO timeline_waiting (ticket_id, event_id, item, type, occurred_at, recorded_at, summary)
    SELECT * FROM unnest(
        $1::uuid[], $2::uuid[], $3::smallint[], $4::text[], $5::timestamptz[], $6::timestamptz[], $7::text[])
    ON CONFLICT DO NOTHING
"""

# All heads are locked, in the order of their ids, before the first line is written: the window needs all.
_WRITE = """
    WITH incoming AS (
        SELECT * FROM unnest(
            $1::uuid[], $2::uuid[], $3::smallint[], $4::text[],
            $5::timestamptz[], $6::timestamptz[], $7::text[]
        ) WITH ORDINALITY AS incoming
            (customer_id, event_id, item, type, occurred_at, recorded_at, summary, place)),
    heads AS (
        INSERT INTO timeline_heads AS head (customer_id, position)
        SELECT customer_id, count(*) FROM incoming GROUP BY customer_id ORDER BY customer_id
        ON CONFLICT (customer_id) DO UPDATE SET position = head.position + excluded.position
        RETURNING customer_id, position)
    INSERT INTO timeline (event_id, item, customer_id, position, type, occurred_at, recorded_at, summary)
    SELECT event_id, item, customer_id,
           heads.position + 1 - row_number() OVER (PARTITION BY customer_id ORDER BY place DESC),
           type, occurred_at, recorded_at, summary
    FROM incoming JOIN heads USING (customer_id)
    ON CONFLICT (event_id, item) DO NOTHING
"""

# Index: timeline_journey, read backwards from the last line seen; types are filtered as they pass.
_READ = """
    SELECT event_id, item, type, occurred_at, recorded_at, summary FROM timeline
    WHERE customer_id = $1
      AND occurred_at >= coalesce($2::timestamptz, '-infinity')
      AND occurred_at < coalesce($3::timestamptz, 'infinity')
      AND ($4::text[] IS NULL OR type = ANY($4))
      AND (occurred_at, event_id, item)
          < (coalesce($5::timestamptz, 'infinity'), $6::uuid, $7::int)
    ORDER BY occurred_at DESC, event_id DESC, item DESC LIMIT $8
"""

# Index: timeline_positions, a few rows for each reader.
_LINES_BEYOND = """
    SELECT read.reader, line.* FROM unnest($1::int[], $2::uuid[], $3::bigint[], $4::int[])
        AS read (reader, customer_id, position, wanted)
    CROSS JOIN LATERAL (
        SELECT event_id, item, position, type, occurred_at, recorded_at, summary FROM timeline
        WHERE timeline.customer_id = read.customer_id AND timeline.position > read.position
        ORDER BY timeline.position LIMIT read.wanted) AS line
    ORDER BY read.reader, line.position
"""

reactions = Reactions("gateway.timeline", plain=True, emits=False)


@reactions.on_batch(
    profile.CustomerRegistered,
    profile.CustomerUpdated,
    profile.CustomerMerged,
    profile.CustomerUnmerged,
    profile.IdentityResolved,
    profile.ConsentChanged,
    profile.ActivityRecorded,
    profile.PurchaseRecorded,
    profile.PurchaseRefunded,
    feedback.TicketOpened,
    feedback.TicketLinked,
    feedback.TicketUpdated,
    feedback.TicketResolved,
    feedback.TicketReopened,
    feedback.TicketBreached,
    feedback.SurveyAnswered,
    loyalty.PointsEarned,
    loyalty.PointsRedeemed,
    loyalty.PointsReversed,
    loyalty.PointsExpired,
    loyalty.PointsExpiring,
    loyalty.TierChanged,
    loyalty.ReferralCompleted,
    loyalty.BadgeAwarded,
    loyalty.RewardRedeemed,
    loyalty.CouponIssued,
    scoring.ScoreUpdated,
    scoring.SegmentChanged,
    scoring.ActionRecommended,
    scoring.ChurnRiskRaised,
)
async def write_lines(connection: asyncpg.Connection, events: list[Event[EventData]]) -> None:
    """Write the lines of these events, and those that waited for what they tell."""
    lines = [line for event in events for line in lines_of(event)]
    tickets = ticket_owners(events)
    if tickets:
        lines = await _settle_owners(connection, tickets, lines)
    # One order for every writer, across the statements too, so that none waits for another in a circle.
    lines.sort(key=_place)
    for start in range(0, len(lines), CHUNK):
        await _write(connection, lines[start : start + CHUNK])


async def read_page(
    pool: asyncpg.Pool,
    customer_id: UUID,
    *,
    since: datetime | None,
    until: datetime | None,
    types: Sequence[str] | None,
    after: tuple[datetime, UUID, int] | None,
    limit: int,
) -> list[asyncpg.Record]:
    """The newest lines first; `since` is included, `until` is not, `after` is the last line already read."""
    moment, event_id, item = after or (None, UUID(int=0), 0)
    rows: list[asyncpg.Record] = await pool.fetch(
        _READ, customer_id, since, until, types, moment, event_id, item, limit
    )
    return rows


async def lines_beyond(pool: asyncpg.Pool, readers: Sequence[tuple[UUID, int, int]]) -> list[asyncpg.Record]:
    """The lines after each reader's position, as many as it wants, with `reader` as the reader's index."""
    read = [(index, *reader) for index, reader in enumerate(readers)]
    rows: list[asyncpg.Record] = await pool.fetch(_LINES_BEYOND, *(_columns(read) or [[]] * 4))
    return rows


def render(row: asyncpg.Record) -> str:
    """A line as JSON text; the stored summary is placed as it is."""
    return (
        f'{{"id":"{line_id(row["event_id"], row["item"])}","type":"{row["type"]}",'
        f'"occurred_at":"{stamp(row["occurred_at"])}","recorded_at":"{stamp(row["recorded_at"])}",'
        f'"summary":{row["summary"]}}}'
    )


async def _settle_owners(
    connection: asyncpg.Connection, tickets: dict[UUID, UUID | None], lines: list[Line]
) -> list[Line]:
    """Lines with their customers, those that waited included; lines that have none yet are put to wait."""
    ordered = sorted(tickets)
    claimed = await connection.fetch(_CLAIM_TICKETS, ordered, [tickets[ticket] for ticket in ordered])
    owners = {row["ticket_id"]: row["customer_id"] for row in claimed}
    settled, waiting = [], []
    for line in lines:
        if line.customer_id is not None:
            settled.append(line)
        elif line.ticket_id is not None and (owner := owners[line.ticket_id]) is not None:
            settled.append(line._replace(customer_id=owner))
        else:
            waiting.append(line)
    if waiting:
        await connection.execute(_WAIT, *_columns([line[1:] for line in waiting]))
    found: list[Any] = await connection.fetch(_STOP_WAITING, ordered)
    return settled + [Line(*row) for row in found]


def _place(line: Line) -> tuple[int, datetime, int, int]:
    """Where a line stands among those written together; integers compare faster than UUIDs."""
    if line.customer_id is None:
        raise ValueError("a line without a customer waits")
    return line.customer_id.int, line.recorded_at, line.event_id.int, line.item


async def _write(connection: asyncpg.Connection, lines: Sequence[Line]) -> None:
    await connection.execute(_WRITE, *_columns([(line.customer_id, *line[2:]) for line in lines]))


def _columns(rows: Sequence[Sequence[Any]]) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)]
