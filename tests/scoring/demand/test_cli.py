"""`c360 score demand` against a gateway that answers as the service's contract says."""

import json

import httpx
import pytest
from typer.testing import CliRunner

from services.scoring.cli import app

RANGE = {"expected": 12.34, "low": 6.0, "high": 20.0, "actual": None}
ANSWER = {
    "made_on": "2026-07-01",
    "segment": "all",
    "currency": "CNY",
    "purchase_model": "bg_nbd/1",
    "past": [],
    "forecast": [
        {"week_from": "2026-07-02", "week_to": "2026-07-08", "purchases": RANGE, "revenue": None},
    ],
    "tracked": {"purchases": {"weeks": 4, "coverage": 0.75, "bias": 0.1}},
    "unknown": [{"what": "new customers", "why": "they are not in it"}],
}


def test_the_forecast_is_made_printed_and_its_record_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append((request.method, str(request.url.raw_path, "ascii")))
        return httpx.Response(201 if request.method == "POST" else 200, json=ANSWER)

    made = httpx.Client
    monkeypatch.setattr(httpx, "Client", lambda **given: made(**given, transport=httpx.MockTransport(answer)))
    monkeypatch.setenv("C360_KEY", "k")
    shown = CliRunner().invoke(app, ["demand", "--make", "4", "--currency", "CNY"]).stdout
    assert asked == [("POST", "/v1/demand:forecast"), ("GET", "/v1/demand?segment=all&currency=CNY")]
    assert "2026-07-02" in shown
    assert "12.3" in shown
    assert "75%" in shown
    assert "+10.0%" in shown
    assert json.loads(CliRunner().invoke(app, ["demand", "--json"]).stdout) == ANSWER
