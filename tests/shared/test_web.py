"""HTTP plumbing, seen from outside through a real app on a real database."""

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import httpx
import pytest
from fastapi import FastAPI

from shared.web.security import sign
from tests.conftest import MakeDatabase
from tests.support.apps import client_of, eventually, running
from tests.support.probe.app import PACKAGE, ProbeSettings, create_app


@pytest.fixture
async def app(fresh: MakeDatabase) -> FastAPI:
    return create_app(await fresh(ProbeSettings, PACKAGE, body_limit_bytes=4096))


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with running(app) as client:
        yield client


async def test_a_bad_field_is_named_by_its_pointer(client: httpx.AsyncClient) -> None:
    answer = await client.put(f"/v1/things/{uuid4()}", json={"name": 5, "nmae": "x"})
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert body["type"] == "/problems/invalid"
    assert {error["pointer"] for error in body["errors"]} == {"/name", "/nmae"}
    assert body["request_id"] == answer.headers["x-request-id"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 400),
        (b"\xff\xfe", 400),
        (b"[" * 3000, 400),
        (b'{"name": "a\\u0000b"}', 422),
        (b'{"name": "\\ud800"}', 422),
        (b'{"name": "x", "size": 9007199254740993}', 422),
        (b'{"name": "x", "size": 1e400}', 422),
        (b'{"name": "' + b"x" * 5000 + b'"}', 413),
    ],
)
async def test_no_body_gives_a_500(client: httpx.AsyncClient, body: bytes, status: int) -> None:
    answer = await client.put(
        f"/v1/things/{uuid4()}", content=body, headers={"content-type": "application/json"}
    )
    assert answer.status_code == status, answer.text
    assert answer.json()["status"] == status


@pytest.mark.parametrize("media_type", ["text/plain", "application/x-www-form-urlencoded"])
async def test_a_body_that_is_not_sent_as_json_is_told_how_to_be(
    client: httpx.AsyncClient, media_type: str
) -> None:
    answer = await client.put(
        f"/v1/things/{uuid4()}", content=b'{"name": "x"}', headers={"content-type": media_type}
    )
    assert answer.status_code == 422
    assert "Content-Type: application/json" in answer.json()["errors"][0]["detail"]


async def test_a_chunked_body_is_bounded_too(client: httpx.AsyncClient) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(10):
            yield b"x" * 1000

    answer = await client.put(
        f"/v1/things/{uuid4()}", content=chunks(), headers={"content-type": "application/json"}
    )
    assert answer.status_code == 413


@pytest.mark.parametrize(("path", "status"), [("/nowhere", 404), ("/v1/things/not-a-uuid", 405)])
async def test_unknown_paths_and_methods_are_problems(
    client: httpx.AsyncClient, path: str, status: int
) -> None:
    answer = await client.get(path)
    assert (answer.status_code, answer.json()["status"]) == (status, status)


async def test_a_bug_says_nothing_of_its_data(
    client: httpx.AsyncClient, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = await client.post("/v1/faults/bug")
    assert answer.status_code == 500
    logged = capsys.readouterr()
    assert "lilei" not in answer.text + logged.err + logged.out


async def test_request_id_and_trace_go_in_and_out(client: httpx.AsyncClient) -> None:
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    answer = await client.get("/v1/things", headers={"x-request-id": "abc-1", "traceparent": trace})
    assert answer.headers["x-request-id"] == "abc-1"
    assert answer.headers["traceparent"][3:35] == trace[3:35]
    assert answer.headers["traceparent"] != trace


@pytest.mark.parametrize("scopes", [[], ["customers:read"]])
async def test_a_missing_scope_is_403_and_named(
    app: FastAPI, client: httpx.AsyncClient, scopes: list[str]
) -> None:
    async with client_of(app, scopes) as other:
        answer = await other.put(f"/v1/things/{uuid4()}", json={"name": "x"})
    assert answer.status_code == 403
    assert "customers:write" in answer.json()["detail"]


async def test_missing_forged_and_expired_tokens_are_401(app: FastAPI, client: httpx.AsyncClient) -> None:
    secret = app.state.settings.internal_secret.get_secret_value()
    bad = [
        "",
        "Bearer",
        "Bearer x.y.z",
        "Basic abc",
        "Bearer " + sign("another-secret-of-at-least-32-characters", subject="x", scopes=["*"]),
        "Bearer " + sign(secret, subject="x", scopes=["*"], lifetime_s=-1),
    ]
    for header in bad:
        answer = await client.get("/v1/things", headers={"Authorization": header})
        assert answer.status_code == 401, header
        assert answer.headers["www-authenticate"] == "Bearer"


async def test_if_match_missing_is_428_and_stale_is_412(client: httpx.AsyncClient) -> None:
    path, body = f"/v1/things/{uuid4()}", {"name": "x"}
    assert (await client.patch(path, json=body)).status_code == 428
    assert (await client.patch(path, json=body, headers={"If-Match": '"v6"'})).status_code == 412
    assert (await client.patch(path, json=body, headers={"If-Match": "nonsense"})).status_code == 412
    assert (await client.patch(path, json=body, headers={"If-Match": '"v7"'})).status_code == 200


async def test_idempotency_replays_refuses_and_needs_a_key(client: httpx.AsyncClient) -> None:
    key = {"Idempotency-Key": "k1"}
    assert (await client.post("/v1/things", json={"name": "a"})).status_code == 428
    first = await client.post("/v1/things", json={"name": "a"}, headers=key)
    again = await client.post("/v1/things", json={"size": 0, "name": "a"}, headers=key)
    other = await client.post("/v1/things", json={"name": "b"}, headers=key)
    assert (first.status_code, again.status_code, other.status_code) == (201, 201, 422)
    assert first.content == again.content
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"
    assert other.json()["type"] == "/problems/idempotency-key-reused"
    assert (await client.get("/v1/things")).json()["items"] == ["a"]


async def test_a_refused_request_does_not_use_up_its_key(client: httpx.AsyncClient) -> None:
    key = {"Idempotency-Key": "k1"}
    assert (await client.post("/v1/things", json={"name": "taken"}, headers=key)).status_code == 409
    assert (await client.post("/v1/things", json={"name": "free"}, headers=key)).status_code == 201


async def test_concurrent_requests_with_one_key_have_one_effect(client: httpx.AsyncClient) -> None:
    answers = await asyncio.gather(
        *(client.post("/v1/things", json={"name": "a"}, headers={"Idempotency-Key": "k"}) for _ in range(20))
    )
    assert {a.status_code for a in answers} <= {201, 409}
    assert (await client.get("/v1/things")).json()["items"] == ["a"]


async def test_pages_follow_the_cursor_and_refuse_a_foreign_one(client: httpx.AsyncClient) -> None:
    for name in "abcde":
        await client.post("/v1/things", json={"name": name}, headers={"Idempotency-Key": name})
    seen, cursor = [], ""
    while cursor is not None:
        page = (
            await client.get("/v1/things", params={"limit": 2, **({"cursor": cursor} if cursor else {})})
        ).json()
        seen += page["items"]
        cursor = page["next_cursor"]
    assert sorted(seen) == list("abcde")
    for cursor in ("%00", "abc", "WzEyMyw0NTZd", "////", "é"):
        answer = await client.get("/v1/things", params={"cursor": cursor})
        assert answer.status_code == 400, cursor
    assert (await client.get("/v1/things", params={"limit": 201})).status_code == 422


async def test_sections_are_read_alone_in_batches_and_walked_for_a_rebuild(client: httpx.AsyncClient) -> None:
    ids = [uuid4() for _ in range(3)]
    for number, customer_id in enumerate(ids):
        await client.put(f"/v1/things/{customer_id}", json={"name": f"n{number}"})
    one = await client.get(f"/internal/sections/{ids[0]}")
    assert one.json() == {"name": "n0"}
    assert int(one.headers["x-section-version"]) >= 1
    assert (await client.get(f"/internal/sections/{uuid4()}")).status_code == 404
    batch = await client.post("/internal/sections:batch", json={"ids": [str(i) for i in [*ids, uuid4()]]})
    assert sum(item["body"] is not None for item in batch.json()["items"]) == 3
    walked, cursor = 0, None
    while True:
        answer = await client.post(
            "/internal/sections:republish", params={"limit": 2} | ({"cursor": cursor} if cursor else {})
        )
        walked += answer.json()["marked"]
        cursor = answer.json()["next_cursor"]
        if cursor is None:
            break
    assert walked == 3


async def test_health_metrics_and_readiness(app: FastAPI, client: httpx.AsyncClient) -> None:
    assert (await client.get("/healthz")).json() == {"status": "ok"}

    async def ready() -> bool:
        return (await client.get("/readyz")).status_code == 200

    await eventually(ready)
    assert (
        'c360_dependency_up{dependency="database",service="profile"} 1.0'
        in (await client.get("/metrics")).text
    )
    app.state.bus._running = False
    answer = await client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["dependencies"]["broker"] == "away"


async def test_ids_are_version_7_in_python_and_sql_and_sort_by_time(
    app: FastAPI, client: httpx.AsyncClient
) -> None:
    from shared.ids import new_id

    made = await app.state.database.pool.fetchval("SELECT uuid7()")
    later = new_id()
    assert UUID(str(made)).version == later.version == 7
    assert abs((UUID(str(made)).int >> 80) - (later.int >> 80)) < 60_000
