"""What is outstanding and what of it will likely expire; statements of any length as CSV."""

import asyncio
import csv
import io
from datetime import UTC, datetime, timedelta

import orjson

from services.loyalty.ledger import statement, store
from services.loyalty.ledger.routes import FIRST_ENTRY
from services.loyalty.ledger.store import Cause
from tests.loyalty.points import CAUSE, Ledger, key

NEXT_YEAR = datetime.now(UTC) + timedelta(days=365)


async def liability(ledger: Ledger) -> dict[str, object]:
    now = datetime.now(UTC)
    return await statement.liability(ledger.pool, now - timedelta(days=30), now + timedelta(days=1))


async def test_what_lapses_is_a_share_of_what_was_brought_not_of_what_is_left(ledger: Ledger) -> None:
    """Of 400 points that could expire, 100 did: a quarter. Of the next 400 three quarters are spent: the last
    quarter is what will expire. Of 40 that nobody has touched yet it is 10."""
    soon = datetime.now(UTC) + timedelta(days=30)
    lapsing = [await ledger.member(100, soon) for _ in range(4)]
    for member in lapsing[1:]:
        await ledger.spend(member, 100)
    await ledger.pass_expiry(soon)
    await ledger.expire()
    assert (await liability(ledger))["expected_breakage"] == 0

    later = [await ledger.member(100, NEXT_YEAR) for _ in range(4)]
    for member in later[1:]:
        await ledger.spend(member, 100)
    await ledger.member(40, NEXT_YEAR + timedelta(days=100))
    await ledger.member(1000)
    told = await liability(ledger)
    assert told["points"] == 100 + 40 + 1000
    assert told["expected_breakage"] == 100 + 10


async def test_points_that_moved_are_brought_once(ledger: Ledger) -> None:
    months = [
        {"month": "2027-01", "points": 50, "brought": 400},
        {"month": "2027-02", "points": 50, "brought": 100},
        {"month": None, "points": 1000, "brought": 1000},
    ]
    assert statement.expected_breakage(months, 1, 3) == 50 + 33
    assert statement.expected_breakage(months, 0, 0) == 0
    earned = await ledger.member(90, NEXT_YEAR)
    waiting = datetime.now(UTC) + timedelta(hours=1)
    await store.hold(ledger.pool, earned, 30, CAUSE, key(), expires_at=waiting)
    await ledger.merge(await ledger.member(0), earned)
    row = await ledger.pool.fetchrow(statement._LIABILITY, waiting, waiting)
    assert [(month["points"], month["brought"]) for month in orjson.loads(row["by_expiry"])] == [(90, 90)]


async def test_the_liability_equals_the_ledger_at_any_moment_while_postings_go_on(ledger: Ledger) -> None:
    members = [await ledger.member(1000, NEXT_YEAR) for _ in range(4)]
    done = asyncio.Event()

    async def post() -> None:
        for turn in range(30):
            spent = await ledger.spend(members[turn % 4], 7)
            await ledger.earn(members[turn % 4], 5)
            await ledger.reverse(spent.transfer_id, points=3)

    async def look() -> int:
        looks = 0
        while not done.is_set():
            told = await liability(ledger)
            period = told["period"]
            months = sum(month["points"] for month in told["by_expiry"])
            assert told["points"] == months == period["closing"]
            moved = period["earned"] - period["spent"] + period["reversed"]
            assert period["opening"] + moved == period["closing"]
            looks += 1
        return looks

    looking = asyncio.create_task(look())
    await asyncio.gather(*(post() for _ in range(4)))
    done.set()
    assert await looking > 0
    assert (await liability(ledger))["points"] == 4000 + 120 * (5 - 7 + 3)


async def test_a_statement_as_csv_is_whole_and_starts_no_formula(ledger: Ledger) -> None:
    member = await ledger.member(1)
    reasons = ["=1+1", "+1", "-1", "@x", "\tx", 'a,"b"', "两\n行"]
    for reason in reasons * 100:
        await store.earn(ledger.pool, member, 1, Cause(reason, "test", CAUSE.occurred_at), key())
    await ledger.spend(member, 400)
    account = await store.account_of(ledger.pool, member)
    text = "".join([part async for part in statement.as_csv(ledger.pool, account, FIRST_ENTRY)])
    lines = list(csv.DictReader(io.StringIO(text, newline="")))
    assert len(lines) == 702
    assert [int(line["balance"]) for line in lines] == [301, *range(701, 0, -1)]
    assert {line["reason"] for line in lines[1:701]} == {
        reason if reason[0] in "a两" else f"'{reason}" for reason in reasons
    }
    earned, spent = lines[1], lines[0]
    assert earned["lots"] == f"{earned['transfer_id']} +1, expires never"
    assert spent["lots"].split("; ")[0] == f"{lines[-1]['transfer_id']} -1, expires never"
