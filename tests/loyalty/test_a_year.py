"""A year in the life of one member: the example of services/loyalty/README.md, with its figures."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

import services.loyalty
from services.loyalty.app import create_app
from services.loyalty.earning import rule_store
from services.loyalty.earning.rule_store import Version
from services.loyalty.ledger import upkeep
from services.loyalty.reactions import make_reactions
from services.loyalty.referrals.service import complete
from services.loyalty.settings import LoyaltySettings
from services.loyalty.tiers import service as tiers
from shared.clock import utc_now
from shared.contracts.feedback import SurveyAnswered
from shared.contracts.handles import Activity, LineItem
from shared.contracts.profile import ActivityRecorded
from shared.database import Database
from shared.ids import new_id
from shared.messaging.consumer import Consumer
from tests.loyalty.earning.test_reactions import bought, hear, purchase, refund, registered, returned
from tests.loyalty.points import Ledger
from tests.support.apps import running

README = Path(services.loyalty.__file__ or "").with_name("README.md")
TODAY = 400
THEN = range(1, 9)  # lines that tell what qualified on their day; the view shows what qualifies now


@dataclass(frozen=True)
class Row:
    """A line of the example."""

    number: int
    day: int
    points: int
    pending: bool
    balance: int
    qualifying: Decimal
    tier: str


def rows() -> list[Row]:
    found = []
    for line in README.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 8 and cells[0].isdigit():
            number, day, _, _, points, balance, qualifying, tier = cells
            waits = points.startswith("(")
            found.append(
                Row(
                    int(number),
                    int(day),
                    int(points.strip("()")),
                    waits,
                    int(balance),
                    Decimal(qualifying),
                    tier,
                )
            )
    return found


class Year:
    """What happens, line by line; the days count back from now."""

    def __init__(self, client: httpx.AsyncClient, settings: LoyaltySettings, database: Database) -> None:
        self.client, self.settings, self.database = client, settings, database
        self.consumer = Consumer(make_reactions(settings), database)
        self.start = utc_now() - timedelta(days=TODAY)
        self.member, self.friend, self.airline = uuid4(), uuid4(), ""
        self.fourth = purchase(self.member, 200_000, at=self.day(60))
        self.redemption = ""

    def day(self, number: int) -> datetime:
        return self.start + timedelta(days=number)

    async def prepare(self) -> None:
        """The programme of this shop: a campaign, a reward, a partner."""
        kitchen: dict[str, Any] = {"name": "Kitchen", "kind": "purchase", "multiplier": "2"}
        kitchen |= {"categories": ["kitchen"], "ends_at": self.day(60).isoformat()}
        await rule_store.add(self.database.pool, Version("kitchen", 1, kitchen, self.day(30)), "test")
        reward = {"kind": "goods", "name": "A pan", "points": 3000, "stock": 5}
        self.reward = (await self.post("/v1/rewards", reward))["id"]
        airline = {
            "name": f"Airline {uuid4()}",
            "unit": "miles",
            "points_per_unit": "0.8",
            "units_per_point": "1",
        }
        airline |= {"issued_price": "1", "accepted_price": "1"}
        self.airline = (await self.post("/v1/loyalty-partners", airline))["id"]

    async def post(self, path: str, body: dict[str, Any]) -> Any:
        answer = await self.client.post(path, json=body, headers={"Idempotency-Key": str(uuid4())})
        assert answer.status_code in {200, 201}, answer.text
        return answer.json()

    async def buy(self, day: int, amount: int, kitchen: int = 0) -> None:
        lines = (LineItem(sku="K", category="kitchen", amount=kitchen),) if kitchen else ()
        item = purchase(self.member, amount, at=self.day(day)).model_copy(update={"lines": lines})
        await hear(self.consumer, bought(item))

    async def sign_up(self) -> None:
        new = registered(self.member).model_copy(update={"registered_at": self.start})
        await hear(self.consumer, new)

    async def give_half_back(self) -> None:
        back = refund(self.fourth, 100_000).model_copy(update={"occurred_at": self.day(75)})
        await hear(self.consumer, returned(back))

    async def answer(self) -> None:
        said = {"answer_id": new_id(), "customer_id": self.member, "survey": "nps", "kind": "nps", "score": 9}
        await hear(self.consumer, SurveyAnswered(**said, occurred_at=self.day(120)))

    async def visit(self) -> None:
        did = Activity(activity_id=new_id(), customer_id=self.member, kind="visit", occurred_at=self.day(121))
        await hear(self.consumer, ActivityRecorded(items=(did,)))

    async def expire(self) -> None:
        await upkeep.expire_lots(self.database.pool, 100)

    async def buy_and_wait(self) -> None:
        path = "/v1/earning-rules/purchase"
        patched = await self.client.patch(path, json={"pending_days": 14}, headers={"If-Match": '"v1"'})
        assert patched.status_code == 200, patched.text
        await hear(self.consumer, bought(purchase(self.member, 10_000, at=utc_now())))

    async def take_reward(self) -> None:
        taken = await self.post(f"/v1/rewards/{self.reward}/redemptions", {"customer_id": str(self.member)})
        self.redemption = taken["id"]

    async def give_reward_back(self) -> None:
        await self.post(f"/v1/redemptions/{self.redemption}/cancel", {})

    async def fly(self, way: str, body: dict[str, Any]) -> None:
        await self.post(
            f"/v1/loyalty-partners/{self.airline}/{way}", body | {"customer_id": str(self.member)}
        )

    async def bring_a_friend(self) -> None:
        code = (await self.post("/v1/referrals", {"customer_id": str(self.member)}))["code"]
        await self.post(f"/v1/referrals/{code}/joins", {"customer_id": str(self.friend)})
        first = purchase(self.friend, 800_000, at=utc_now() + timedelta(days=1))
        await hear(self.consumer, bought(first))
        assert await complete(self.database, self.settings, self.day(416)) == 1

    async def nothing(self) -> None:
        """Only time passes."""

    def steps(self) -> list[Callable[[], Awaitable[None]]]:
        return [
            self.sign_up,
            lambda: self.buy(10, 129_900),
            lambda: self.buy(40, 380_050, kitchen=120_025),
            lambda: hear(self.consumer, bought(self.fourth)),
            self.give_half_back,
            lambda: self.buy(100, 1_500_000),
            self.answer,
            self.visit,
            lambda: self.buy(50, 99_999),
            self.expire,
            self.buy_and_wait,
            self.take_reward,
            self.give_reward_back,
            lambda: self.fly("issues", {"units": 100}),
            lambda: self.fly("acceptances", {"points": 500}),
            self.bring_a_friend,
            self.nothing,
        ]


@pytest.fixture
async def year(settings: LoyaltySettings, database: Database) -> AsyncIterator[Year]:
    # By the clock of today the sign-up's points are due before the first line is read.
    await database.pool.execute(
        """INSERT INTO jobs (name, next_run_at) VALUES ('expire points', now() + interval '1 hour')
           ON CONFLICT (name) DO UPDATE SET next_run_at = excluded.next_run_at"""
    )
    async with running(create_app(settings)) as client:
        made = Year(client, settings, database)
        await made.prepare()
        yield made


async def test_every_figure_of_the_example(year: Year, ledger: Ledger) -> None:
    told, steps, balance, pending = rows(), year.steps(), 0, 0
    assert [row.number for row in told] == list(range(1, len(steps) + 1))
    for row, step in zip(told, steps, strict=True):
        await step()
        if row.day > TODAY:
            await tiers.review(year.database, year.settings, year.day(row.day))
        balance += 0 if row.pending else row.points
        pending += row.points if row.pending else 0
        shown = (await year.client.get(f"/v1/loyalty/{year.member}")).json()
        assert (shown["balance"], shown["pending"]) == (row.balance, pending), row
        assert row.balance == balance
        assert shown["tier"]["name"] == row.tier, row
        qualifying = shown["tier"]["qualifying"]
        if row.number in THEN:
            qualifying = await ledger.pool.fetchval("SELECT max(total) FROM standings") or 0
        assert Decimal(qualifying) / 100 == row.qualifying, row
    await books_agree(year.client, ledger)


async def books_agree(client: httpx.AsyncClient, ledger: Ledger) -> None:
    """What the programme owes is what members hold, pending points included, to the unit."""
    held = await ledger.pool.fetchval("SELECT sum(balance) FROM accounts WHERE balance IS NOT NULL")
    assert (await client.get("/v1/loyalty/liability")).json()["points"] == held
    await ledger.must_be_sound()
