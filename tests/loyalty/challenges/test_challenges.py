"""Challenges over what members do, their badges and points; leaderboards by month and tier."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from services.loyalty.challenges import boards, store
from services.loyalty.reactions import make_reactions
from services.loyalty.settings import LoyaltySettings
from shared.clock import utc_now
from shared.contracts.feedback import SurveyAnswered
from shared.contracts.profile import CustomerErased, CustomerMerged, CustomerUnmerged
from shared.database import Database
from shared.ids import new_id
from shared.messaging.consumer import Consumer
from tests.loyalty.earning.test_reactions import bought, hear, purchase, refund, registered, returned
from tests.loyalty.points import MORNING, Ledger
from tests.loyalty.test_routes import is_problem
from tests.support.apps import eventually

DAY = timedelta(days=1)
THRICE: dict[str, Any] = {
    "id": "thrice",
    "name": "Three times a month",
    "kind": "purchase",
    "target": 3,
    "every": "month",
    "badge": "regular guest",
    "points": 50,
    "starts_at": "2026-01-01T00:00:00Z",
}


@pytest.fixture
def consumer(settings: LoyaltySettings, database: Database) -> Consumer:
    return Consumer(make_reactions(settings), database)


async def test_a_challenge_is_followed_by_the_order_of_time_and_rewarded_once(
    client: httpx.AsyncClient, consumer: Consumer, ledger: Ledger
) -> None:
    two_months = THRICE | {"id": "twice-in-a-row", "name": "Again", "in_a_row": 2, "badge": None, "points": 7}
    for body in (THRICE, two_months):
        assert (await client.post("/v1/challenges", json=body)).status_code == 201
    member = uuid4()
    march = [purchase(member, 99, at=MORNING + n * DAY) for n in range(5)]
    april = [purchase(member, 99, at=MORNING + (40 + n) * DAY) for n in range(3)]
    await hear(consumer, bought(march[4], march[0]), returned(refund(march[1], 99)))
    await hear(consumer, bought(march[1]))
    assert await ledger.balance(member) == 0
    await hear(consumer, bought(march[2]), bought(march[3], march[2]))
    assert await ledger.balance(member) == 50
    await hear(consumer, bought(*april))
    assert await ledger.balance(member) == 50 + 50 + 7
    page = (await client.get(f"/v1/loyalty/{member}/badges", params={"limit": 2})).json()
    rest = (await client.get(f"/v1/loyalty/{member}/badges", params={"cursor": page["next_cursor"]})).json()
    found = [(each["badge"], each["awarded_at"][:10]) for each in page["items"] + rest["items"]]
    assert found == [
        ("regular guest", "2026-03-04"),
        ("regular guest", "2026-04-12"),
        ("Again", "2026-04-12"),
    ]
    row = await ledger.pool.fetchrow("SELECT rule, arithmetic FROM transfers ORDER BY posted_at LIMIT 1")
    assert tuple(row) == ("challenge thrice", "50 for 3 × purchase")
    assert await ledger.count("dead_letters") == 0
    await ledger.must_be_sound()


async def test_a_badge_is_told(consumer: Consumer, ledger: Ledger) -> None:
    said = {"name": "First steps", "kind": "purchase"}
    assert await store.add(ledger.pool, store.Version("first", 1, said, MORNING - DAY))
    await hear(consumer, bought(purchase(uuid4(), 99)))
    assert await ledger.events() == ["badge.awarded"]


async def test_progress_is_visible_and_challenges_change_by_version(
    client: httpx.AsyncClient, consumer: Consumer
) -> None:
    answer = {"name": "Say it", "kind": "survey", "subjects": ["nps"], "starts_at": "2020-01-01T00:00:00Z"}
    made = await client.post("/v1/challenges", json=answer, headers={"Idempotency-Key": "a challenge"})
    assert made.status_code == 201
    assert (await client.post("/v1/challenges", json=THRICE)).status_code == 201
    assert is_problem(await client.post("/v1/challenges", json=THRICE), 409, "challenge-exists")
    member = uuid4()
    said = {"answer_id": new_id(), "customer_id": member, "survey": "nps", "kind": "nps", "score": 9}
    now = utc_now()
    await hear(consumer, SurveyAnswered(**said, occurred_at=now), bought(purchase(member, at=now)))
    progress = {each["name"]: each for each in (await client.get(f"/v1/loyalty/{member}/challenges")).json()}
    assert (progress["Say it"]["done"], progress["Say it"]["streak"]) == (1, 1)
    assert progress["Say it"]["met_at"] is not None
    mine = progress["Three times a month"]
    assert (mine["done"], mine["target"], mine["met_at"], mine["streak"]) == (1, 3, None, 0)
    path = "/v1/challenges/thrice"
    read = await client.get(path)
    assert is_problem(await client.patch(path, json={}), 428, "precondition-required")
    ended = await client.patch(path, json={"enabled": False}, headers={"If-Match": read.headers["ETag"]})
    assert (ended.status_code, ended.json()["version"]) == (200, 2)
    assert is_problem(await client.patch(path, json={}, headers={"If-Match": '"v1"'}), 412, "stale")
    for fixed in ({"every": "week"}, {"kind": "survey"}):
        answer = await client.patch(path, json=fixed, headers={"If-Match": '"v2"'})
        assert answer.json()["errors"][0]["pointer"] == f"/{next(iter(fixed))}"
    wrong = await client.patch(path, json={"target": 0}, headers={"If-Match": '"v2"'})
    assert is_problem(wrong, 422, "invalid")
    assert wrong.json()["errors"][0]["pointer"] == "/target"
    assert is_problem(
        await client.post("/v1/challenges", json={"name": "x", "kind": "party"}), 422, "invalid"
    )
    assert is_problem(await client.get("/v1/challenges/none"), 404, "unknown-challenge")
    assert is_problem(await client.get(f"/v1/loyalty/{uuid4()}/badges"), 404, "unknown-member")
    listed = (await client.get("/v1/challenges")).json()["items"]
    assert {each["name"] for each in listed} == {"Say it", "Three times a month"}
    assert len((await client.get(f"/v1/loyalty/{member}/challenges")).json()) == 1


async def test_merged_customers_meet_challenges_together_and_get_a_badge_once(
    client: httpx.AsyncClient, consumer: Consumer, ledger: Ledger
) -> None:
    assert (await client.post("/v1/challenges", json=THRICE)).status_code == 201
    one, other, merge = uuid4(), uuid4(), uuid4()
    await hear(consumer, bought(*(purchase(one, 99, at=MORNING + n * DAY) for n in range(3))))
    april = [purchase(who, 99, at=MORNING + n * DAY) for who, n in ((one, 40), (one, 41), (other, 42))]
    await hear(consumer, bought(*april))
    assert (await ledger.balance(one), await ledger.balance(other)) == (50, 0)

    async def badges(of: UUID) -> list[str]:
        items = (await client.get(f"/v1/loyalty/{of}/badges")).json()["items"]
        return [each["awarded_at"][:10] for each in items]

    ids = {"merge_id": merge, "survivor_id": other, "merged_id": one}
    await hear(consumer, CustomerMerged(**ids))
    await hear(consumer, bought(purchase(other, 99, at=MORNING + 4 * DAY)))  # in a month that was met
    assert await ledger.balance(other) == 50 + 50  # for April, which they met together
    assert await badges(one) == await badges(other) == ["2026-03-03", "2026-04-12"]
    await hear(consumer, CustomerUnmerged(**ids))
    assert (await badges(one), await badges(other)) == (["2026-03-03"], ["2026-04-12"])
    await hear(consumer, bought(purchase(one, 99, at=MORNING + 5 * DAY)))
    assert (await badges(one), await ledger.balance(one)) == (["2026-03-03"], 50)
    assert await ledger.count("dead_letters") == 0
    await ledger.must_be_sound()


async def test_progress_of_merged_customers_is_counted_together(
    client: httpx.AsyncClient, consumer: Consumer
) -> None:
    assert (await client.post("/v1/challenges", json=THRICE | {"target": 5})).status_code == 201
    one, other, now = uuid4(), uuid4(), utc_now()
    await hear(consumer, bought(purchase(one, at=now), purchase(other, at=now), purchase(other, at=now)))
    await hear(consumer, CustomerMerged(merge_id=uuid4(), survivor_id=other, merged_id=one))
    for each in (one, other):
        (progress,) = (await client.get(f"/v1/loyalty/{each}/challenges")).json()
        assert progress["done"] == 3


async def test_leaderboards_rank_members_of_a_month_in_all_and_by_tier(
    client: httpx.AsyncClient, consumer: Consumer, database: Database
) -> None:
    members = sorted(UUID(int=n) for n in (5, 6, 7, 8))
    one, two, three, four = members
    await hear(
        consumer,
        *(registered(each).model_copy(update={"registered_at": MORNING - 40 * DAY}) for each in members),
    )
    rich, back = purchase(three, 600_000), purchase(four, 40_000)
    await hear(consumer, bought(purchase(one, 20_000), purchase(two, 20_000), rich, back))
    await hear(consumer, returned(refund(back, 10_000)))
    path, month = "/v1/leaderboards/points", {"period": "2026-03"}
    assert (await client.get(path, params=month)).json()["as_of"] is None
    for board in boards.BOARDS:
        await boards.refresh(database, board, "2026-03", MORNING)
    found = (await client.get(path, params=month | {"customer_id": str(two)})).json()
    assert [(each["rank"], each["customer_id"], each["score"]) for each in found["items"]] == [
        (1, str(three), 6000),
        (2, str(four), 300),
        (3, str(one), 200),
        (3, str(two), 200),
    ]
    assert (found["own"]["rank"], found["own"]["score"], found["members"]) == (3, 200, 4)
    regular = (await client.get(path, params=month | {"segment": "regular", "customer_id": str(four)})).json()
    assert (regular["own"]["rank"], len(regular["items"])) == (1, 3)
    hidden = f"/v1/loyalty/{three}/leaderboards"
    assert (await client.put(hidden, json={"shown": False})).status_code == 204
    found = (await client.get(path, params=month | {"limit": 1, "customer_id": str(three)})).json()
    assert ([each["customer_id"] for each in found["items"]], found["own"]) == ([str(four)], None)
    await boards.refresh(database, "points", "2026-03", MORNING + DAY)
    found = (await client.get(path, params=month | {"customer_id": str(two)})).json()
    assert found["own"]["rank"] == 2
    assert (await client.put(hidden, json={"shown": True})).status_code == 204
    await boards.refresh(database, "points", "2026", MORNING)
    year = (await client.get(path, params={"period": "2026", "customer_id": str(three)})).json()
    assert year["own"] == {"rank": 1, "customer_id": str(three), "score": 6500}
    for wrong in ({"period": "2026-13"}, {"limit": 101}, {"customer_id": "x"}):
        assert is_problem(await client.get(path, params=wrong), 422, "invalid")
    assert is_problem(await client.get("/v1/leaderboards/none"), 422, "invalid")
    assert boards.span("2026-12") == (datetime(2026, 12, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC))


async def test_ranks_stay_until_the_next_refresh_when_a_leader_leaves(
    client: httpx.AsyncClient, consumer: Consumer, database: Database
) -> None:
    members = [uuid4() for _ in range(3)]
    await hear(consumer, bought(*(purchase(each, 10_000 * n) for n, each in enumerate(members, 1))))
    await boards.refresh(database, "points", "2026-03", MORNING)
    assert (
        await client.put(f"/v1/loyalty/{members[2]}/leaderboards", json={"shown": False})
    ).status_code == 204
    query = {"period": "2026-03", "customer_id": str(members[1])}
    found = (await client.get("/v1/leaderboards/points", params=query)).json()
    assert [each["rank"] for each in found["items"]] == [2, 3]
    assert found["own"]["rank"] == 2


async def test_who_leaves_or_is_erased_while_a_board_is_written_is_not_on_it(
    client: httpx.AsyncClient, consumer: Consumer, database: Database, ledger: Ledger
) -> None:
    stays, leaves, gone = (uuid4() for _ in range(3))
    await hear(consumer, bought(*(purchase(each, 10_000) for each in (stays, leaves, gone))))

    async def waits() -> bool:
        waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'board_steps'::regclass"
        return bool(await ledger.pool.fetchval(waiting))

    async with ledger.pool.acquire() as connection, connection.transaction():
        await connection.execute("LOCK TABLE board_steps IN SHARE MODE")  # the scores are written, not seen
        refresh = asyncio.create_task(boards.refresh(database, "points", "2026-03", MORNING))
        await eventually(waits)
        await client.put(f"/v1/loyalty/{leaves}/leaderboards", json={"shown": False})
        await hear(consumer, CustomerErased(erasure_id=uuid4(), customer_id=gone))
    await refresh
    found = (await client.get("/v1/leaderboards/points", params={"period": "2026-03"})).json()
    assert [each["customer_id"] for each in found["items"]] == [str(stays)]
    assert not await ledger.pool.fetchval("SELECT count(*) FROM board_scores WHERE customer_id = $1", gone)
    await boards.refresh(database, "points", "2026-03", MORNING + DAY)
    found = (await client.get("/v1/leaderboards/points", params={"period": "2026-03"})).json()
    assert ([each["customer_id"] for each in found["items"]], found["members"]) == ([str(stays)], 1)


async def test_merged_customers_are_one_on_a_board_and_hidden_when_one_of_them_was(
    client: httpx.AsyncClient, consumer: Consumer, database: Database
) -> None:
    await client.post("/v1/challenges", json=THRICE | {"target": 1, "points": 0})
    one, other = uuid4(), uuid4()
    await hear(consumer, bought(purchase(one, 10_000), purchase(other, 20_000)))
    await hear(consumer, CustomerMerged(merge_id=uuid4(), survivor_id=other, merged_id=one))

    async def board(name: boards.Board, who: UUID) -> tuple[int, Any]:
        await boards.refresh(database, name, "2026-03", MORNING)
        query = {"period": "2026-03", "customer_id": str(who)}
        found = (await client.get(f"/v1/leaderboards/{name}", params=query)).json()
        return len(found["items"]), found["own"]

    own = {"rank": 1, "customer_id": str(other)}
    assert await board("points", one) == (1, own | {"score": 300})
    assert await board("badges", one) == (1, own | {"score": 1})
    await client.put(f"/v1/loyalty/{one}/leaderboards", json={"shown": False})
    assert await board("points", other) == (0, None)
    third = uuid4()
    await hear(consumer, bought(purchase(third, 10_000)))
    await hear(consumer, CustomerMerged(merge_id=uuid4(), survivor_id=third, merged_id=other))
    assert await board("points", third) == (0, None)
    await client.put(f"/v1/loyalty/{third}/leaderboards", json={"shown": True})
    assert await board("points", third) == (1, {"rank": 1, "customer_id": str(third), "score": 400})
