"""`c360 points` and `c360 coupons` against a running system."""

import asyncio
import json
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from typer.testing import CliRunner, Result

from infra.cli import app
from tests.e2e.test_road import SIGN_UP, a_purchase, registered, view_shows
from tests.support.system import System

pytestmark = [pytest.mark.processes, pytest.mark.broker]


@pytest.fixture
def operator(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("C360_URL", system.url)
    monkeypatch.setenv("C360_KEY", system.key)


async def c360(line: str) -> Result:
    return await asyncio.to_thread(CliRunner().invoke, app, line.split())


@pytest.mark.usefixtures("operator")
async def test_an_operator_sees_what_a_member_has_and_why(client: httpx.AsyncClient) -> None:
    customer_id, person = await registered(client)
    email = person["email"]
    await client.post("/v1/purchases", json=a_purchase({"id": customer_id}, amount=12_900))
    await view_shows(
        client, customer_id, lambda body: (body["loyalty"] or {}).get("balance") == SIGN_UP + 129
    )

    shown = await c360(f"points show {email}")
    assert shown.exit_code == 0, shown.output
    assert f"{SIGN_UP + 129} points\ntier regular; 4871.00 CNY more to silver" in shown.stdout
    member = json.loads((await c360(f"points show {customer_id} --json")).stdout)
    assert [lot["remaining"] for lot in member["lots"]] == [SIGN_UP, 129]

    told = await c360(f"points statement {email} --limit 2")
    assert "floor(129.00 CNY × 1) = 129" in told.stdout
    lines = json.loads((await c360(f"points statement {customer_id} --limit 2 --json")).stdout)
    assert [line["points"] for line in lines] == [129, SIGN_UP]
    assert (await c360(f"points statement {customer_id} --account held")).stdout == "nothing was posted\n"
    assert "should be 'available'" in str((await c360(f"points statement {email} --account x")).exception)

    owed = json.loads((await c360("points liability --json")).stdout)
    assert owed["points"] >= SIGN_UP + 129
    summary = (await c360("points liability")).stdout
    assert f"{owed['points']:,} points outstanding, at a cost of " in summary
    assert "minor" not in summary
    assert "holds this" in str((await c360("points show nobody@example.org")).exception)


@pytest.mark.usefixtures("operator")
async def test_codes_are_made_watched_and_written_once_each(
    client: httpx.AsyncClient, tmp_path: Path
) -> None:
    made = await client.post(
        "/v1/coupon-campaigns",
        json={"name": "spring", "percent": "10", "uses_per_code": 1},
        headers={"Idempotency-Key": uuid4().hex},
    )
    campaign, file = made.json()["id"], tmp_path / "codes.txt"
    issued = await c360(f"coupons issue {campaign} 2500 --file {file}")
    assert issued.exit_code == 0, issued.output
    codes = file.read_text(encoding="ascii").splitlines()
    assert len(codes) == len(set(codes)) == 2500

    issue = issued.stderr.split("issue ", 1)[1].split()[0]
    again = await c360(f"coupons export {issue}")
    assert again.stdout.splitlines() == codes
    refused = await c360(f"coupons issue {uuid4()} 10")
    assert (refused.exit_code, "404" in str(refused.exception)) == (1, True)
