"""SQL of the next actions: the catalogue, customers' situations, what is best for them, what became of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import numpy as np
import orjson

from services.scoring.actions.rules import (
    CALL,
    GRANTED,
    KINDS,
    NOTHING,
    REFUSED,
    RISING_DAYS,
    SERVICE,
    Catalogue,
    Kind,
    Policy,
    Situations,
)
from services.scoring.actions.schemas import ActionIn
from services.scoring.due import BEFORE_ALL

# A new pass is due when the catalogue changed, and when one of the value index is done: that one follows
# every walk over the scores.
_SETUP = """
    SELECT a.version, a.catalogue::text AS catalogue, a.measured::text AS measured, a.after,
           a.after IS NULL AND (a.pass_at = 'epoch' OR (v.after IS NULL AND v.pass_at > a.pass_at)) AS due
    FROM action_setup a, value_index_setup v
"""
_CHANGE = """
    UPDATE action_setup SET version = version + 1, after = NULL, pass_at = 'epoch',
           catalogue = catalogue || jsonb_build_object($2::text, $3::text::jsonb)
    WHERE version = $1 RETURNING version
"""
_MEASURED = """
    UPDATE action_setup SET version = version + 1, after = NULL, pass_at = 'epoch',
           measured = measured || jsonb_build_object(
               $1::text, jsonb_build_object('uplift', $2::float8, 'experiment', $3::text))
"""
_LOCK = "SELECT FROM customer_facts WHERE customer_id = ANY ($1) ORDER BY customer_id FOR NO KEY UPDATE"

# $2 is the observation date, $3 how many days spend is compared over, $4 the margin. Spend is before refunds.
# The risk to leave is what a classifier learnt where one serves; the risk of a contract-free customer in
# churn_risks is that of a quiet while, which is not the same.
_SITUATIONS = """
    SELECT f.customer_id, f.currency, s.clv IS NOT NULL AS modelled,
           coalesce(s.clv, f.spend * $4::float8)::float8 AS worth, s.p_alive AS alive,
           coalesce(c.risk, 1 - s.p_alive) AS risk, coalesce(i.grade = 'high', false) AS high_value,
           f.nps::float8, f.csat::float8, f.mood::float8, coalesce(t.complaints, 0) AS complaints,
           coalesce(b.recent, 0)::float8 AS recent, coalesce(b.earlier, 0)::float8 AS earlier
    FROM customer_facts f
    LEFT JOIN customer_scores s USING (customer_id)
    LEFT JOIN value_indexes i USING (customer_id)
    LEFT JOIN (
        SELECT customer_id, count(*) AS complaints FROM tickets
        WHERE customer_id = ANY ($1) AND kind = 'complaint' AND status NOT IN ('resolved', 'closed')
        GROUP BY 1
    ) t USING (customer_id)
    LEFT JOIN (
        SELECT customer_id, currency,
               sum(amount) FILTER (WHERE occurred_at >= $2::date + 1 - $3::int) AS recent,
               sum(amount) FILTER (WHERE occurred_at < $2::date + 1 - $3::int) AS earlier
        FROM purchases
        WHERE customer_id = ANY ($1)
          AND occurred_at >= $2::date + 1 - 2 * $3::int AND occurred_at < $2::date + 1
        GROUP BY 1, 2
    ) b ON b.customer_id = f.customer_id AND b.currency = f.currency
    LEFT JOIN churn_risks c ON c.customer_id = f.customer_id AND c.kind = 'contractual'
    WHERE f.customer_id = ANY ($1) ORDER BY f.customer_id
"""
# The latest word on each action's purpose and channel; `any` stands for every channel.
_CONSENTS = """
    SELECT DISTINCT ON (c.customer_id, a.place) c.customer_id, a.place, c.status
    FROM unnest($2::int[], $3::text[], $4::text[]) AS a (place, purpose, channel)
    JOIN consents c ON c.purpose = a.purpose AND c.channel IN (a.channel, 'any')
    WHERE c.customer_id = ANY ($1)
    ORDER BY c.customer_id, a.place, c.occurred_at DESC, c.channel
"""
# Contacts about each action: when last, and how many count towards the limit. What is declined was none, but
# is not asked again at once; what is recommended now is told apart.
_CONTACTS = """
    SELECT customer_id, action, max(at) FILTER (WHERE NOT standing) AS last_at,
           count(*) FILTER (WHERE NOT standing AND status <> 'declined' AND at > $2) AS contacts,
           bool_or(standing) AS standing
    FROM (
        SELECT customer_id, action, status, at, status = 'recommended' AND expires_at > $3 AS standing
        FROM action_contacts WHERE customer_id = ANY ($1)
    ) c GROUP BY 1, 2
"""
_WRITE = """
    WITH told AS (
        SELECT * FROM unnest($1::uuid[], $2::text[]) AS t (customer_id, actions)
    ), gone AS (
        DELETE FROM next_actions n USING told t
        WHERE n.customer_id = t.customer_id AND t.actions IS NULL RETURNING n.customer_id
    ), written AS (
        INSERT INTO next_actions AS n (customer_id, actions)
        SELECT customer_id, actions::jsonb FROM told WHERE actions IS NOT NULL ORDER BY 1
        ON CONFLICT (customer_id) DO UPDATE SET actions = EXCLUDED.actions
        WHERE n.actions IS DISTINCT FROM EXCLUDED.actions RETURNING n.customer_id
    )
    INSERT INTO section_marks (customer_id)
    SELECT customer_id FROM gone UNION ALL SELECT customer_id FROM written
"""
_REPLACE = """
    UPDATE action_contacts SET status = 'replaced', answered_at = $2
    WHERE customer_id = ANY ($1) AND status = 'recommended'
"""
_RECOMMEND = """
    WITH told AS (
        SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::bigint[], $5::text[], $6::text[])
            AS t (customer_id, action, channel, gain, offer, reasons)
    ), added AS (
        INSERT INTO action_contacts (customer_id, action, channel, status, gain, at, expires_at)
        SELECT customer_id, action, channel, 'recommended', gain, $7::timestamptz, $8::timestamptz FROM told
    )
    SELECT outbox_emit('action.recommended', customer_id, jsonb_build_object(
        'customer_id', customer_id, 'action', action, 'channel', channel, 'offer', offer, 'arm', 'treated',
        'reasons', reasons::jsonb,
        'expires_at', to_char($8::timestamptz AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')))
    FROM told
"""
_ANSWER = """
    UPDATE action_contacts SET status = $3, answered_at = $4
    WHERE customer_id = $1 AND action = $2 AND status = 'recommended' AND expires_at > $4
    RETURNING id
"""
_ADD = """
    INSERT INTO action_contacts (customer_id, action, channel, status, at, answered_at)
    VALUES ($1, $2, $3, $4, $5, $5) RETURNING id
"""


@dataclass(frozen=True, slots=True)
class Setup:
    """The catalogue with its version, how far a pass over all has come, and whether a new one is due."""

    version: int
    catalogue: Catalogue
    after: UUID | None
    due: bool


@dataclass(frozen=True, slots=True)
class Recommendation:
    """What is recommended for a customer; `gain` in minor units."""

    customer_id: UUID
    kind: Kind
    channel: str
    gain: int
    offer: str | None
    reasons: Sequence[str]


async def read_setup(connection: asyncpg.Connection) -> Setup:
    """How actions are chosen now."""
    row = await connection.fetchrow(_SETUP)
    edited, measured = orjson.loads(row["catalogue"]), orjson.loads(row["measured"])
    catalogue = {
        kind: _measured(ActionIn.model_validate(edited.get(kind, {})).action(kind), measured.get(kind))
        for kind in KINDS
    }
    return Setup(row["version"], catalogue, row["after"], row["due"])


async def change_action(connection: asyncpg.Connection, version: int, kind: Kind, action: str) -> int | None:
    """Set one entry of the catalogue and have everyone's chosen anew; None when `version` is old."""
    changed: int | None = await connection.fetchval(_CHANGE, version, kind, action)
    return changed


async def note_measured(connection: asyncpg.Connection, kind: Kind, uplift: float, experiment: str) -> None:
    """Let what an experiment measured stand in for the assumed uplift, and have all chosen anew."""
    await connection.execute(_MEASURED, kind, uplift, experiment)


async def begin_pass(connection: asyncpg.Connection, version: int) -> None:
    """A pass over all begins, unless the catalogue has changed meanwhile."""
    await connection.execute(
        "UPDATE action_setup SET after = $1, pass_at = clock_timestamp() WHERE version = $2",
        BEFORE_ALL,
        version,
    )


async def advance(connection: asyncpg.Connection, after: UUID | None, version: int) -> None:
    """The pass has come this far; None: it is done."""
    await connection.execute("UPDATE action_setup SET after = $1 WHERE version = $2", after, version)


async def lock(connection: asyncpg.Connection, customer_ids: Sequence[UUID]) -> None:
    """Hold these customers, so that what is chosen and what is answered come one after the other."""
    await connection.execute(_LOCK, customer_ids)


async def read_situations(
    connection: asyncpg.Connection,
    customer_ids: Sequence[UUID],
    catalogue: Catalogue,
    policy: Policy,
    *,
    observed: date,
    now: datetime,
    margin: float,
) -> Situations:
    """What is known of these customers, in the order of their ids; those that nobody knows are left out."""
    rows = await connection.fetch(_SITUATIONS, customer_ids, observed, RISING_DAYS, margin)
    wanted = [(catalogue[kind].purpose, catalogue[kind].channel) for kind in KINDS]
    wanted.append((SERVICE, catalogue[KINDS[CALL]].channel))
    purposes, channels = zip(*wanted, strict=True)
    consents = await connection.fetch(_CONSENTS, customer_ids, list(range(len(wanted))), purposes, channels)
    since = now - timedelta(days=policy.contact_days)
    contacts = await connection.fetch(_CONTACTS, customer_ids, since, now)
    place = {row["customer_id"]: n for n, row in enumerate(rows)}

    def column(name: str, kind: Any = np.float64) -> Any:
        return np.array([row[name] for row in rows], dtype=kind)

    said = np.zeros((len(rows), len(wanted)), dtype=np.int64)
    for row in consents:
        if row["customer_id"] in place:
            said[place[row["customer_id"]], row["place"]] = GRANTED if row["status"] == "granted" else REFUSED
    counts, standing = np.zeros(len(rows), dtype=np.int64), np.full(len(rows), NOTHING)
    waited = np.full((len(rows), len(KINDS)), np.inf)
    for row in contacts:
        n, j = place[row["customer_id"]], KINDS.index(row["action"])
        counts[n] += row["contacts"]
        if row["last_at"] is not None:
            waited[n, j] = (now - row["last_at"]) / timedelta(days=1)
        if row["standing"]:
            standing[n] = j
    return Situations(
        customer_ids=[row["customer_id"] for row in rows],
        currency=column("currency", object),
        worth=column("worth"),
        modelled=column("modelled", bool),
        alive=column("alive"),
        risk=column("risk"),
        high_value=column("high_value", bool),
        nps=column("nps"),
        csat=column("csat"),
        mood=column("mood"),
        complaints=column("complaints", np.int64),
        recent_spend=column("recent"),
        earlier_spend=column("earlier"),
        consent=said,
        contacts=counts,
        waited=waited,
        standing=standing,
    )


async def write_next(
    connection: asyncpg.Connection, customer_ids: Sequence[UUID], actions: Sequence[str | None]
) -> None:
    """Write each customer's best actions as JSON text, None for none; mark the section of who has others."""
    await connection.execute(_WRITE, customer_ids, actions)


async def count_recommended(connection: asyncpg.Connection, since: datetime, most: int) -> int:
    """How much was recommended since then, counted up to a number. Index: action_contacts_recommended."""
    counted: int = await connection.fetchval(
        """SELECT count(*) FROM (
               SELECT FROM action_contacts WHERE expires_at IS NOT NULL AND at > $1 LIMIT $2) r""",
        since,
        most,
    )
    return counted


async def recommend(
    connection: asyncpg.Connection,
    recommended: Sequence[Recommendation],
    *,
    now: datetime,
    expires_at: datetime,
) -> None:
    """Recommend these instead of what was recommended for those customers before, and tell about it."""
    ids = [one.customer_id for one in recommended]
    await connection.execute(_REPLACE, ids, now)
    await connection.execute(
        _RECOMMEND,
        ids,
        [one.kind for one in recommended],
        [one.channel for one in recommended],
        [one.gain for one in recommended],
        [one.offer for one in recommended],
        [orjson.dumps(one.reasons).decode() for one in recommended],
        now,
        expires_at,
    )


async def answer(
    connection: asyncpg.Connection, customer_id: UUID, kind: Kind, *, channel: str, status: str, now: datetime
) -> UUID:
    """Note that an action was accepted or declined, whether or not it was recommended; the contact's id."""
    answered: UUID | None = await connection.fetchval(_ANSWER, customer_id, kind, status, now)
    if answered is None:
        answered = await connection.fetchval(_ADD, customer_id, kind, channel, status, now)
    return answered


def _measured(action: Any, measured: Mapping[str, Any] | None) -> Any:
    if measured is None:
        return action
    return replace(action, measured=measured["uplift"], experiment=measured["experiment"])
