"""The ticket API through the real app."""

from datetime import timedelta
from typing import Any
from uuid import uuid4

from shared.clock import utc_now
from shared.contracts.feedback import TicketOpened, TicketReopened, TicketResolved, TicketUpdated
from shared.contracts.sections import FeedbackSection
from tests.feedback.conftest import Feedback, received
from tests.support.apps import client_of


def key() -> dict[str, str]:
    return {"Idempotency-Key": uuid4().hex}


async def test_a_ticket_with_a_customer_is_theirs_at_once(feedback: Feedback) -> None:
    customer = uuid4()
    ticket = await feedback.open(customer_id=str(customer), contact={"email": "lilei@example.com"})
    (opened,) = await feedback.said(TicketOpened)
    assert (opened.customer_id, opened.contact) == (customer, ())
    assert (await feedback.section(customer))["open_tickets"]["items"][0]["id"] == ticket["id"]
    assert (await feedback.ticket(ticket["id"]))["link"]["rule"] == "given"


async def test_a_ticket_with_a_contact_asks_whose_it_is(feedback: Feedback) -> None:
    contact = {"name": "李雷", "phone": "+8613800138000", "external_id": {"source": "shop", "id": "C-17"}}
    ticket = await feedback.open(contact=contact, channel="phone", rating=2)
    (opened,) = await feedback.said(TicketOpened)
    assert [(h.kind, h.source, h.value) for h in opened.contact] == [
        ("external_id", "shop", "C-17"),
        ("phone", "", "+8613800138000"),
    ]
    assert (opened.contact_name, opened.channel) == ("李雷", "phone")
    assert ticket["status"] == "new"
    assert (ticket["category"], ticket["language"]) == ("logistics", "en")


async def test_opening_needs_a_key_and_happens_once_per_key(feedback: Feedback) -> None:
    body = {"kind": "question", "text": "Where is my order?"}
    assert (await feedback.client.post("/v1/tickets", json=body)).status_code == 428
    headers = key()
    first = await feedback.client.post("/v1/tickets", json=body, headers=headers)
    again = await feedback.client.post("/v1/tickets", json=body, headers=headers)
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json() == again.json()
    assert again.headers["Idempotency-Replayed"] == "true"
    assert again.headers["Location"] == f"/v1/tickets/{first.json()['id']}"
    other = await feedback.client.post("/v1/tickets", json=body | {"text": "?"}, headers=headers)
    assert other.status_code == 422
    await feedback.said(TicketOpened)


async def test_the_whole_life_of_a_ticket_is_recorded(feedback: Feedback) -> None:
    ticket = await feedback.open(customer_id=str(uuid4()))
    path = f"/v1/tickets/{ticket['id']}"
    await feedback.client.post(f"{path}/assign", json={"assignee": "anna", "department": "logistics"})
    await feedback.client.post(f"{path}/messages", json={"text": "We are looking for it."})
    for to in ("pending_third_party", "resolved"):
        answer = await feedback.client.post(f"{path}/transition", json={"to": to, "comment": f"now {to}"})
        assert answer.status_code == 200, answer.text
    await feedback.client.post(f"{path}/messages", json={"text": "Still nothing", "sender": "customer"})
    for to in ("resolved", "closed"):
        await feedback.client.post(f"{path}/transition", json={"to": to})
    read = await feedback.ticket(ticket["id"])
    assert [(s["what"], s["from_status"], s["to_status"]) for s in read["history"]] == [
        ("opened", None, "new"),
        ("assigned", None, None),
        ("message", "new", "open"),
        ("transition", "open", "pending_third_party"),
        ("transition", "pending_third_party", "resolved"),
        ("message", "resolved", "open"),
        ("transition", "open", "resolved"),
        ("transition", "resolved", "closed"),
    ]
    assert read["history"][3]["comment"] == "now pending_third_party"
    assert {s["actor"] for s in read["history"]} == {"test"}
    assert [m["sender"] for m in read["messages"]] == ["agent", "customer"]
    assert (read["assignee"], read["department"], read["status"]) == ("anna", "logistics", "closed")
    assert read["first_response_at"] is not None
    assert len(await feedback.said(TicketUpdated, 4)) == 4
    await feedback.said(TicketResolved, 2)
    await feedback.said(TicketReopened)
    last = [e.data.body for e in feedback.heard if isinstance(e.data, FeedbackSection)][-1]
    assert last is not None
    assert last["open_tickets"]["count"] == 0


async def test_a_step_that_does_not_exist_is_refused_clearly(feedback: Feedback) -> None:
    ticket = await feedback.open()
    answer = await feedback.client.post(f"/v1/tickets/{ticket['id']}/transition", json={"to": "closed"})
    problem = answer.json()
    assert (answer.status_code, problem["type"]) == (409, "/problems/transition-refused")
    assert problem["allowed"] == ["open", "pending_customer", "pending_third_party", "resolved"]
    assert len((await feedback.ticket(ticket["id"]))["history"]) == 1


async def test_after_the_grace_period_a_follow_up_takes_over(feedback: Feedback) -> None:
    ticket = await feedback.open()
    path = f"/v1/tickets/{ticket['id']}"
    await feedback.client.post(f"{path}/transition", json={"to": "resolved"})
    assert (await feedback.client.post(f"{path}/transition", json={"to": "open"})).status_code == 200
    await feedback.client.post(f"{path}/transition", json={"to": "resolved"})
    await feedback.sql("UPDATE tickets SET resolved_at = resolved_at - interval '15 days'")
    answer = await feedback.client.post(f"{path}/transition", json={"to": "open"})
    assert (answer.status_code, answer.json()["type"]) == (409, "/problems/reopen-period-over")
    assert answer.json()["reopen_days"] == 14
    follow_up = await feedback.open(follow_up_of=ticket["id"])
    assert follow_up["follow_up_of"] == ticket["id"]


async def test_the_entity_tag_guards_against_a_newer_state(feedback: Feedback) -> None:
    ticket = await feedback.open()
    path = f"/v1/tickets/{ticket['id']}"
    etag = (await feedback.client.get(path)).headers["ETag"]
    note = {"text": "hm", "visibility": "internal"}
    assert (await feedback.client.post(f"{path}/messages", json=note)).status_code == 201
    stale = await feedback.client.post(f"{path}/assign", json={"assignee": "a"}, headers={"If-Match": etag})
    assert stale.status_code == 412
    etag = (await feedback.client.get(path)).headers["ETag"]
    moved = await feedback.client.post(f"{path}/transition", json={"to": "open"}, headers={"If-Match": etag})
    assert (moved.status_code, moved.headers["ETag"]) == (200, '"v3"')
    odd = await feedback.client.post(f"{path}/assign", json={"assignee": "a"}, headers={"If-Match": "x"})
    assert odd.status_code == 412


async def test_assigning_leaves_alone_what_is_not_named(feedback: Feedback) -> None:
    ticket = await feedback.open(department="logistics", assignee="anna")
    path = f"/v1/tickets/{ticket['id']}/assign"
    answer = await feedback.client.post(path, json={"assignee": None})
    assert (answer.json()["assignee"], answer.json()["department"]) == (None, "logistics")
    same = await feedback.client.post(path, json={"department": "logistics"})
    assert same.json()["version"] == answer.json()["version"]
    assert (await feedback.client.post(path, json={})).status_code == 422


async def test_tickets_are_listed_newest_first_and_filtered(feedback: Feedback) -> None:
    customer = str(uuid4())
    opened = [
        await feedback.open(kind="complaint", customer_id=customer),
        await feedback.open(kind="praise", text="Great quality, thank you"),
        await feedback.open(kind="complaint", text="I was charged twice"),
        await feedback.open(kind="question", text="Where is my parcel?", customer_id=customer),
    ]
    await feedback.client.post(f"/v1/tickets/{opened[0]['id']}/transition", json={"to": "resolved"})

    async def listed(query: str) -> list[int]:
        answer = await feedback.client.get(f"/v1/tickets?{query}")
        assert answer.status_code == 200, answer.text
        ids = [ticket["id"] for ticket in opened]
        return [ids.index(item["id"]) for item in answer.json()["items"]]

    assert await listed("") == [3, 2, 1, 0]
    assert await listed("status=new") == [3, 2, 1]
    assert await listed("status=new&status=resolved&kind=complaint") == [2, 0]
    assert await listed("category=price") == [2]
    assert await listed(f"customer_id={customer}") == [3, 0]
    assert await listed(f"customer_id={uuid4()}") == []
    first = (await feedback.client.get("/v1/tickets?limit=3")).json()
    assert await listed(f"limit=3&cursor={first['next_cursor']}") == [0]
    assert (await feedback.client.get("/v1/tickets?limit=4")).json()["next_cursor"] is None


MISFITS: list[tuple[dict[str, Any], str]] = [
    ({"kind": "rant", "text": "x"}, "/kind"),
    ({"kind": "idea", "text": ""}, "/text"),
    ({"kind": "idea", "text": "x" * 20_001}, "/text"),
    ({"kind": "idea", "text": "x", "rating": 6}, "/rating"),
    ({"kind": "idea", "text": "x", "customer_id": "C-17"}, "/customer_id"),
    ({"kind": "idea", "text": "x", "occurred_at": "2026-03-01T10:00:00"}, "/occurred_at"),
    ({"kind": "idea", "text": "x", "occurred_at": "0001-01-01T00:00:00+14:00"}, "/occurred_at"),
    ({"kind": "idea", "text": "x", "contact": {"emial": "a@b.c"}}, "/contact/emial"),
    ({"kind": "idea", "text": "x", "contact": {"external_id": {"id": "7"}}}, "/contact/external_id/source"),
    ({"kind": "idea", "text": "x", "status": "closed"}, "/status"),
    ({"kind": "idea", "text": "x", "follow_up_of": "0190a8a4-58c4-7d8e-9b1a-3f0e5a7c2d11"}, "/follow_up_of"),
]


async def test_a_field_that_does_not_fit_is_named(feedback: Feedback) -> None:
    for body, pointer in MISFITS:
        answer = await feedback.client.post("/v1/tickets", json=body, headers=key())
        assert answer.status_code == 422, body
        assert pointer in {error["pointer"] for error in answer.json()["errors"]}, body


async def test_what_is_not_there_is_not_found(feedback: Feedback) -> None:
    path = f"/v1/tickets/{uuid4()}"
    answers = [
        await feedback.client.get(path),
        await feedback.client.post(f"{path}/messages", json={"text": "x"}),
        await feedback.client.post(f"{path}/assign", json={"assignee": "x"}),
        await feedback.client.post(f"{path}/transition", json={"to": "open"}),
    ]
    assert [answer.status_code for answer in answers] == [404] * 4
    assert (await feedback.client.get("/v1/tickets/nonsense")).status_code == 422
    assert (await feedback.client.get("/v1/tickets?cursor=nonsense")).status_code == 400
    assert (await feedback.client.get("/v1/tickets?status=lost")).status_code == 422


async def test_scopes_decide_who_may_read_write_and_see_the_contact(feedback: Feedback) -> None:
    await feedback.hear(received())
    (opened,) = await feedback.said(TicketOpened)
    path = f"/v1/tickets/{opened.ticket_id}"
    async with client_of(feedback.app, ["tickets:read"]) as reader:
        read = await reader.get(path)
        assert (read.status_code, read.json()["contact"]) == (200, None)
        assert "lilei@example.com" not in read.text
        assert (await reader.post(f"{path}/messages", json={"text": "x"})).status_code == 403
    async with client_of(feedback.app, ["surveys:read"]) as stranger:
        assert (await stranger.get(path)).status_code == 403
    assert (await feedback.ticket(str(opened.ticket_id)))["contact"]["name"] == "李雷"


async def test_only_the_newest_steps_are_shown(feedback: Feedback) -> None:
    feedback.app.state.settings.history_items = 3
    ticket = await feedback.open()
    for n in range(5):
        await feedback.client.post(f"/v1/tickets/{ticket['id']}/messages", json={"text": f"{n}"})
    read = await feedback.ticket(ticket["id"])
    assert [m["text"] for m in read["messages"]] == ["2", "3", "4"]
    assert len(read["history"]) == 3


async def test_a_time_in_the_future_becomes_now(feedback: Feedback) -> None:
    ticket = await feedback.open(occurred_at=(utc_now() + timedelta(days=9)).isoformat())
    assert ticket["occurred_at"] == ticket["opened_at"]
