"""The 360 view as callers get it, over HTTP."""

from typing import Any
from uuid import UUID

import pytest

from shared.contracts.sections import SECTIONS
from shared.ids import new_id
from tests.gateway.view.made import profile_body, section
from tests.gateway.view.serving import Gateway

# One gateway for all of them: every test has customers of its own.
pytestmark = pytest.mark.asyncio(loop_scope="module")


def view_of(customer: UUID) -> str:
    return f"/v1/customers/{customer}/360"


async def test_a_whole_view_has_the_promised_shape(gateway: Gateway) -> None:
    customer = new_id()
    await gateway.tell(*(section(name, customer, 5, {"of": name}) for name in SECTIONS))
    answer = await gateway.client.get(view_of(customer))
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    state = {"status": "ok", "source": "view", "version": 5, "as_of": "2026-03-01T12:00:00Z"}
    assert answer.json() == {
        "customer_id": str(customer),
        "merged_into": None,
        **{name: {"of": name} for name in SECTIONS},
        "meta": {"complete": True, "sections": dict.fromkeys(SECTIONS, state)},
    }


async def test_a_customer_without_tickets_is_complete_with_an_empty_section(gateway: Gateway) -> None:
    customer = new_id()
    await gateway.tell(section("profile", customer, 1, profile_body()))
    view = (await gateway.client.get(view_of(customer))).json()
    assert view["feedback"] is None
    assert view["meta"]["complete"] is True
    assert view["meta"]["sections"]["feedback"] == {
        "status": "ok",
        "source": "view",
        "version": 0,
        "as_of": None,
    }


async def test_a_customer_whose_profile_has_not_come_yet_is_incomplete(gateway: Gateway) -> None:
    customer = new_id()
    await gateway.tell(section("loyalty", customer, 1, {"balance": 5}))
    view = (await gateway.client.get(view_of(customer))).json()
    assert view["meta"]["complete"] is False
    assert view["meta"]["sections"]["profile"]["status"] == "unavailable"


@pytest.mark.parametrize("gone", [False, True])
async def test_a_stranger_and_an_erased_customer_are_not_found(gateway: Gateway, gone: bool) -> None:
    customer = new_id()
    if gone:
        await gateway.tell(
            section("loyalty", customer, 1, {"balance": 5}), section("profile", customer, 1, None)
        )
    answer = await gateway.client.get(view_of(customer))
    assert (answer.status_code, answer.json()["type"]) == (404, "/problems/not-found")
    assert answer.headers["content-type"] == "application/problem+json"


async def test_an_unchanged_view_costs_no_body(gateway: Gateway) -> None:
    customer = new_id()
    await gateway.tell(section("profile", customer, 1, profile_body()))
    tag = (await gateway.client.get(view_of(customer))).headers["etag"]
    for held in (tag, f'"other", W/{tag}', "*"):
        answer = await gateway.client.get(view_of(customer), headers={"If-None-Match": held})
        assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", tag)
    await gateway.tell(section("loyalty", customer, 2, {"balance": 5}))
    answer = await gateway.client.get(view_of(customer), headers={"If-None-Match": tag})
    assert (answer.status_code, answer.json()["loyalty"]) == (200, {"balance": 5})
    assert answer.headers["etag"] != tag


async def test_only_the_sections_asked_for_are_in_the_answer(gateway: Gateway) -> None:
    customer = new_id()
    await gateway.tell(*(section(name, customer, 1, {"of": name}) for name in SECTIONS))
    view = (await gateway.client.get(view_of(customer), params={"sections": "scoring, profile"})).json()
    assert list(view) == ["customer_id", "merged_into", "profile", "scoring", "meta"]
    assert list(view["meta"]["sections"]) == ["profile", "scoring"]


async def test_a_required_section_that_is_unavailable_refuses_the_answer(gateway: Gateway) -> None:
    customer = new_id()
    await gateway.tell(section("loyalty", customer, 1, {"balance": 5}))
    answer = await gateway.client.get(view_of(customer), params={"required": "profile"})
    assert (answer.status_code, answer.json()["sections"]) == (503, ["profile"])
    assert "retry-after" in answer.headers
    assert (await gateway.client.get(view_of(customer), params={"required": "loyalty"})).status_code == 200


@pytest.mark.parametrize(
    ("path", "pointer"),
    [
        ("/v1/customers/not-an-id/360", "path:customer_id"),
        (f"/v1/customers/{UUID(int=1)}/360?sections=nonsense", "query:sections"),
        (f"/v1/customers/{UUID(int=1)}/360?required=,", "query:required"),
        (f"/v1/customers/{UUID(int=1)}/360?fresh=perhaps", "query:fresh"),
        ("/v1/customers/360", "query:email"),
        ("/v1/customers/360?email=a@x.org&phone=%2B8613800138000", "query:email"),
        ("/v1/customers/360?phone=12", "query:phone"),
        ("/v1/customers/360?external_id=no-source", "query:external_id"),
        ("/v1/customers/360?email=", "query:email"),
    ],
)
async def test_a_parameter_that_does_not_fit_is_named(gateway: Gateway, path: str, pointer: str) -> None:
    answer = await gateway.client.get(path)
    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]


async def test_without_a_key_nothing_is_said(gateway: Gateway) -> None:
    customer = new_id()
    await gateway.tell(section("profile", customer, 1, profile_body()))
    for path in (view_of(customer), f"/v1/customers/{customer}/timeline", f"/v1/customers/{customer}/stream"):
        answer = await gateway.client.get(path, headers={"Authorization": "Bearer wrong"})
        assert answer.status_code == 401


async def test_a_customer_is_found_by_any_handle(gateway: Gateway) -> None:
    customer = new_id()
    handles = [
        ("email", "lilei@example.com", ""),
        ("phone", "+8613800138000", ""),
        ("external_id", "C-17:b", "shop"),
    ]
    await gateway.tell(section("profile", customer, 1, profile_body("李雷", *handles)))
    for query in (
        "email=LiLei@Example.com",
        "phone=%2B8613800138000",
        "phone=%2B86%20138-0013-8000",
        "phone=+8613800138000",  # an unescaped plus sign is forgiven
        "external_id=shop:C-17:b",
    ):
        answer = await gateway.client.get(f"/v1/customers/360?{query}")
        assert answer.json()["customer_id"] == str(customer)
        repeated = await gateway.client.get(
            f"/v1/customers/360?{query}", headers={"If-None-Match": answer.headers["etag"]}
        )
        assert repeated.status_code == 304


async def test_a_handle_that_was_given_up_finds_nobody(gateway: Gateway) -> None:
    customer = new_id()
    await gateway.tell(section("profile", customer, 1, profile_body("x", ("email", "a@x.org", ""))))
    await gateway.tell(section("profile", customer, 2, profile_body("x")))
    assert (await gateway.client.get("/v1/customers/360?email=a@x.org")).status_code == 404


async def test_a_batch_answers_in_its_order_and_names_strangers(gateway: Gateway) -> None:
    one, other, nobody = new_id(), new_id(), new_id()
    await gateway.tell(*(section("profile", customer, 1, {"of": str(customer)}) for customer in (one, other)))
    body: dict[str, Any] = {"ids": [str(other), str(nobody), str(one), str(other)], "sections": ["profile"]}
    answer = await gateway.client.post("/v1/customers/360:batch", json=body)
    assert [item["customer_id"] for item in answer.json()["items"]] == [str(other), str(one)]
    assert answer.json()["items"][0]["profile"] == {"of": str(other)}
    assert answer.json()["unknown"] == [str(nobody)]


@pytest.mark.parametrize("ids", [[], ["x"], [str(UUID(int=n)) for n in range(101)]])
async def test_a_batch_takes_one_to_a_hundred_ids(gateway: Gateway, ids: list[str]) -> None:
    answer = await gateway.client.post("/v1/customers/360:batch", json={"ids": ids})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"].startswith("/ids")
