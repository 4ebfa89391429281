"""SQL of plans for a budget."""

import csv
import io
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from uuid import UUID

import asyncpg

from services.scoring.actions.budgets.schemas import AllocateIn, AssignmentOut, Outcome, PlanOut
from services.scoring.due import BEFORE_ALL

CSV_ROWS = 1_000  # read at a time

# Customers of a currency in the order of their ids, by the primary key.
_NEXT = """
    SELECT f.customer_id FROM customer_facts f LEFT JOIN customer_scores s USING (customer_id)
    WHERE f.customer_id > $1 AND f.currency = $2 AND ($3::text IS NULL OR s.segment = $3)
    ORDER BY f.customer_id LIMIT $4
"""
_OTHER_CURRENCY = """
    SELECT count(*) FROM customer_facts f LEFT JOIN customer_scores s USING (customer_id)
    WHERE f.currency <> $1 AND ($2::text IS NULL OR s.segment = $2)
"""
_PLAN = """
    SELECT id, status, progress, request::text AS request, outcome::text AS outcome, failure, created_at,
           finished_at
    FROM budget_plans
"""
_ASSIGNMENTS = """
    SELECT customer_id, arm, action, gain, cost FROM budget_assignments
    WHERE plan_id = $1 AND customer_id > $2 ORDER BY customer_id LIMIT $3
"""
_COLUMNS = ("plan_id", "customer_id", "arm", "action", "gain", "cost")
_BEGIN = """
    UPDATE budget_plans SET attempts = attempts + 1, progress = 'reading customers'
    WHERE id = (SELECT id FROM budget_plans WHERE status = 'running' ORDER BY id LIMIT 1)
    RETURNING id, request::text AS request, attempts
"""


@dataclass(frozen=True, slots=True)
class Run:
    """A plan that is being made, for the first time or again."""

    id: UUID
    request: AllocateIn
    attempt: int


async def add_plan(connection: asyncpg.Connection, request: AllocateIn, most_waiting: int) -> PlanOut | None:
    """Write a plan to be made; None when too many wait already."""
    waiting = await connection.fetchval("SELECT count(*) FROM budget_plans WHERE status = 'running'")
    if waiting >= most_waiting:
        return None
    plan_id: UUID = await connection.fetchval(
        "INSERT INTO budget_plans (request) VALUES ($1::text::jsonb) RETURNING id", request.model_dump_json()
    )
    return await read_plan(connection, plan_id)


async def read_plan(connection: asyncpg.Connection, plan_id: UUID) -> PlanOut | None:
    """A plan as it stands."""
    row = await connection.fetchrow(_PLAN + "WHERE id = $1", plan_id)
    return _plan(row) if row else None


async def list_plans(connection: asyncpg.Connection, before: UUID | None, limit: int) -> list[PlanOut]:
    """Plans, the newest first."""
    rows = await connection.fetch(
        _PLAN + "WHERE $1::uuid IS NULL OR id < $1 ORDER BY id DESC LIMIT $2", before, limit
    )
    return [_plan(row) for row in rows]


async def cancel(connection: asyncpg.Connection, plan_id: UUID) -> bool:
    """Stop a plan that is not finished; whoever makes it notices."""
    return await _end(connection, plan_id, "cancelled", None)


async def begin_next(pool: asyncpg.Pool) -> Run | None:
    """Begin the plan that waits longest, anew if it was begun before."""
    row = await pool.fetchrow(_BEGIN)
    if row is None:
        return None
    await pool.execute("DELETE FROM budget_assignments WHERE plan_id = $1", row["id"])
    return Run(row["id"], AllocateIn.model_validate_json(row["request"]), row["attempts"])


async def tell(pool: asyncpg.Pool, run: Run, progress: str) -> bool:
    """Say how far a plan has come; False when it was cancelled, or begun again elsewhere."""
    told = await pool.fetchval(
        """UPDATE budget_plans SET progress = $3
           WHERE id = $1 AND status = 'running' AND attempts = $2 RETURNING true""",
        run.id,
        run.attempt,
        progress,
    )
    return told is not None


async def finish(pool: asyncpg.Pool, run: Run, outcome: Outcome) -> bool:
    """The plan is done; False when it was cancelled, or begun again elsewhere."""
    done = await pool.fetchval(
        """UPDATE budget_plans SET status = 'done', progress = 'done', outcome = $3::text::jsonb,
                  finished_at = now()
           WHERE id = $1 AND status = 'running' AND attempts = $2 RETURNING true""",
        run.id,
        run.attempt,
        outcome.model_dump_json(),
    )
    return done is not None


async def fail(pool: asyncpg.Pool, plan_id: UUID, reason: str) -> None:
    """The plan cannot be made."""
    await _end(pool, plan_id, "failed", reason)


async def forget_assignments(pool: asyncpg.Pool, plan_id: UUID) -> None:
    """Take away what was written of a plan that has ended without being done."""
    await pool.execute(
        """DELETE FROM budget_assignments WHERE plan_id = $1 AND EXISTS (
               SELECT FROM budget_plans WHERE id = $1 AND status IN ('failed', 'cancelled'))""",
        plan_id,
    )


async def forget_old(pool: asyncpg.Pool, days: int) -> None:
    """Forget a plan that was finished so long ago; one at a time, as each has many assignments."""
    await pool.execute(
        """DELETE FROM budget_plans WHERE id = (
               SELECT id FROM budget_plans WHERE finished_at < now() - make_interval(days => $1)
               ORDER BY id LIMIT 1)""",
        days,
    )


async def next_customers(
    connection: asyncpg.Connection, after: UUID, request: AllocateIn, limit: int
) -> list[UUID]:
    """The next customers of the plan's currency and segment."""
    rows = await connection.fetch(_NEXT, after, request.currency, request.segment, limit)
    return [row["customer_id"] for row in rows]


async def count_other_currency(connection: asyncpg.Connection, request: AllocateIn) -> int:
    """How many customers of the segment pay in another currency."""
    count: int = await connection.fetchval(_OTHER_CURRENCY, request.currency, request.segment)
    return count


async def write_assignments(
    pool: asyncpg.Pool, plan_id: UUID, rows: Iterable[tuple[UUID, str, str | None, float, int]]
) -> None:
    """Write assignments of a plan: customer, arm, action, gain, cost."""
    async with pool.acquire() as connection:
        records = ((plan_id, *row) for row in rows)
        await connection.copy_records_to_table("budget_assignments", records=records, columns=_COLUMNS)


async def read_assignments(
    pool: asyncpg.Pool, plan_id: UUID, after: UUID | None, limit: int
) -> list[AssignmentOut]:
    """The assignments of a plan in the order of the customers' ids."""
    rows = await pool.fetch(_ASSIGNMENTS, plan_id, after or BEFORE_ALL, limit)
    return [AssignmentOut(**row) for row in rows]


async def as_csv(pool: asyncpg.Pool, plan_id: UUID) -> AsyncIterator[bytes]:
    """All assignments of a plan as CSV, read a piece at a time."""
    yield _csv([("customer_id", "arm", "action", "gain", "cost")])
    after: UUID = BEFORE_ALL
    while rows := await pool.fetch(_ASSIGNMENTS, plan_id, after, CSV_ROWS):
        yield _csv([tuple(row) for row in rows])
        after = rows[-1]["customer_id"]


async def _end(
    connection: asyncpg.Connection | asyncpg.Pool, plan_id: UUID, status: str, reason: str | None
) -> bool:
    ended = await connection.fetchval(
        """UPDATE budget_plans SET status = $2, progress = $2, failure = $3, finished_at = now()
           WHERE id = $1 AND status = 'running' RETURNING true""",
        plan_id,
        status,
        reason,
    )
    return ended is not None


def _csv(rows: Sequence[tuple[object, ...]]) -> bytes:
    written = io.StringIO()
    csv.writer(written).writerows(rows)
    return written.getvalue().encode()


def _plan(row: asyncpg.Record) -> PlanOut:
    return PlanOut(
        id=row["id"],
        status=row["status"],
        progress=row["progress"],
        request=AllocateIn.model_validate_json(row["request"]),
        outcome=Outcome.model_validate_json(row["outcome"]) if row["outcome"] else None,
        failure=row["failure"],
        created_at=row["created_at"],
        finished_at=row["finished_at"],
    )
