"""The section of the 360 view."""

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

from services.feedback.section import section
from services.feedback.settings import FeedbackSettings
from tests.feedback.conftest import NOW, Feedback


async def answer(feedback: Feedback, customer: UUID, survey: str, score: int, **more: Any) -> None:
    body = {"customer_id": str(customer), "score": score} | more
    reply = await feedback.client.post(f"/v1/surveys/{survey}/responses", json=body)
    assert reply.status_code == 201, reply.text


async def test_the_section_says_what_a_reader_wants_to_know(feedback: Feedback) -> None:
    customer = uuid4()
    for day in range(7):
        await feedback.open(customer_id=str(customer), occurred_at=(NOW + timedelta(days=day)).isoformat())
    praise = await feedback.open(
        kind="praise",
        text="很好",
        customer_id=str(customer),
        occurred_at=(NOW - timedelta(days=1)).isoformat(),
    )
    await feedback.client.post(f"/v1/tickets/{praise['id']}/transition", json={"to": "resolved"})
    await answer(feedback, customer, "nps", 3, occurred_at=NOW.isoformat())
    await answer(feedback, customer, "nps", 9, occurred_at=(NOW + timedelta(hours=1)).isoformat())
    body = await feedback.section(customer)
    assert body["open_tickets"]["count"] == 7
    assert len(body["open_tickets"]["items"]) == len(body["last_tickets"]) == 5
    assert body["last_tickets"][0]["occurred_at"] == "2026-03-07T10:00:00+00:00"
    assert body["tickets"] == {"count": 8, "mentions": 8, "by_kind": {"complaint": 7, "praise": 1}}
    assert body["surveys"]["answers"] == 2
    assert body["surveys"]["nps"]["score"] == 9
    assert body["surveys"]["csat"] is None
    assert "The parcel" not in str(body)


async def test_the_moods_span_ends_at_the_newest_feedback(feedback: Feedback) -> None:
    customer = uuid4()
    for days, text in [(0, "很好"), (10, "很差"), (95, "很差")]:
        await feedback.open(
            kind="review",
            text=text,
            customer_id=str(customer),
            occurred_at=(NOW - timedelta(days=days)).isoformat(),
        )
    await answer(
        feedback, customer, "csat", 1, comment="太差", occurred_at=(NOW - timedelta(days=20)).isoformat()
    )
    await feedback.open(text="?", customer_id=str(customer), occurred_at=NOW.isoformat())
    mood = (await feedback.section(customer))["mood"]
    assert mood == {"average": -0.222, "feedbacks": 3, "days": 90, "until": "2026-03-01T10:00:00+00:00"}


async def test_only_an_answer_is_enough_and_nothing_is_nothing(feedback: Feedback) -> None:
    customer = uuid4()
    await answer(feedback, customer, "ces", 6)
    body = await feedback.section(customer)
    assert body["open_tickets"] == {"count": 0, "items": []}
    assert body["surveys"]["ces"]["score"] == 6
    assert body["mood"]["average"] is None
    assert (await feedback.client.get(f"/internal/sections/{uuid4()}")).status_code == 404


async def test_many_customers_are_read_at_once_and_twice_alike(feedback: Feedback) -> None:
    customers = sorted(uuid4() for _ in range(5))
    for customer in customers[:3]:
        await feedback.open(customer_id=str(customer))
    await answer(feedback, customers[3], "nps", 1)
    build = section(FeedbackSettings(internal_secret="x" * 32))
    async with feedback.app.state.database.pool.acquire() as connection:
        first = await build.build(connection, customers)
        again = await build.build(connection, list(reversed(customers)))
        known = [row["customer_id"] for row in await connection.fetch(build.customers, UUID(int=0), 3)]
        rest = [row["customer_id"] for row in await connection.fetch(build.customers, known[-1], 3)]
    assert first == again
    assert sorted(first) == [*known, *rest] == customers[:4]
