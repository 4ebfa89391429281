"""API keys through the real door: made, used, expired, revoked, and what they may."""

from datetime import timedelta
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from gateway.edge.store import ensure_operator
from shared.clock import utc_now
from tests.gateway.edge.conftest import StartGateway
from tests.gateway.edge.doors import OPERATOR, caller
from tests.support.apps import eventually


async def make(operator: httpx.AsyncClient, **body: Any) -> dict[str, Any]:
    answer = await operator.post("/v1/admin/keys", json={"name": "shop", "role": "agent"} | body)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def test_the_key_is_shown_once_and_stored_hashed(operator: httpx.AsyncClient, gateway: FastAPI) -> None:
    made = await make(operator)
    assert made["key"].startswith(f"c360_{made['prefix']}_")
    listed = (await operator.get("/v1/admin/keys")).json()["items"]
    assert [item["name"] for item in listed] == ["shop", "bootstrap"]
    assert all("key" not in item and "key_hash" not in item for item in listed)
    rows = await gateway.state.database.pool.fetch("SELECT api_keys::text AS everything FROM api_keys")
    assert all(made["key"].rsplit("_", 1)[1] not in row["everything"] for row in rows)


@pytest.mark.parametrize("style", ["bearer", "x-api-key"])
async def test_both_headers_are_taken(gateway: FastAPI, style: str) -> None:
    headers = {"X-API-Key": OPERATOR} if style == "x-api-key" else {"Authorization": f"bearer {OPERATOR}"}
    async with caller(gateway, None) as client:
        assert (await client.get("/v1/admin/keys", headers=headers)).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer c360_0123456789_" + "0" * 64},
        {"Authorization": "Basic dXNlcjpwYXNz"},
        {"Authorization": "Bearer " + "x" * 500},
        {"Authorization": f"Bearer {OPERATOR}", "X-API-Key": "another"},
        {"X-API-Key": "\xff\xfe"},
    ],
)
async def test_nobody_else_gets_in(gateway: FastAPI, headers: dict[str, str]) -> None:
    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    async with caller(gateway, None) as client:
        answer = await client.get("/v1/admin/keys", headers=raw)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.json()["type"] == "/problems/unauthenticated"


async def test_an_internal_token_is_no_key(gateway: FastAPI) -> None:
    from tests.support.apps import bearer

    async with caller(gateway, None) as client:
        answer = await client.get("/v1/admin/keys", headers=bearer(gateway.state.settings))
    assert answer.status_code == 401


async def test_a_missing_scope_is_named(operator: httpx.AsyncClient, gateway: FastAPI) -> None:
    made = await make(operator, role="analyst")
    async with caller(gateway, made["key"]) as analyst:
        answer = await analyst.get("/v1/admin/keys")
    assert answer.status_code == 403
    assert "admin" in answer.json()["detail"]


async def test_a_revoked_key_is_refused_at_once(operator: httpx.AsyncClient, gateway: FastAPI) -> None:
    made = await make(operator, role="operator")
    async with caller(gateway, made["key"]) as other:
        assert (await other.get("/v1/admin/keys")).status_code == 200
        assert (await operator.delete(f"/v1/admin/keys/{made['id']}")).status_code == 204
        assert (await other.get("/v1/admin/keys")).status_code == 401
    assert (await operator.delete(f"/v1/admin/keys/{made['id']}")).status_code == 204
    listed = (await operator.get("/v1/admin/keys")).json()["items"]
    assert listed[0]["revoked_at"] is not None


async def test_a_key_revoked_elsewhere_stops_within_the_cache_time(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(key_cache_s=0.05)
    pool = gateway.state.database.pool
    async with caller(gateway) as client:
        assert (await client.get("/v1/admin/keys")).status_code == 200
        await pool.execute("UPDATE api_keys SET revoked_at = now()")

        async def refused() -> bool:
            return (await client.get("/v1/admin/keys")).status_code == 401

        await eventually(refused, within_s=2)


async def test_an_expired_key_is_refused_even_while_remembered(
    operator: httpx.AsyncClient, gateway: FastAPI
) -> None:
    soon = (utc_now() + timedelta(seconds=1)).isoformat()
    made = await make(operator, role="operator", expires_at=soon)
    async with caller(gateway, made["key"]) as other:
        assert (await other.get("/v1/admin/keys")).status_code == 200

        async def refused() -> bool:
            return (await other.get("/v1/admin/keys")).status_code == 401

        await eventually(refused, within_s=3, every_s=0.05)


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"role": "king"}, "/role"),
        ({"scopes": ["customers:read", "everything:read"]}, "/scopes"),
        ({"scopes": []}, "/scopes"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, "/expires_at"),
        ({"expires_at": "2120-01-01T00:00:00"}, "/expires_at"),
        ({"role": "partner"}, "/partner"),
        ({"role": "partner", "partner": "nobody"}, "/partner"),
        ({"name": ""}, "/name"),
        ({"admin": True}, "/admin"),
    ],
)
async def test_bad_fields_are_named(operator: httpx.AsyncClient, body: dict[str, Any], pointer: str) -> None:
    answer = await operator.post("/v1/admin/keys", json={"name": "shop", "role": "agent"} | body)
    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]


async def test_nobody_hands_out_more_than_they_have(operator: httpx.AsyncClient, gateway: FastAPI) -> None:
    clerk = await make(operator, role="agent", scopes=["admin", "tickets:read"])
    async with caller(gateway, clerk["key"]) as client:
        assert (
            await client.post("/v1/admin/keys", json={"name": "n", "role": "operator"})
        ).status_code == 403
        narrow = {"name": "n", "role": "agent", "scopes": ["tickets:read"]}
        assert (await client.post("/v1/admin/keys", json=narrow)).status_code == 201


async def test_pages_of_keys_join_up(operator: httpx.AsyncClient) -> None:
    for number in range(4):
        await make(operator, name=f"key {number}")
    names, cursor = [], None
    while True:
        query = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        page = (await operator.get("/v1/admin/keys", params=query)).json()
        names += [item["name"] for item in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert names == ["key 3", "key 2", "key 1", "key 0", "bootstrap"]


async def test_last_use_is_written_down(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(key_used_every_s=0.05)
    async with caller(gateway) as client:

        async def noted() -> Any:
            return (await client.get("/v1/admin/keys")).json()["items"][0]["last_used_at"]

        await eventually(noted, within_s=3)


async def test_a_first_operator_key_is_made_once(
    start_gateway: StartGateway, capsys: pytest.CaptureFixture[str]
) -> None:
    gateway = await start_gateway(bootstrap_key=None)
    said = capsys.readouterr().out
    assert said.startswith("operator key, shown once: c360_")
    async with caller(gateway, said.split()[-1]) as client:
        assert (await client.get("/v1/admin/keys")).status_code == 200
    assert await ensure_operator(gateway.state.database.pool, None) is None


async def test_a_revoked_bootstrap_key_stays_revoked(gateway: FastAPI) -> None:
    pool = gateway.state.database.pool
    await pool.execute("UPDATE api_keys SET revoked_at = now()")
    await ensure_operator(pool, OPERATOR)
    assert await pool.fetchval("SELECT count(*) FROM api_keys WHERE revoked_at IS NULL") == 0
