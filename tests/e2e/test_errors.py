"""Each kind of error in the contracts, as a caller of the gateway gets it."""

import asyncio
import os
import signal
import time
from uuid import uuid4

import httpx
import pytest

from tests.support.system import System

pytestmark = [pytest.mark.processes, pytest.mark.broker]

JSON = {"content-type": "application/json"}


def assert_problem(answer: httpx.Response, status: int, slug: str) -> None:
    """The answer is a whole problem document of this kind."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert (body["type"], body["status"]) == (f"/problems/{slug}", status), body
    assert body["title"]
    assert body["request_id"] == answer.headers["x-request-id"]


async def test_400_a_body_that_is_not_json_and_a_foreign_cursor(client: httpx.AsyncClient) -> None:
    assert_problem(await client.post("/v1/customers", content=b"{", headers=JSON), 400, "malformed")
    assert_problem(await client.get("/v1/customers", params={"cursor": "nonsense"}), 400, "invalid-cursor")


async def test_401_and_403_without_a_key_and_without_the_scope(
    system: System, client: httpx.AsyncClient
) -> None:
    async with httpx.AsyncClient(base_url=system.url) as nobody:
        assert_problem(await nobody.get("/v1/customers"), 401, "unauthenticated")
    made = await client.post("/v1/admin/keys", json={"name": "reader", "role": "frontend"})
    async with system.client(made.json()["key"]) as reader:
        assert_problem(await reader.get("/v1/admin/dead-letters"), 403, "forbidden")


async def test_404_for_unknown_things_and_paths_and_405_with_allow(client: httpx.AsyncClient) -> None:
    assert_problem(await client.get(f"/v1/customers/{uuid4()}"), 404, "no-such-customer")
    assert_problem(await client.get(f"/v1/customers/{uuid4()}/360"), 404, "not-found")
    assert_problem(await client.get("/v1/nothing-here"), 404, "not-found")
    wrong = await client.put("/v1/customers", json={})
    assert_problem(wrong, 405, "method-not-allowed")
    assert "POST" in wrong.headers["allow"]


async def test_409_for_an_identity_that_another_customer_has(client: httpx.AsyncClient) -> None:
    email = f"{uuid4().hex[:8]}@example.com"
    assert (await client.post("/v1/customers", json={"name": "a", "email": email})).status_code == 201
    taken = await client.post("/v1/customers", json={"name": "b", "email": email})
    assert taken.status_code == 409
    assert email not in taken.text


async def test_412_and_428_for_a_stale_and_a_missing_precondition(client: httpx.AsyncClient) -> None:
    made = await client.post("/v1/customers", json={"name": "李雷"})
    path, etag = f"/v1/customers/{made.json()['id']}", made.headers["etag"]
    assert_problem(await client.patch(path, json={"name": "x"}), 428, "precondition-required")
    assert (await client.patch(path, json={"name": "x"}, headers={"If-Match": etag})).status_code == 200
    assert_problem(await client.patch(path, json={"name": "y"}, headers={"If-Match": etag}), 412, "stale")
    redeem = f"/v1/loyalty/{made.json()['id']}/redemptions"
    assert_problem(await client.post(redeem, json={"points": 1, "reason": "x"}), 428, "precondition-required")


async def test_422_names_the_fields(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/customers", json={"nmae": "x", "name": 5})
    assert_problem(answer, 422, "invalid")
    assert {error["pointer"] for error in answer.json()["errors"]} == {"/nmae", "/name"}
    answer = await client.post("/v1/customers", json={"email": "not an address"})
    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.json()["errors"]] == ["/email"]
    assert "not an address" not in answer.text
    bad_id = await client.get("/v1/customers/not-a-uuid")
    assert_problem(bad_id, 422, "invalid")
    assert_problem(await client.get("/v1/customers", params={"limit": 0}), 422, "invalid")


async def test_413_for_a_body_beyond_the_limit(client: httpx.AsyncClient) -> None:
    huge = b'{"items": ["' + b"x" * 9_000_000 + b'"]}'
    assert_problem(await client.post("/v1/purchases:batch", content=huge, headers=JSON), 413, "too-large")


async def test_503_with_retry_after_while_a_service_is_away(
    system: System, client: httpx.AsyncClient
) -> None:
    os.kill(system.processes()["scoring"]["pid"], signal.SIGKILL)
    deadline = time.monotonic() + 10
    refused = None
    while refused is None and time.monotonic() < deadline:
        answer = await client.get("/v1/models")
        refused = answer if answer.status_code != 200 else None
        if refused is None:
            os.kill(system.processes().get("scoring", {"pid": os.getpid()})["pid"], 0)
    assert refused is not None, "the service was never seen away"
    assert_problem(refused, 503, "unavailable")
    assert int(refused.headers["retry-after"]) >= 1
    deadline = time.monotonic() + 30
    while (await client.get("/v1/models")).status_code != 200:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.1)
