"""Effects over HTTP, on members whose purchases are known: what a reward did, or why it cannot be told."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import httpx
import pytest

from services.loyalty.effect import store
from tests.loyalty.points import Ledger

START = datetime(2026, 1, 5, tzinfo=UTC)
PERIOD = {"from": "2026-01-05", "to": "2026-02-02", "days": 30}
MEMBERS = 80  # on either side


async def buy(pool: asyncpg.Pool, purchases: list[tuple[UUID, float]], rule: str) -> None:
    """Purchases of 10.00 CNY, on days after the start."""
    await pool.executemany(
        """INSERT INTO deeds (id, kind, customer_id, occurred_at, recorded_at, reason, amount, currency,
                              awards)
           VALUES ($1, 'purchase', $2, $3, now(), 'p', 1000, 'CNY', $4)""",
        [
            (uuid4(), member, START + timedelta(days=day), f'[{{"rule": "{rule}", "points": 7}}]')
            for member, day in purchases
        ],
    )


async def reward_of(pool: asyncpg.Pool, members: list[UUID], *, day: float = 2, cost: int = 500) -> UUID:
    """A reward that these members took."""
    reward = uuid4()
    await pool.execute(
        """INSERT INTO rewards (id, kind, name, points, cost, taken, starts_at)
           VALUES ($1, 'goods', 'Mug', 100, $2, $3, '2026-01-01')""",
        reward,
        cost,
        len(members),
    )
    await pool.executemany(
        """INSERT INTO reward_redemptions (id, reward_id, customer_id, quantity, points, transfer_id,
                                           redeemed_at)
           VALUES ($1, $2, $3, 1, 100, $1, $4)""",
        [(uuid4(), reward, member, START + timedelta(days=day)) for member in members],
    )
    return reward


async def ask(client: httpx.AsyncClient, **query: Any) -> dict[str, Any]:
    answer = await client.get("/v1/loyalty/effects", params=PERIOD | query)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_what_a_reward_did_and_what_it_cost(client: httpx.AsyncClient, ledger: Ledger) -> None:
    with_it, without = ([uuid4() for _ in range(MEMBERS)] for _ in range(2))
    # All buy in the week. Of those with it 3 in 4 buy again, of the others 1 in 4.
    again = [m for n, m in enumerate(with_it) if n % 4] + [m for n, m in enumerate(without) if not n % 4]
    bought = [(m, 1.0) for m in with_it + without] + [(m, 20.0) for m in again]
    await buy(ledger.pool, bought, "purchase")
    reward = await reward_of(ledger.pool, with_it)

    found = await ask(client, reward=reward)
    assert found["status"] == "estimated"
    assert found["members"] == {"had_it": 80, "compared": 80, "compared_with": 80, "sampled": False}
    assert found["purchases"]["difference"] == pytest.approx(0.5)
    assert found["spend"]["had"] == pytest.approx(750)
    assert found["spend"]["difference"] == pytest.approx(500)
    churn = found["churn"]
    assert (churn["had"], churn["without"]) == (pytest.approx(0.25), pytest.approx(0.75))
    # Two shares of 80: 1.959964 × sqrt(2 × 0.25 × 0.75 ÷ 80), by hand.
    assert churn["high"] - churn["difference"] == pytest.approx(0.13419, abs=1e-4)
    assert found["retained"] == 40
    assert found["cost"] == {"amount": 40_000, "currency": "CNY"}
    assert found["cost_per_retained"] == {"amount": 1000, "currency": "CNY"}


async def test_it_says_when_nothing_can_be_told(client: httpx.AsyncClient, ledger: Ledger) -> None:
    few, others = [uuid4() for _ in range(5)], [uuid4() for _ in range(40)]
    await buy(ledger.pool, [(member, 1.0) for member in few], "everybody")
    reward = await reward_of(ledger.pool, few)

    async def status(**query: Any) -> str:
        answer = await ask(client, **query)
        assert answer["churn"] is None
        assert answer["why"]
        return answer["status"]

    assert await status(reward=reward, to="2026-01-06") == "nobody-had-it"
    assert await status(tier="gold") == "nobody-had-it"
    assert await status(rule="purchase") == "nobody-had-it"
    assert await status(reward=reward) == "no-control"
    await buy(ledger.pool, [(member, 1.0) for member in others], "purchase")
    assert await status(reward=reward) == "too-few-members"
    assert await status(rule="purchase") == "too-few-members"
    late = await reward_of(ledger.pool, few, day=(datetime.now(UTC) - START).days)
    assert await status(reward=late, **{"from": "2026-06-01", "to": "2027-05-01"}) == "too-early"

    async def refused(**query: Any) -> str:
        answer = await client.get("/v1/loyalty/effects", params=PERIOD | query)
        return answer.json()["type"].removeprefix("/problems/")

    assert await refused() == "invalid"
    assert await refused(reward=reward, tier="gold") == "invalid"
    assert await refused(tier="gold", to="2026-01-05") == "invalid"
    assert await refused(tier="gold", to="2028-01-05") == "invalid"
    assert await refused(tier="gold", days=1) == "invalid"
    assert await refused(tier="gold", **{"from": "0001-01-01", "to": "0001-02-01"}) == "invalid"
    assert await refused(tier="gold", **{"from": "9999-12-01", "to": "9999-12-31"}) == "invalid"
    assert await refused(tier="wood") == "nothing-to-look-at"
    assert await refused(reward=uuid4()) == "nothing-to-look-at"


async def test_a_look_that_takes_too_long_is_ended_before_the_gateway_gives_up(
    client: httpx.AsyncClient, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "READ_WITHIN_S", 0.1)
    async with ledger.pool.acquire() as other, other.transaction():
        await other.execute("LOCK TABLE tier_changes IN ACCESS EXCLUSIVE MODE")
        answer = await client.get("/v1/loyalty/effects", params=PERIOD | {"tier": "gold"})
    assert (answer.status_code, answer.json()["type"]) == (422, "/problems/period-too-large")


async def test_a_sample_is_taken_of_many_and_all_are_counted(
    client: httpx.AsyncClient, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "WITH_IT", 40)
    monkeypatch.setattr(store, "WITHOUT", 100)
    with_it, without = ([uuid4() for _ in range(MEMBERS)] for _ in range(2))
    await buy(ledger.pool, [(m, 1.0) for m in with_it + without], "purchase")
    reward = await reward_of(ledger.pool, with_it)

    found = await ask(client, reward=reward)
    assert found["status"] == "estimated"
    assert found["members"]["had_it"] == MEMBERS
    assert found["members"]["sampled"] is True
    assert 40 <= found["members"]["compared"] <= 100
    assert found["cost"] == {"amount": 40_000, "currency": "CNY"}
    assert found == await ask(client, reward=reward)


async def test_who_gets_it_later_is_compared_until_then_and_who_had_it_before_is_not(
    client: httpx.AsyncClient, ledger: Ledger
) -> None:
    now, later, before = ([uuid4() for _ in range(MEMBERS)] for _ in range(3))
    await buy(ledger.pool, [(m, 1.0) for m in now + later + before], "purchase")
    reward = await reward_of(ledger.pool, now)
    for members, day in ((later, 40), (before, -9)):
        await ledger.pool.executemany(
            """INSERT INTO reward_redemptions (id, reward_id, customer_id, quantity, points, transfer_id,
                                               redeemed_at)
               VALUES ($1, $2, $3, 1, 100, $1, $4)""",
            [(uuid4(), reward, member, START + timedelta(days=day)) for member in members],
        )
    found = await ask(client, reward=reward)
    assert found["members"] == {
        "had_it": MEMBERS,
        "compared": MEMBERS,
        "compared_with": MEMBERS,
        "sampled": False,
    }
