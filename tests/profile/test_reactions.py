"""A ticket that came with handles finds or makes its customer."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from shared.contracts.feedback import TicketOpened
from shared.contracts.handles import Handle
from shared.ids import new_id
from tests.profile.made import LI_LEI, Profile


def ticket(*contact: Handle, **changes: Any) -> TicketOpened:
    fields: dict[str, Any] = {
        "ticket_id": new_id(),
        "kind": "complaint",
        "category": "delivery",
        "severity": "high",
        "mood": -0.8,
        "status": "open",
        "channel": "review",
        "occurred_at": datetime(2026, 3, 1, tzinfo=UTC),
        "contact": contact,
    }
    return TicketOpened(**fields | changes)


def email(value: str) -> Handle:
    return Handle(kind="email", value=value)


async def test_a_known_handle_links_the_ticket(profile: Profile) -> None:
    customer_id = await profile.register(**LI_LEI)
    opened = ticket(email("LiLei@example.com"), Handle(kind="phone", value="13900139000"), contact_name="L.")
    await profile.send(opened)
    (resolved,) = await profile.events("identity.resolved")
    assert (resolved.ref.kind, resolved.ref.id) == ("ticket", opened.ticket_id)
    assert (str(resolved.customer_id), resolved.rule, resolved.confidence) == (customer_id, "email", 0.9)
    assert [handle.value for handle in resolved.handles] == ["lilei@example.com", "+8613900139000"]
    read = (await profile.client.get(f"/v1/customers/{customer_id}")).json()
    assert read["name"] == "李雷"
    assert {"+8613900139000", "lilei@example.com"} <= {identity["value"] for identity in read["identities"]}


async def test_an_unknown_handle_makes_a_customer_of_that_name(profile: Profile) -> None:
    await profile.send(ticket(email("han@example.com"), contact_name="  韩 梅梅 "))
    (resolved,) = await profile.events("identity.resolved")
    assert resolved.rule == "new_customer"
    read = (await profile.client.get(f"/v1/customers/{resolved.customer_id}")).json()
    assert read["name"] == "韩 梅梅"
    (registered,) = await profile.events("customer.registered")
    assert registered.attributes == {"name": "韩 梅梅"}


async def test_a_ticket_of_a_known_customer_or_without_usable_handles_is_left_alone(profile: Profile) -> None:
    await profile.send(
        ticket(email("a@example.com"), customer_id=UUID(int=7)),
        ticket(),
        ticket(email("test@example.com"), Handle(kind="phone", value="000000"), contact_name="Nobody"),
    )
    await profile.none_waiting()
    assert await profile.customers() == 0
    assert not [event for event in profile.heard if event.type == "identity.resolved"]


async def test_an_unusable_handle_does_not_stop_the_others(profile: Profile) -> None:
    unusable = Handle(kind="external_id", value="null", source="shop")
    await profile.send(ticket(unusable, email("a@example.com"), email("A@example.com")))
    (resolved,) = await profile.events("identity.resolved")
    assert [handle.value for handle in resolved.handles] == ["a@example.com"]


async def test_tickets_that_arrive_together_and_share_a_handle_get_one_customer(profile: Profile) -> None:
    opened = [ticket(email(f"p{n % 10}@example.com"), contact_name=f"P{n}") for n in range(60)]
    await profile.send(*opened)
    resolved = await profile.events("identity.resolved", 60)
    assert {event.ref.id for event in resolved} == {event.ticket_id for event in opened}
    assert len({event.customer_id for event in resolved}) == 10
    assert await profile.customers() == 10


async def test_a_repeated_ticket_says_the_same_again(profile: Profile) -> None:
    opened = ticket(email("a@example.com"), contact_name="A")
    await profile.send(opened)
    await profile.send(opened)
    first, second = await profile.events("identity.resolved", 2)
    assert first.customer_id == second.customer_id
    assert (await profile.client.get(f"/v1/customers/{first.customer_id}")).json()["version"] == 1
    assert await profile.pool.fetchval("SELECT count(*) FROM dead_letters") == 0
