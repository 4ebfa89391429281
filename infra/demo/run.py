"""Puts made people into a running system through its public API, as a shop and a partner would.

Everything carries a key of its own, so that a second run with the same seed finds what is there.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from standardwebhooks.webhooks import Webhook

from infra.cli.client import Gateway, Said
from infra.cli.show import console
from infra.demo.people import Buy, Person, make_people, most_interesting
from infra.demo.people import Said as Feedback
from infra.parallel import in_parallel
from shared.clock import utc_now

SHOP = "demo-shop"
PARTNER = "demo-reviews"
CONFLICT = 409
IN_FLIGHT = 8
BATCH = 500
VIEW_WITHIN_S = 30.0
VIEW_POLL_S = 0.25
REDEEMED_POINTS = 100

T = TypeVar("T")
Step = Callable[[], None]


@dataclass(slots=True)
class Outcome:
    """What was put in, and the view of one customer."""

    counts: dict[str, int] = field(default_factory=dict)
    view: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


async def fill(count: int, seed: int, *, quiet: bool) -> Outcome:
    """Fill the system with `count` customers and read the view of the most interesting one.

    Raises:
        Refused: the gateway is away or refuses us.
    """
    until = utc_now().replace(hour=0, minute=0, second=0, microsecond=0)
    people = make_people(count, seed, until)
    buys = [(person, buy) for person in people for buy in person.purchases]
    feedback = [(person, said) for person in people for said in person.feedback]
    answers = [person for person in people if person.nps is not None or person.csat is not None]
    columns = (TextColumn("{task.description:<12}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    outcome = Outcome()
    with Progress(*columns, console=console, disable=quiet) as progress:

        def bar(name: str, total: int) -> Step:
            outcome.counts[name] = total
            task = progress.add_task(name, total=total)
            return lambda: progress.advance(task)

        async with Gateway(connections=IN_FLIGHT) as gateway:
            known: dict[str, str] = {}

            async def register(person: Person) -> None:
                known[person.number] = await _register(gateway, person)

            await _each(people, register, bar("customers", len(people)))
            batches = [buys[start : start + BATCH] for start in range(0, len(buys), BATCH)]
            await _each(batches, lambda b: _purchases(gateway, b), bar("purchases", len(batches)))
            outcome.counts["purchases"] = len(buys)
            await _feedback(gateway, seed, feedback, bar("feedback", len(feedback)))
            await _each(
                answers, lambda p: _answers(gateway, p, known[p.number]), bar("surveys", len(answers))
            )
            star = most_interesting(people)
            await _redeem(gateway, known[star.number], star, outcome)
            await _fit(gateway, star.currency, outcome)
            outcome.view = await _view(
                gateway, known[star.number], lambda view: _is_whole(view, star, outcome)
            )
    return outcome


async def _each(items: Sequence[T], work: Callable[[T], Awaitable[None]], step: Step) -> None:
    async def one(item: T) -> None:
        await work(item)
        step()

    await in_parallel(items, one, at_once=IN_FLIGHT)


async def _register(gateway: Gateway, person: Person) -> str:
    body: dict[str, Any] = {
        "name": person.name,
        "email": person.email,
        "phone": person.phone,
        "external_ids": {SHOP: person.number},
        "attributes": {"city": person.city, "language": person.language},
    }
    try:
        made = await gateway.post("/v1/customers", json=body)
    except Said as said:
        if said.status != CONFLICT:
            raise
        found = await gateway.get("/v1/customers", params={"email": person.email})
        if found["items"]:
            return str(found["items"][0]["id"])
        del body["phone"]  # another seed's customer has this number
        made = await gateway.post("/v1/customers", json=body)
    return str(made["id"])


async def _purchases(gateway: Gateway, batch: Sequence[tuple[Person, Buy]]) -> None:
    await gateway.post("/v1/purchases:batch", json={"items": [_purchase(*item) for item in batch]})


def _purchase(person: Person, buy: Buy) -> dict[str, Any]:
    line = {"sku": buy.sku, "category": buy.category, "quantity": buy.quantity, "amount": buy.amount}
    return {
        "customer": {"external_id": {"source": SHOP, "id": person.number}},
        "source": SHOP,
        "source_id": buy.source_id,
        "occurred_at": _stamp(buy.occurred_at),
        "currency": person.currency,
        "amount": buy.amount,
        "channel": buy.channel,
        "lines": [line],
    }


async def _feedback(
    gateway: Gateway, seed: int, feedback: Sequence[tuple[Person, Feedback]], step: Step
) -> None:
    """Register a partner and have them send everything, signed by the Standard Webhooks library."""
    name = f"{PARTNER}-{seed}"
    try:
        made = await gateway.post("/v1/admin/partners", json={"name": name, "scheme": "standard-webhooks"})
    except Said as said:
        if said.status != CONFLICT:
            raise
        # An earlier run was told its secret; with a new one the same messages come again, as repeats.
        made = await gateway.post(f"/v1/admin/partners/{name}/rotate")
    signer = Webhook(made["secret"])

    async def send(item: tuple[Person, Feedback]) -> None:
        person, said = item
        now, body = utc_now(), _webhook(person, said)
        headers = {
            "Content-Type": "application/json",
            "webhook-id": f"msg_{said.source_id}",
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": signer.sign(f"msg_{said.source_id}", now, body),
        }
        await gateway.post(f"/webhooks/{name}", content=body.encode(), headers=headers)

    await _each(feedback, send, step)


def _webhook(person: Person, said: Feedback) -> str:
    data = {
        "source_id": said.source_id,
        "channel": said.channel,
        "kind": said.kind,
        "rating": said.rating,
        "text": said.text,
        "contact": {"email": person.email},
        "occurred_at": _stamp(said.occurred_at),
    }
    envelope = {"type": "feedback.created", "timestamp": _stamp(said.occurred_at), "data": data}
    return json.dumps(envelope, ensure_ascii=False)


async def _answers(gateway: Gateway, person: Person, customer_id: str) -> None:
    for survey, score in (("nps", person.nps), ("csat", person.csat)):
        if score is not None:
            await gateway.post(
                f"/v1/surveys/{survey}/responses",
                json={"customer_id": customer_id, "score": score, "touchpoint": "delivery"},
                headers={"Idempotency-Key": f"demo-{survey}-{person.number}"},
            )


async def _redeem(gateway: Gateway, customer_id: str, person: Person, outcome: Outcome) -> None:
    """Spend some points, once the purchases have earned them."""
    view = await _view(
        gateway, customer_id, lambda view: (view.get("loyalty") or {}).get("balance", 0) >= REDEEMED_POINTS
    )
    if (view.get("loyalty") or {}).get("balance", 0) < REDEEMED_POINTS:
        outcome.notes.append("the points had not arrived yet, so nothing was redeemed")
        return
    await gateway.post(
        f"/v1/loyalty/{customer_id}/redemptions",
        json={"points": REDEEMED_POINTS, "reason": "voucher"},
        headers={"Idempotency-Key": f"demo-redemption-{person.number}"},
    )
    outcome.counts["redemptions"] = 1


async def _view(
    gateway: Gateway, customer_id: str, enough: Callable[[dict[str, Any]], bool]
) -> dict[str, Any]:
    """The customer's view, as soon as it says enough or VIEW_WITHIN_S are over."""
    deadline = asyncio.get_running_loop().time() + VIEW_WITHIN_S
    while True:
        try:
            view: dict[str, Any] = await gateway.get(f"/v1/customers/{customer_id}/360")
        except Said as said:
            if said.status != 404:
                raise
            view = {}
        if enough(view) or asyncio.get_running_loop().time() > deadline:
            return view
        await asyncio.sleep(VIEW_POLL_S)


async def _fit(gateway: Gateway, currency: str, outcome: Outcome) -> None:
    """Fit the scoring models to everybody there is; the spend of one currency."""
    for kind, body in (("bg_nbd", {}), ("gamma_gamma", {"currency": currency})):
        try:
            await gateway.post(f"/v1/models/{kind}:fit", json=body)
        except Said as said:
            if said.status != CONFLICT:
                raise
            outcome.notes.append(f"{kind} was not fitted: {said.reason}")
        else:
            outcome.counts["models"] = outcome.counts.get("models", 0) + 1


def _is_whole(view: dict[str, Any], person: Person, outcome: Outcome) -> bool:
    """Whether the view shows all that was done for the person."""
    if not all(view.get(name) for name in ("profile", "loyalty", "scoring")):
        return False
    if outcome.counts.get("redemptions") and not view["loyalty"].get("lifetime", {}).get("spent"):
        return False
    fitted = ("p_alive", "clv")[: outcome.counts.get("models", 0)]
    if any(view["scoring"].get(score) is None for score in fitted):
        return False
    return not person.feedback or bool(view.get("feedback"))


def _stamp(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")
