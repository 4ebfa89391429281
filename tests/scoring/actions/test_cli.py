"""`c360 score budget` against a gateway that answers as the contract says."""

import json
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from typer.testing import CliRunner, Result

from services.scoring.cli import app

WAITING = {"id": str(uuid4()), "status": "running", "progress": "waiting", "failure": None}
DONE = WAITING | {
    "status": "done",
    "request": {"budget": 1000, "currency": "CNY"},
    "outcome": {
        "spend": 900,
        "actions": [
            {
                "kind": "apology",
                "chosen": 9,
                "capacity": 10,
                "eligible": 12,
                "spend": 900,
                "gain": 81.5,
                "shadow_price": 0.0,
            }
        ],
        "treated": 9,
        "hold_out": 3,
        "eligible": 12,
        "considered": 40,
        "other_currency": 0,
        "solver": "Optimization terminated successfully.",
        "gap": 0.0,
        "words": ["one more CNY of budget would bring 3.10 of gain"],
    },
}


def run(line: str) -> Result:
    return CliRunner().invoke(app, ["budget", *line.split()])


def test_a_plan_is_asked_for_watched_and_printed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[dict[str, Any]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            asked.append(json.loads(request.read()))
            if asked[-1]["budget"] == 0:
                wrong = [{"pointer": "/budget", "detail": "must be more"}]
                return httpx.Response(422, json={"title": "Some fields do not fit", "errors": wrong})
            return httpx.Response(202, json=WAITING)
        if request.headers["Accept"] == "text/csv":
            return httpx.Response(200, content=b"customer_id,arm\n")
        failed = WAITING | {"status": "failed", "failure": "It was stopped after 300 s."}
        return httpx.Response(200, json=failed if asked[-1]["seed"] == "bad" else DONE)

    made = httpx.Client
    transport = httpx.MockTransport(answer)
    monkeypatch.setattr(httpx, "Client", lambda **given: made(**given, transport=transport))
    monkeypatch.setattr("services.scoring.actions.budgets.cli.POLL_S", 0)
    monkeypatch.setenv("C360_KEY", "k")

    shown = run("1000 --action apology:10 --action call::5 --weight value=2 --weight risk=1 --hold-out 0.25")
    assert shown.exit_code == 0, shown.output
    assert "9 customers get an action, 3 are held out" in shown.stdout.replace("\n", " ")
    assert "would bring 3.10 of gain" in shown.stdout
    assert asked[0]["actions"] == [{"kind": "apology", "capacity": 10}, {"kind": "call", "cost": 5}]
    assert asked[0]["priorities"] == {"weights": {"value": 2.0, "risk": 1.0}}
    out = tmp_path / "plan.csv"
    assert json.loads(run(f"1000 --action call --json --csv {out}").stdout) == DONE
    assert out.read_text() == "customer_id,arm\n"
    for line, words in (
        ("0 --action call", "/budget must be more"),
        ("9 --action call --seed bad", "It was stopped after 300 s."),
        ("9 --action call:x", "KIND:CAPACITY"),
        ("9 --action call --weight value", "PRIORITY=NUMBER"),
    ):
        refused = run(line)
        assert refused.exit_code == 1
        assert words in refused.stderr
