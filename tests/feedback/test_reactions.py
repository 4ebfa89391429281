"""From an accepted webhook to a linked ticket, by events."""

import random
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from shared.contracts.feedback import TicketLinked, TicketOpened, TicketReopened
from shared.contracts.sections import FeedbackSection
from tests.feedback.conftest import NOW, Feedback, received, resolved


async def test_feedback_becomes_a_ticket_with_its_reading(feedback: Feedback) -> None:
    sent = received()
    await feedback.hear(sent)
    (opened,) = await feedback.said(TicketOpened)
    assert (opened.category, opened.severity, opened.status) == ("logistics", "high", "new")
    assert opened.mood < -0.5
    assert opened.receipt_id == sent.receipt_id
    assert (opened.contact, opened.contact_name) == (sent.contact, "李雷")
    ticket = await feedback.ticket(str(opened.ticket_id))
    assert (ticket["language"], ticket["partner"], ticket["source_id"]) == ("zh", "taobao", sent.source_id)
    assert ticket["contact"]["handles"] == [{"kind": "email", "value": "lilei@example.com", "source": ""}]
    assert "弄丢了" in {term["term"] for term in ticket["reading"]["terms"]}
    assert [(s["what"], s["actor"]) for s in ticket["history"]] == [("opened", "partner:taobao")]


async def test_the_same_receipt_twice_is_one_ticket(feedback: Feedback) -> None:
    sent = received()
    await feedback.hear(sent, sent)
    await feedback.hear(sent)
    (opened,) = await feedback.said(TicketOpened)
    assert (await feedback.ticket(str(opened.ticket_id)))["mentions"] == 1


@pytest.mark.parametrize("together", [True, False])
async def test_the_same_source_id_again_is_a_mention(feedback: Feedback, together: bool) -> None:
    first, second = received(source_id="F-9"), received(source_id="F-9")
    if together:
        await feedback.hear(first, second)
    else:
        await feedback.hear(first)
        await feedback.hear(second)
    (opened,) = await feedback.said(TicketOpened)
    ticket = await feedback.ticket(str(opened.ticket_id))
    assert ticket["mentions"] == 2
    assert ticket["messages"] == []
    assert [s["what"] for s in ticket["history"]] == ["opened", "mentioned"]


async def test_another_partners_same_source_id_is_another_ticket(feedback: Feedback) -> None:
    await feedback.hear(received(source_id="F-9"), received(source_id="F-9", partner="jd"))
    await feedback.said(TicketOpened, 2)


async def test_a_repeat_that_says_something_new_is_the_customers_message(feedback: Feedback) -> None:
    await feedback.hear(received(source_id="F-9"))
    (opened,) = await feedback.said(TicketOpened)
    await feedback.client.post(f"/v1/tickets/{opened.ticket_id}/transition", json={"to": "resolved"})
    await feedback.hear(received(source_id="F-9", text="还是没收到"))
    await feedback.said(TicketReopened)
    ticket = await feedback.ticket(str(opened.ticket_id))
    assert [(m["text"], m["sender"]) for m in ticket["messages"]] == [("还是没收到", "customer")]
    assert (ticket["status"], ticket["mentions"]) == ("open", 2)


async def test_a_batch_becomes_as_many_tickets(feedback: Feedback) -> None:
    sent = [received(text=f"order {n} is late") for n in range(50)]
    await feedback.hear(*sent)
    opened = await feedback.said(TicketOpened, 50)
    assert {event.receipt_id for event in opened} == {event.receipt_id for event in sent}


async def test_a_partners_word_for_the_kind_is_understood(feedback: Feedback) -> None:
    await feedback.hear(*(received(kind=given) for given in ("Complaint", "care-task", "吐槽")))
    opened = await feedback.said(TicketOpened, 3)
    assert sorted(event.kind for event in opened) == ["care_task", "complaint", "other"]


async def test_feedback_never_happened_after_it_arrived(feedback: Feedback) -> None:
    impossible = (NOW + timedelta(days=4000), datetime(1, 1, 1, tzinfo=UTC))
    await feedback.hear(*(received(occurred_at=stated) for stated in impossible))
    opened = await feedback.said(TicketOpened, 2)
    assert {event.occurred_at for event in opened} == {NOW}


async def test_any_text_becomes_a_ticket(feedback: Feedback) -> None:
    texts = ["...", "x" * 20_000, "', DROP TABLE tickets; --", '{}[]\\"\n\t😡', "%s :name $1"]
    await feedback.hear(*(received(text=t, rating=-1000, contact=(), contact_name=None) for t in texts))
    await feedback.said(TicketOpened, len(texts))
    listed = (await feedback.client.get("/v1/tickets")).json()["items"]
    assert {ticket["text"] for ticket in listed} == set(texts)


async def test_a_resolved_identity_links_the_ticket(feedback: Feedback) -> None:
    await feedback.hear(received())
    (opened,) = await feedback.said(TicketOpened)
    customer = uuid4()
    await feedback.hear(resolved(opened.ticket_id, customer, confidence=0.9))
    (linked,) = await feedback.said(TicketLinked)
    assert (linked.ticket_id, linked.customer_id) == (opened.ticket_id, customer)
    ticket = await feedback.ticket(str(opened.ticket_id))
    assert ticket["customer_id"] == str(customer)
    assert (ticket["link"]["rule"], ticket["link"]["confidence"]) == ("email", 0.9)
    assert [s["what"] for s in ticket["history"]] == ["opened", "linked"]
    (section,) = await feedback.said(FeedbackSection)
    assert section.customer_id == customer


async def test_linking_twice_to_the_same_customer_is_said_once(feedback: Feedback) -> None:
    await feedback.hear(received())
    (opened,) = await feedback.said(TicketOpened)
    customer = uuid4()
    await feedback.hear(resolved(opened.ticket_id, customer))
    await feedback.hear(resolved(opened.ticket_id, customer), time=NOW + timedelta(seconds=5))
    await feedback.said(TicketLinked)


async def test_the_latest_resolution_stands_in_whatever_order_they_come(feedback: Feedback) -> None:
    await feedback.hear(received())
    (opened,) = await feedback.said(TicketOpened)
    customers = [uuid4() for _ in range(6)]
    order = list(enumerate(customers))
    random.Random(7).shuffle(order)
    for second, customer in order:
        await feedback.hear(resolved(opened.ticket_id, customer), time=NOW + timedelta(seconds=second))
    assert await feedback.sql("SELECT customer_id FROM tickets") == customers[-1]


async def test_both_customers_sections_follow_a_corrected_link(feedback: Feedback) -> None:
    await feedback.hear(received())
    (opened,) = await feedback.said(TicketOpened)
    before, after = uuid4(), uuid4()
    await feedback.hear(resolved(opened.ticket_id, before))
    await feedback.hear(resolved(opened.ticket_id, after), time=NOW + timedelta(seconds=1))
    await feedback.quiet()
    bodies: dict[UUID, object] = {}
    for event in feedback.heard:
        if isinstance(event.data, FeedbackSection):
            bodies[event.data.customer_id] = event.data.body
    assert bodies[before] is None
    assert bodies[after] is not None


async def test_resolutions_of_other_things_are_left_alone(feedback: Feedback) -> None:
    await feedback.hear(resolved(uuid4(), uuid4()), resolved(uuid4(), uuid4(), kind="receipt"))
    assert await feedback.sql("SELECT count(*) FROM dead_letters") == 0


async def test_a_customer_named_by_the_caller_is_kept(feedback: Feedback) -> None:
    customer = uuid4()
    ticket = await feedback.open(customer_id=str(customer))
    await feedback.hear(resolved(UUID(ticket["id"]), uuid4()), time=NOW + timedelta(days=999))
    assert await feedback.sql("SELECT customer_id FROM tickets") == customer
