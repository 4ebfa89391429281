"""The loyalty API: every body of the contract as written, and each kind of refusal a caller can get."""

import asyncio
import csv
import io
from collections import Counter
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import httpx
import pytest

from services.loyalty.app import create_app
from services.loyalty.ledger import routes
from services.loyalty.ledger.schemas import TransferOut
from services.loyalty.settings import LoyaltySettings
from shared.clock import utc_now
from tests.loyalty.points import Ledger
from tests.support.apps import client_of, running


async def post(client: httpx.AsyncClient, path: str, body: Any, key: str | None = None) -> httpx.Response:
    return await client.post(path, json=body, headers={"Idempotency-Key": key or str(uuid4())})


async def member_with(client: httpx.AsyncClient, points: int) -> UUID:
    customer_id = uuid4()
    answer = await post(client, f"/v1/loyalty/{customer_id}/earnings", {"points": points, "reason": "start"})
    assert answer.status_code == 201, answer.text
    return customer_id


def is_problem(answer: httpx.Response, status: int, slug: str) -> bool:
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    body = answer.json()
    assert body["status"] == answer.status_code
    assert (answer.status_code, body["type"]) == (status, f"/problems/{slug}"), answer.text
    return True


async def test_a_redemption_is_answered_as_the_contract_says(client: httpx.AsyncClient) -> None:
    member = await member_with(client, 1200)
    answer = await post(
        client, f"/v1/loyalty/{member}/redemptions", {"points": 500, "reason": "voucher"}, "k"
    )
    assert answer.status_code == 201
    assert answer.headers["content-type"] == "application/json"
    assert set(answer.json()) == {"transfer_id", "points", "balance"}
    assert (answer.json()["points"], answer.json()["balance"]) == (500, 700)
    assert "Idempotency-Replayed" not in answer.headers


async def test_a_repeat_replays_the_first_answer(client: httpx.AsyncClient) -> None:
    member = await member_with(client, 600)
    path, body = f"/v1/loyalty/{member}/redemptions", {"points": 500, "reason": "voucher"}
    first = await post(client, path, body, "k")
    again = await post(client, path, body, "k")
    assert (again.status_code, again.json()) == (201, first.json())
    assert again.headers["Idempotency-Replayed"] == "true"


async def test_too_few_points(client: httpx.AsyncClient) -> None:
    member = await member_with(client, 100)
    answer = await post(client, f"/v1/loyalty/{member}/redemptions", {"points": 500, "reason": "voucher"})
    assert is_problem(answer, 409, "insufficient-points")
    assert answer.json()["balance"] == 100


async def test_a_used_key_with_another_body_or_member(client: httpx.AsyncClient) -> None:
    member, other = await member_with(client, 100), await member_with(client, 100)
    body = {"points": 10, "reason": "voucher"}
    await post(client, f"/v1/loyalty/{member}/redemptions", body, "k")
    more = await post(client, f"/v1/loyalty/{member}/redemptions", body | {"points": 11}, "k")
    assert is_problem(more, 422, "idempotency-key-reused")
    elsewhere = await post(client, f"/v1/loyalty/{other}/redemptions", body, "k")
    assert is_problem(elsewhere, 422, "idempotency-key-reused")


async def test_callers_do_not_share_keys(settings: LoyaltySettings) -> None:
    app = create_app(settings)
    async with running(app) as client, client_of(app, subject="another") as another:
        member = await member_with(client, 100)
        for caller in (client, another):
            await post(caller, f"/v1/loyalty/{member}/redemptions", {"points": 10}, "k")
        assert (await client.get(f"/v1/loyalty/{member}")).json()["balance"] == 80


async def test_a_redemption_without_a_key(client: httpx.AsyncClient) -> None:
    answer = await client.post(f"/v1/loyalty/{uuid4()}/redemptions", json={"points": 5})
    assert is_problem(answer, 428, "precondition-required")


async def test_a_redemption_of_an_unknown_customer(client: httpx.AsyncClient) -> None:
    answer = await post(client, f"/v1/loyalty/{uuid4()}/redemptions", {"points": 5})
    assert is_problem(answer, 404, "unknown-member")


@pytest.mark.parametrize("path", ["redemptions", "earnings"])
@pytest.mark.parametrize("media_type", [None, "text/plain", "application/jsonx"])
async def test_a_body_that_is_not_sent_as_json_is_refused(
    client: httpx.AsyncClient, path: str, media_type: str | None
) -> None:
    headers = {"Idempotency-Key": uuid4().hex} | ({"Content-Type": media_type} if media_type else {})
    answer = await client.post(
        f"/v1/loyalty/{uuid4()}/{path}", content=b'{"points": 5, "reason": "voucher"}', headers=headers
    )
    assert is_problem(answer, 422, "invalid")
    assert "Content-Type: application/json" in answer.json()["errors"][0]["detail"]


@pytest.mark.parametrize("points", [0, -5, 2**53, 2**63, 10**30, 1.5, "5", True, None])
@pytest.mark.parametrize("path", ["redemptions", "earnings"])
async def test_amounts_that_do_not_fit(client: httpx.AsyncClient, path: str, points: Any) -> None:
    answer = await post(client, f"/v1/loyalty/{uuid4()}/{path}", {"points": points, "reason": "r"})
    assert is_problem(answer, 422, "invalid")
    assert answer.json()["errors"][0]["pointer"] == "/points"


@pytest.mark.parametrize("points", [0, 2**53, -(2**53), 0.5])
async def test_adjustments_that_do_not_fit(client: httpx.AsyncClient, points: Any) -> None:
    answer = await post(client, f"/v1/loyalty/{uuid4()}/adjustments", {"points": points, "reason": "r"})
    assert is_problem(answer, 422, "invalid")


@pytest.mark.parametrize("body", [{}, {"points": 5, "extra": 1}, {"points": 5, "reason": "\u0000"}, [], None])
async def test_bodies_that_do_not_fit(client: httpx.AsyncClient, body: Any) -> None:
    assert is_problem(await post(client, f"/v1/loyalty/{uuid4()}/redemptions", body), 422, "invalid")


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("GET", "/v1/loyalty/{id}", "loyalty:write"),
        ("GET", "/v1/loyalty/{id}/entries", "loyalty:write"),
        ("GET", "/v1/loyalty/{id}/lots", "loyalty:write"),
        ("POST", "/v1/loyalty/{id}/redemptions", "loyalty:read"),
        ("POST", "/v1/loyalty/{id}/earnings", "loyalty:write"),
        ("POST", "/v1/loyalty/{id}/adjustments", "loyalty:write"),
        ("POST", "/v1/transfers/{id}/reverse", "loyalty:write"),
        ("GET", "/v1/loyalty/liability", "loyalty:write"),
        ("GET", "/v1/loyalty/audit", "loyalty:read"),
    ],
)
async def test_each_route_wants_its_scope(
    settings: LoyaltySettings, method: str, path: str, scope: str
) -> None:
    app = create_app(settings)
    async with running(app), client_of(app, scopes=[scope]) as caller:
        answer = await caller.request(
            method,
            path.format(id=uuid4()),
            headers={"Idempotency-Key": "k"},
            json={"points": 1, "reason": "r"},
        )
        assert is_problem(answer, 403, "forbidden")
        stranger = await caller.request(
            method, path.format(id=uuid4()), headers={"Authorization": "Bearer x"}
        )
        assert stranger.status_code == 401


async def test_the_member_is_shown_with_everything(client: httpx.AsyncClient) -> None:
    member = uuid4()
    soon = (utc_now() + timedelta(days=9)).replace(microsecond=0)
    for points, expires_at in ((300, None), (100, soon.isoformat()), (20, soon.isoformat())):
        body = {"points": points, "reason": "gift", "expires_at": expires_at}
        await post(client, f"/v1/loyalty/{member}/earnings", body)
    await post(client, f"/v1/loyalty/{member}/redemptions", {"points": 50, "reason": "voucher"})
    shown = (await client.get(f"/v1/loyalty/{member}")).json()
    recent = shown.pop("recent")
    assert shown.pop("tier")["next"] == {"name": "silver", "missing": 500_000}
    assert shown == {
        "balance": 370,
        "pending": 0,
        "held": 0,
        "owed": 0,
        "lifetime": {"earned": 420, "spent": 50},
        "next_expiry": {"points": 70, "expires_at": soon.isoformat()},
    }
    assert [(entry["kind"], entry["points"], entry["balance"]) for entry in recent] == [
        ("redemption", -50, 370),
        ("earning", 20, 420),
        ("earning", 100, 400),
        ("earning", 300, 300),
    ]
    assert recent[1]["arithmetic"] == "20 given"


async def test_an_unknown_member(client: httpx.AsyncClient) -> None:
    for path in ("", "/entries", "/lots"):
        assert is_problem(await client.get(f"/v1/loyalty/{uuid4()}{path}"), 404, "unknown-member")


async def test_the_statement_runs_back_page_by_page(client: httpx.AsyncClient) -> None:
    member = await member_with(client, 100)
    for n in range(1, 6):
        await post(client, f"/v1/loyalty/{member}/redemptions", {"points": n, "reason": f"gift {n}"})
    seen: list[dict[str, Any]] = []
    cursor = None
    while True:
        params = {"limit": 4} | ({"cursor": cursor} if cursor else {})
        answer = (await client.get(f"/v1/loyalty/{member}/entries", params=params)).json()
        seen += answer["items"]
        cursor = answer["next_cursor"]
        if cursor is None:
            break
    assert [entry["points"] for entry in seen] == [-5, -4, -3, -2, -1, 100]
    assert [entry["balance"] for entry in seen] == [85, 90, 94, 97, 99, 100]
    assert seen[0]["reason"] == "gift 5"


async def test_the_lots_are_listed_in_the_order_they_are_spent(client: httpx.AsyncClient) -> None:
    member = await member_with(client, 7)
    day = utc_now() + timedelta(days=1)
    for n in (3, 1, 2):
        body = {"points": 10 + n, "reason": "gift", "expires_at": (day + timedelta(days=n)).isoformat()}
        await post(client, f"/v1/loyalty/{member}/earnings", body)
    await post(client, f"/v1/loyalty/{member}/redemptions", {"points": 12, "reason": "voucher"})
    first = (await client.get(f"/v1/loyalty/{member}/lots", params={"limit": 2})).json()
    rest = (
        await client.get(f"/v1/loyalty/{member}/lots", params={"limit": 2, "cursor": first["next_cursor"]})
    ).json()
    assert [(lot["points"], lot["remaining"]) for lot in first["items"]] == [(12, 11), (13, 13)]
    assert [(lot["points"], lot["expires_at"]) for lot in rest["items"]] == [(7, None)]
    assert rest["next_cursor"] is None


@pytest.mark.parametrize("cursor", ["x", "WyJhIl0", "Wy0xXQ", "W3RydWVd", "WzFlMzBd"])
@pytest.mark.parametrize("what", ["entries", "lots"])
async def test_cursors_that_we_did_not_give(client: httpx.AsyncClient, what: str, cursor: str) -> None:
    member = await member_with(client, 7)
    answer = await client.get(f"/v1/loyalty/{member}/{what}", params={"cursor": cursor})
    assert is_problem(answer, 400, "invalid-cursor")


async def test_an_operator_adjusts_both_ways(client: httpx.AsyncClient) -> None:
    member = uuid4()
    path = f"/v1/loyalty/{member}/adjustments"
    assert (await post(client, path, {"points": 70, "reason": "goodwill"})).json()["balance"] == 70
    assert (await post(client, path, {"points": -30, "reason": "mistake"})).json()["balance"] == 40
    assert is_problem(await post(client, path, {"points": -41, "reason": "r"}), 409, "insufficient-points")
    shown = (await client.get(f"/v1/loyalty/{member}")).json()
    assert shown["lifetime"] == {"earned": 0, "spent": 0}


async def test_an_earning_lies_in_the_past_and_expires_after_it(client: httpx.AsyncClient) -> None:
    path = f"/v1/loyalty/{uuid4()}/earnings"
    body = {"points": 5, "reason": "r"}
    future = await post(client, path, body | {"occurred_at": (utc_now() + timedelta(days=1)).isoformat()})
    assert is_problem(future, 422, "invalid")
    assert future.json()["errors"][0]["pointer"] == "/occurred_at"
    gone = await post(client, path, body | {"expires_at": (utc_now() - timedelta(days=1)).isoformat()})
    assert gone.json()["errors"][0]["pointer"] == "/expires_at"


async def test_a_transfer_is_reversed_once(client: httpx.AsyncClient) -> None:
    member = await member_with(client, 100)
    spent = await post(client, f"/v1/loyalty/{member}/redemptions", {"points": 60, "reason": "voucher"})
    path = f"/v1/transfers/{spent.json()['transfer_id']}/reverse"
    undone = await post(client, path, {"reason": "returned"}, "k")
    assert (undone.status_code, undone.json()["points"], undone.json()["balance"]) == (201, 60, 100)
    again = await post(client, path, {"reason": "returned"}, "k")
    assert again.json() == undone.json()
    assert is_problem(await post(client, path, {}), 409, "already-reversed")
    reversal = f"/v1/transfers/{undone.json()['transfer_id']}/reverse"
    assert is_problem(await post(client, reversal, {}), 409, "not-reversible")
    assert is_problem(await post(client, f"/v1/transfers/{uuid4()}/reverse", {}), 404, "unknown-transfer")


async def test_what_callers_put_into_their_keys_is_not_kept(
    client: httpx.AsyncClient, ledger: Ledger
) -> None:
    member = await member_with(client, 100)
    named, path = f"cart of {member}", f"/v1/loyalty/{member}"
    spent = await post(client, f"{path}/redemptions", {"points": 10}, named)
    again = await post(client, f"{path}/redemptions", {"points": 10}, named)
    assert again.json() == spent.json()
    for what, points in (("holds", 10), ("earnings", 1), ("adjustments", 2)):
        answer = await post(
            client, f"{path}/{what}", {"points": points, "reason": "r"}, f"{what} of {member}"
        )
        assert answer.status_code == 201
    kept = "SELECT count(*) FROM transfers WHERE idempotency_key LIKE '%' || $1 || '%'"
    assert await ledger.pool.fetchval(kept, str(member)) == 0


async def test_a_transfer_is_told_with_all_that_explains_it(
    client: httpx.AsyncClient, ledger: Ledger
) -> None:
    member = await member_with(client, 100)
    earned = (await client.get(f"/v1/loyalty/{member}/entries")).json()["items"][0]["transfer_id"]
    spent = await post(client, f"/v1/loyalty/{member}/redemptions", {"points": 60, "reason": "voucher"})
    path = f"/v1/transfers/{spent.json()['transfer_id']}"
    undone = await post(client, f"{path}/reverse", {"reason": "returned"})
    await ledger.seal_all()

    told = (await client.get(path)).json()
    assert (told["kind"], told["points"], told["reason"], told["actor"]) == (
        "redemption",
        60,
        "voucher",
        "test",
    )
    assert (told["rule"], told["arithmetic"], told["event_id"]) == (None, None, None)
    assert (told["reverses"], told["reversed"]) == (None, 60)
    house = {"customer_id": None, "partner_id": None, "balance": None}
    assert told["entries"] == [
        {
            "account": "available",
            "customer_id": str(member),
            "partner_id": None,
            "points": -60,
            "balance": 40,
        },
        {"account": "issuer", "points": 60} | house,
    ]
    lot = {"account": "available", "earned_by": earned, "points": -60, "expires_at": None}
    assert told["lots"] == [lot]
    assert (told["seal"]["position"], len(told["seal"]["hash"])) == (2, 64)
    back = (await client.get(f"/v1/transfers/{undone.json()['transfer_id']}")).json()
    assert (back["reverses"], back["lots"][0]["points"]) == (told["transfer_id"], 60)
    assert set(back) == set(TransferOut.model_fields)
    first = (await client.get(f"/v1/transfers/{earned}")).json()
    assert (first["rule"], first["arithmetic"]) == ("operator", "100 given")
    assert is_problem(await client.get(f"/v1/transfers/{uuid4()}"), 404, "unknown-transfer")
    assert is_problem(await client.get("/v1/transfers/x"), 422, "invalid")


async def test_a_reversal_needs_no_body(client: httpx.AsyncClient) -> None:
    member = await member_with(client, 100)
    spent = await post(client, f"/v1/loyalty/{member}/redemptions", {"points": 60})
    path = f"/v1/transfers/{spent.json()['transfer_id']}/reverse"
    assert (await client.post(path, headers={"Idempotency-Key": "k"})).status_code == 201


async def test_the_liability_is_the_sum_of_balances_and_of_the_months(client: httpx.AsyncClient) -> None:
    await member_with(client, 100)
    body = {
        "points": 40,
        "reason": "gift",
        "occurred_at": "2026-01-01T00:00:00Z",
        "expires_at": "2031-02-28T23:59:59Z",
    }
    other = uuid4()
    await post(client, f"/v1/loyalty/{other}/earnings", body)
    await post(client, f"/v1/loyalty/{other}/redemptions", {"points": 15})
    told = (await client.get("/v1/loyalty/liability")).json()
    period = told.pop("period")
    assert told == {
        "points": 125,
        "cost": {"amount": 125, "currency": "CNY"},
        "by_expiry": [
            {"month": "2031-02", "points": 25, "cost": 25},
            {"month": None, "points": 100, "cost": 100},
        ],
        "expected_breakage": 0,
    }
    moved = {"earned": 140, "spent": 15, "expired": 0, "adjusted": 0, "reversed": 0}
    assert {key: value for key, value in period.items() if key not in {"from", "to"}} == {
        "opening": 0,
        **moved,
        "closing": 125,
    }
    wrong = await client.get("/v1/loyalty/liability?from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z")
    assert is_problem(wrong, 422, "invalid")
    long_ago = (await client.get("/v1/loyalty/liability?from=2025-12-01&to=2026-01-01")).json()
    assert (long_ago["period"]["from"], long_ago["period"]["closing"]) == ("2025-12-01T00:00:00Z", 0)
    for beyond in ("0001-01-01", "0001-01-01T00:00:00Z", "9999-12-31"):
        assert is_problem(await client.get(f"/v1/loyalty/liability?to={beyond}"), 422, "invalid")


@pytest.mark.parametrize(("statement_timeout_ms", "answer_within_s"), [(100, 12), (30_000, 0.1)])
async def test_an_audit_and_a_liability_that_take_too_long_say_what_to_do(
    settings: LoyaltySettings,
    pool: asyncpg.Pool,
    monkeypatch: pytest.MonkeyPatch,
    statement_timeout_ms: int,
    answer_within_s: float,
) -> None:
    monkeypatch.setattr(routes, "ANSWER_WITHIN_S", answer_within_s)
    hurried = settings.model_copy(update={"statement_timeout_ms": statement_timeout_ms})
    async with running(create_app(hurried)) as client, pool.acquire() as other, other.transaction():
        await other.execute("LOCK TABLE lots IN ACCESS EXCLUSIVE MODE")
        audit = await client.get("/v1/loyalty/audit")
        liability = await client.get("/v1/loyalty/liability")
    assert is_problem(audit, 409, "audit-took-too-long")
    assert "c360 doctor ledger" in audit.json()["detail"]
    assert is_problem(liability, 409, "liability-took-too-long")


async def test_a_checkout_holds_points_and_captures_some_of_them(client: httpx.AsyncClient) -> None:
    member = await member_with(client, 100)
    path, body = f"/v1/loyalty/{member}/holds", {"points": 60, "reason": "checkout 7"}
    held = await post(client, path, body, "k")
    assert (held.status_code, held.json()["points"], held.json()["balance"]) == (201, 60, 40)
    again = await post(client, path, body, "k")
    assert (again.json(), again.headers["Idempotency-Replayed"]) == (held.json(), "true")
    assert is_problem(await post(client, path, body), 409, "insufficient-points")
    assert is_problem(await post(client, path, body | {"points": 0}), 422, "invalid")
    assert is_problem(await post(client, path, body | {"points": 2**53}), 422, "invalid")
    late = await post(client, path, body | {"expires_at": "2020-01-01T00:00:00Z"})
    assert late.json()["errors"][0]["pointer"] == "/expires_at"
    shown = (await client.get(f"/v1/loyalty/{member}")).json()
    assert (shown["balance"], shown["pending"], shown["held"]) == (40, 0, 60)

    hold = f"/v1/holds/{held.json()['hold_id']}"
    assert is_problem(await post(client, f"{hold}/capture", {"points": 61}), 409, "more-than-held")
    captured = await post(client, f"{hold}/capture", {"points": 45, "reason": "voucher"}, "c")
    assert (captured.status_code, captured.json()["points"], captured.json()["balance"]) == (201, 45, 55)
    assert (await post(client, f"{hold}/capture", {"points": 45, "reason": "voucher"}, "c")).headers[
        "Idempotency-Replayed"
    ] == "true"
    assert is_problem(await post(client, f"{hold}/release", {}), 409, "hold-closed")
    assert is_problem(await post(client, f"/v1/holds/{uuid4()}/release", {}), 404, "unknown-hold")
    other = await post(client, path, {"points": 5})
    released = await client.post(
        f"/v1/holds/{other.json()['hold_id']}/release", headers={"Idempotency-Key": "r"}
    )
    assert (released.status_code, released.json()["balance"]) == (201, 55)


async def test_the_statement_names_the_lots_and_is_also_csv(client: httpx.AsyncClient) -> None:
    member = await member_with(client, 100)
    spent = await post(client, f"/v1/loyalty/{member}/redemptions", {"points": 30, "reason": "=HYPERLINK(1)"})
    await post(client, f"/v1/loyalty/{member}/holds", {"points": 20})
    path = f"/v1/loyalty/{member}/entries"
    lines = (await client.get(path)).json()["items"]
    assert [line["points"] for line in lines] == [-20, -30, 100]
    earned_by = lines[-1]["transfer_id"]
    assert [line["lots"] for line in lines[1:]] == [
        [{"earned_by": earned_by, "points": points, "expires_at": None}] for points in (-30, 100)
    ]
    held = (await client.get(f"{path}?account=held")).json()["items"]
    assert [(line["kind"], line["points"], line["balance"]) for line in held] == [("hold", 20, 20)]
    assert (await client.get(f"{path}?account=pending")).json()["items"] == []

    as_csv = await client.get(path, headers={"Accept": "text/csv"})
    assert as_csv.headers["content-type"].startswith("text/csv")
    assert as_csv.text == (await client.get(f"{path}?format=csv")).text
    rows = list(csv.DictReader(io.StringIO(as_csv.text)))
    assert [row["points"] for row in rows] == ["-20", "-30", "100"]
    assert rows[1]["reason"] == "'=HYPERLINK(1)"
    assert rows[1]["transfer_id"] == spent.json()["transfer_id"]
    assert rows[1]["lots"] == f"{earned_by} -30, expires never"
    assert is_problem(await client.get(f"/v1/loyalty/{uuid4()}/entries?format=csv"), 404, "unknown-member")


async def test_the_audit_of_a_sound_and_of_a_broken_ledger(client: httpx.AsyncClient, ledger: Ledger) -> None:
    member = await member_with(client, 100)
    sound = (await client.get("/v1/loyalty/audit")).json()
    assert sound["sound"]
    assert sound["first_difference"] is None
    await ledger.pool.execute("UPDATE accounts SET balance = 101 WHERE owner = $1", member)
    broken = (await client.get("/v1/loyalty/audit")).json()
    assert not broken["sound"]
    assert broken["first_difference"] == {
        "check": "every balance is the sum of its entries",
        "subject": "account 100",
        "expected": "100",
        "found": "101",
    }


async def test_200_identical_requests_at_once_are_one_transfer_and_199_replays(
    client: httpx.AsyncClient,
) -> None:
    member = await member_with(client, 1000)
    path, body = f"/v1/loyalty/{member}/redemptions", {"points": 100, "reason": "voucher"}
    answers = await asyncio.gather(*(post(client, path, body, "k") for _ in range(200)))
    assert Counter(answer.status_code for answer in answers) == {201: 200}
    assert len({answer.text for answer in answers}) == 1
    assert sum("Idempotency-Replayed" in answer.headers for answer in answers) == 199
    assert (await client.get(f"/v1/loyalty/{member}")).json()["balance"] == 900


async def test_200_requests_on_a_balance_for_10_succeed_10_times(client: httpx.AsyncClient) -> None:
    member = await member_with(client, 1000)
    path, body = f"/v1/loyalty/{member}/redemptions", {"points": 100, "reason": "voucher"}
    answers = await asyncio.gather(*(post(client, path, body) for _ in range(200)))
    assert Counter(answer.status_code for answer in answers) == {201: 10, 409: 190}
    assert (await client.get(f"/v1/loyalty/{member}")).json()["balance"] == 0
