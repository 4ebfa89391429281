"""Partners: admitted, rotated, shut out."""

from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from tests.gateway.edge.doors import caller
from tests.gateway.intake.conftest import Partner, StartGateway
from tests.support.apps import eventually

BODY = {"type": "feedback.created", "data": {"text": "ok"}}


async def test_the_secret_is_shown_once_and_stored_sealed(
    partner: Partner, operator: httpx.AsyncClient, gateway: FastAPI
) -> None:
    assert partner.secret.startswith("whsec_")
    listed = (await operator.get("/v1/admin/partners")).json()["items"]
    assert [(item["name"], item["scheme"], item["disabled_at"]) for item in listed] == [
        ("taobao", "standard-webhooks", None)
    ]
    assert "secret" not in str(listed)
    sealed = await gateway.state.database.pool.fetchval("SELECT sealed FROM partner_secrets")
    assert partner.secret.removeprefix("whsec_").encode() not in sealed


async def test_a_name_is_taken_once(partner: Partner, operator: httpx.AsyncClient) -> None:
    answer = await operator.post("/v1/admin/partners", json={"name": "taobao", "scheme": "standard-webhooks"})
    assert (answer.status_code, answer.json()["type"]) == (409, "/problems/partner-exists")


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"name": "Tao Bao"}, "/name"),
        ({"name": "a/b"}, "/name"),
        ({"name": "x" * 64}, "/name"),
        ({}, "/name"),
        ({"name": "jd", "scheme": "stripe"}, "/scheme"),
        ({"name": "jd", "secret": "mine"}, "/secret"),
    ],
)
async def test_bad_fields_are_named(operator: httpx.AsyncClient, body: dict[str, Any], pointer: str) -> None:
    answer = await operator.post("/v1/admin/partners", json=body)
    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]


async def test_after_a_rotation_both_secrets_verify_until_the_overlap_ends(
    start_gateway: StartGateway,
) -> None:
    gateway = await start_gateway(partner_cache_s=0)
    async with caller(gateway) as operator:
        made = (await operator.post("/v1/admin/partners", json={"name": "jd"})).json()
        jd = Partner(gateway, "jd", made["secret"])
        assert (await jd.send(BODY)).status_code == 202
        rotated = (await operator.post("/v1/admin/partners/jd/rotate")).json()
        assert rotated["secret"] != made["secret"]
        assert rotated["old_secret_until"] is not None
        assert (await jd.send(BODY)).status_code == 202
        assert (await jd.send(BODY, secret=rotated["secret"])).status_code == 202
        pool = gateway.state.database.pool
        await pool.execute("UPDATE partner_secrets SET retires_at = now() WHERE retires_at IS NOT NULL")
        assert (await jd.send(BODY)).status_code == 401
        assert (await jd.send(BODY, secret=rotated["secret"])).status_code == 202
        twice = (await operator.post("/v1/admin/partners/jd/rotate")).json()
        assert (await jd.send(BODY, secret=rotated["secret"])).status_code == 202
        assert (await jd.send(BODY, secret=twice["secret"])).status_code == 202


async def test_a_disabled_partner_is_refused_at_once_and_may_come_back(
    partner: Partner, operator: httpx.AsyncClient
) -> None:
    assert (await partner.send(BODY)).status_code == 202
    disabled = await operator.post("/v1/admin/partners/taobao/disable")
    assert disabled.json()["disabled_at"] is not None
    assert (await partner.send(BODY)).status_code == 401
    assert (await operator.post("/v1/admin/partners/taobao/enable")).json()["disabled_at"] is None
    assert (await partner.send(BODY)).status_code == 202


async def test_a_partner_disabled_elsewhere_is_refused_within_the_cache_time(
    start_gateway: StartGateway,
) -> None:
    gateway = await start_gateway(partner_cache_s=0.05)
    async with caller(gateway) as operator:
        made = (await operator.post("/v1/admin/partners", json={"name": "jd"})).json()
    jd = Partner(gateway, "jd", made["secret"])
    assert (await jd.send(BODY)).status_code == 202
    await gateway.state.database.pool.execute("UPDATE partners SET disabled_at = now()")

    async def refused() -> bool:
        return (await jd.send(BODY)).status_code == 401

    await eventually(refused, within_s=3)


async def test_what_is_not_there_is_404(operator: httpx.AsyncClient) -> None:
    for action in ("rotate", "disable", "enable"):
        assert (await operator.post(f"/v1/admin/partners/nobody/{action}")).status_code == 404


async def test_pages_of_partners_join_up(operator: httpx.AsyncClient) -> None:
    for name in ("c", "a", "b"):
        await operator.post("/v1/admin/partners", json={"name": name})
    first = (await operator.get("/v1/admin/partners?limit=2")).json()
    rest = (await operator.get("/v1/admin/partners", params={"cursor": first["next_cursor"]})).json()
    assert [p["name"] for p in first["items"] + rest["items"]] == ["a", "b", "c"]
    assert rest["next_cursor"] is None


async def test_without_a_key_for_secrets_partners_are_refused_with_the_reason(
    start_gateway: StartGateway,
) -> None:
    gateway = await start_gateway(webhook_secret_key=None)
    async with caller(gateway) as operator:
        answer = await operator.post("/v1/admin/partners", json={"name": "jd"})
    assert answer.status_code == 503
    assert "C360_WEBHOOK_SECRET_KEY" in answer.json()["detail"]
