"""Customers who live in every service: registered, with purchases, points, scores and a ticket each.

Made through the gateway's own door, as callers would make them.
"""

import asyncio
import itertools
from collections.abc import Sequence
from typing import Any

import aiohttp

from infra.bench.figures import Wrong
from infra.bench.partner import Partner
from infra.bench.processes import Server, until
from infra.bench.stage import SETTLE_S, Person, Stage
from shared.contracts.sections import SECTIONS

SERVICES = SECTIONS
AT_ONCE = 16
PURCHASES = 3
BATCH = 300
_COMPLETE = """
    SELECT count(*) FROM (
        SELECT customer_id FROM view_sections WHERE customer_id = ANY($1::uuid[]) AND body IS NOT NULL
        GROUP BY customer_id HAVING count(*) = $2) AS complete
"""


async def populate(stage: Stage, gateway: Server, count: int) -> Sequence[Person]:
    """This many customers, made once a run; all parts are running. Comes back when the view shows them all.

    Raises:
        Wrong: something was refused, or the view does not come to show them.
    """
    if stage.people:
        return stage.people
    headers = {"Authorization": f"Bearer {stage.key}"}
    timeout = aiohttp.ClientTimeout(total=SETTLE_S)
    async with aiohttp.ClientSession(gateway.url, headers=headers, timeout=timeout) as session:
        emails = [f"active{number}@example.com" for number in range(count)]
        made = await _side_by_side(
            *(_register(session, number, email) for number, email in enumerate(emails))
        )
        people = [Person(body["id"], email) for body, email in zip(made, emails, strict=True)]
        purchases = [_purchase(person, number) for person in people for number in range(PURCHASES)]
        for start in range(0, len(purchases), BATCH):
            body = {"items": purchases[start : start + BATCH]}
            said = await _post(session, "/v1/purchases:batch", 200, json=body)
            if said["accepted"] != len(body["items"]):
                raise Wrong(f"of {len(body['items'])} purchases {said['accepted']} were accepted")
        partner = await Partner.admitted(gateway, stage.key)
        signed = [partner.feedback(number, person.email) for number, person in enumerate(people)]
        await _side_by_side(
            *(_post(session, partner.path, 202, headers=own, data=body) for own, body in signed)
        )
    await at_rest(stage)
    view = await stage.pool("c360_gateway")
    ids = [person.id for person in people]

    async def complete() -> bool:
        return bool(await view.fetchval(_COMPLETE, ids, len(SECTIONS)) == count)

    await until(complete, "the view does not show every section of every customer", within_s=SETTLE_S)
    await at_rest(stage)
    stage.people = people
    return people


async def at_rest(stage: Stage) -> None:
    """Wait until nothing is on its way between the parts any more."""
    await stage.settled("gateway", *SERVICES)
    await stage.consumed()
    await stage.settled("gateway", *SERVICES)


async def _register(session: aiohttp.ClientSession, number: int, email: str) -> Any:
    body = {
        "name": f"Customer {number}",
        "email": email,
        "external_ids": {"shop": f"A-{number}"},
        "attributes": {"plan": "pro", "city": "上海"},
    }
    return await _post(session, "/v1/customers", 201, json=body)


def _purchase(person: Person, number: int) -> dict[str, Any]:
    return {
        "customer": {"id": person.id},
        "source": "shop",
        "source_id": f"{person.id}-{number}",
        "occurred_at": f"2026-0{1 + number}-11T10:00:00Z",
        "currency": "CNY",
        "amount": 12_900 + number,
        "lines": [{"sku": "A1", "category": "kitchen", "quantity": 1, "amount": 12_900 + number}],
    }


async def _post(session: aiohttp.ClientSession, path: str, wanted: int, **options: Any) -> Any:
    async with session.post(path, **options) as answer:
        if answer.status != wanted:
            raise Wrong(f"POST {path} was {answer.status}: {(await answer.text())[:500]}")
        return await answer.json()


async def _side_by_side(*work: Any) -> list[Any]:
    """Await these, AT_ONCE at a time, results in order."""
    todo = iter(enumerate(work))
    results: dict[int, Any] = {}

    async def worker() -> None:
        for number, one in todo:
            results[number] = await one

    async with asyncio.TaskGroup() as workers:
        for _ in itertools.repeat(None, AT_ONCE):
            workers.create_task(worker())
    return [results[number] for number in range(len(work))]
