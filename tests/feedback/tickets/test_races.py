"""What happens at the same moment still happens once, in some order."""

import asyncio
from datetime import timedelta
from uuid import UUID, uuid4

from services.feedback.tickets import service
from services.feedback.tickets.opening import Opening, open_tickets
from shared.contracts.feedback import TicketOpened, TicketResolved
from tests.feedback.conftest import NOW, Feedback


def opening(source_id: str, receipt_id: UUID) -> Opening:
    return Opening(
        kind="complaint",
        channel="review",
        text="late",
        occurred_at=NOW,
        actor="partner:taobao",
        partner="taobao",
        source_id=source_id,
        receipt_id=receipt_id,
    )


async def test_two_consumers_with_the_same_feedback_make_one_ticket_each(feedback: Feedback) -> None:
    receipts = {f"F-{n}": [uuid4(), uuid4()] for n in range(20)}

    async def consume(turn: int, *, backwards: bool) -> None:
        openings = [opening(source_id, pair[turn]) for source_id, pair in receipts.items()]
        async with feedback.app.state.database.session() as session:
            await open_tickets(
                session,
                openings[::-1] if backwards else openings,
                now=NOW,
                reopen_within=timedelta(days=1),
            )

    await asyncio.gather(
        consume(0, backwards=False),
        consume(1, backwards=True),
        consume(0, backwards=True),
        consume(1, backwards=False),
    )
    feedback.app.state.relay.wake()
    await feedback.said(TicketOpened, 20)
    assert await feedback.sql("SELECT count(*) FROM ticket_receipts") == 40
    assert await feedback.sql("SELECT sum(mentions) FROM tickets") == 40


async def test_many_resolve_a_ticket_and_one_does(feedback: Feedback) -> None:
    ticket = await feedback.open()
    path = f"/v1/tickets/{ticket['id']}/transition"
    answers = await asyncio.gather(*(feedback.client.post(path, json={"to": "resolved"}) for _ in range(5)))
    assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409, 409]
    await feedback.said(TicketResolved)


async def test_links_that_cross_do_not_deadlock(feedback: Feedback) -> None:
    tickets = [UUID((await feedback.open())["id"]) for _ in range(10)]

    async def link(second: int, order: list[UUID]) -> None:
        at = NOW + timedelta(seconds=second)
        found = [service.Resolution(t, uuid4(), "email", 1.0, at) for t in order]
        async with feedback.app.state.database.session() as session:
            await service.link_tickets(session, found)

    await asyncio.gather(*(link(n, tickets if n % 2 else tickets[::-1]) for n in range(4)))
    assert (
        await feedback.sql("SELECT count(*) FROM tickets WHERE linked_at = $1", NOW + timedelta(seconds=3))
        == 10
    )
