"""`c360 score`: the figures of contracts.md, and what bad files and numbers get."""

import json
from datetime import date, timedelta
from pathlib import Path

import httpx
import numpy as np
import pytest
from typer.testing import CliRunner, Result

from services.scoring.cli import app
from tests.scoring.cdnow import SAMPLE, needs_sample

PUBLISHED = '{"r": 0.243, "alpha": 4.414, "a": 0.793, "b": 2.426}'


def run(line: str, params: str | None = None) -> Result:
    """Run a command line; `params` is one argument however many spaces it has."""
    return CliRunner().invoke(app, line.split() + ([] if params is None else ["--params", params]))


@needs_sample
def test_fit_prints_the_published_figures_as_json() -> None:
    result = run(
        f"fit --csv {SAMPLE} --format cdnow-sample --model bg_nbd --calibration-end 1997-09-30 "
        "--unit week --json"
    )
    assert result.exit_code == 0, result.output
    answer = json.loads(result.stdout)
    assert set(answer) == {"model", "params", "log_likelihood", "customers", "unit"}
    assert (answer["model"], answer["customers"], answer["unit"]) == ("bg_nbd", 2357, "week")
    assert {k: round(v, 3) for k, v in answer["params"].items()} == json.loads(PUBLISHED)
    assert round(answer["log_likelihood"], 1) == -9582.4


@needs_sample
def test_fit_prints_a_table_for_people() -> None:
    result = run(f"fit --csv {SAMPLE} --format cdnow-sample")
    assert result.exit_code == 0, result.output
    assert "alpha" in result.stdout
    assert "2357 customers" in result.stdout


def test_predict_prints_expectation_and_p_alive() -> None:
    result = run("predict --model bg_nbd --json --x 26 --recency 30.857 --age 31 --horizon 52", PUBLISHED)
    assert result.exit_code == 0, result.output
    answer = json.loads(result.stdout)
    assert set(answer) == {"expected_purchases", "p_alive"}
    assert answer["expected_purchases"] == pytest.approx(25.76, abs=0.005)
    assert answer["p_alive"] == pytest.approx(0.9688, abs=5e-5)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("--x 2 --recency 9 --age 5 --horizon 1", "more than"),
        ("--x 1 --recency 1 --age inf --horizon 1", "finite"),
    ],
)
def test_numbers_that_are_no_history_are_refused(arguments: str, words: str) -> None:
    result = run(f"predict {arguments}", PUBLISHED)
    assert result.exit_code == 1
    assert words in result.stderr


@pytest.mark.parametrize("params", ["", "[]", '{"r": 1}', '{"r": 0, "alpha": 1, "a": 1, "b": 1}'])
def test_parameters_that_do_not_fit_are_refused(params: str) -> None:
    result = run("predict --x 1 --recency 1 --age 5 --horizon 1", params)
    assert result.exit_code == 1
    assert "param" in result.stderr


def test_csv_is_read_by_its_header(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    path = tmp_path / "log.csv"
    lines = ["amount,customer_id,date,note"]
    for customer, mean in enumerate(2000 / rng.gamma(5, 1, 300)):
        for day in rng.choice(300, size=1 + rng.poisson(3), replace=False):
            on = date(2026, 1, 1) + timedelta(days=int(day))
            lines.append(f"{rng.gamma(4, mean / 4):.2f},c{customer},{on}T09:00:00Z,x")
    path.write_text("\n".join(lines))
    result = run(f"fit --csv {path} --unit day --model gamma_gamma --json")
    assert result.exit_code == 0, result.output
    answer = json.loads(result.stdout)
    assert answer["params"]["p"] == pytest.approx(4, rel=0.3)
    assert answer["customers"] > 250


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("customer_id,date\nc1,yesterday\n", "Line 2: 'yesterday' is not a date"),
        ("customer_id,date,amount\nc1,2026-01-01,-5\n", "Line 2: the amount -5 is negative"),
        ("customer_id,date,amount\nc1,2026-01-01,nan\n", "negative or not finite"),
        ("customer_id,date,amount\n,2026-01-01,5\n", "names no customer"),
        ("customer_id,date\nc1,2999-01-01\n", "Line 2: 2999-01-01 lies in the future"),
        (
            "customer_id,date,amount,currency\nc1,2026-01-01,5,CNY\nc1,2026-01-02,5,EUR\n",
            "Line 3 is in EUR, those before in CNY: fit one currency.",
        ),
        ("who,when\n", "header needs the columns"),
        (
            "customer_id,date\nc1,2026-01-01\n",
            "Too few customers to fit a model: Customers who have bought: 1. A fit needs at least 10.",
        ),
        ("customer_id,date\n", "Too few customers"),
    ],
)
def test_a_bad_file_is_one_sentence(tmp_path: Path, content: str, words: str) -> None:
    path = tmp_path / "log.csv"
    path.write_text(content)
    result = run(f"fit --csv {path} --json")
    assert result.exit_code == 1
    assert words in result.stderr
    assert result.stderr.count("\n") == 1


def test_all_one_time_buyers_are_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text("customer_id,date\n" + "".join(f"c{n},2026-01-{1 + n % 28:02}\n" for n in range(90)))
    result = run(f"fit --csv {path}")
    assert result.exit_code == 1
    assert "Nobody bought a second time" in result.stderr


def test_a_rebuild_without_a_gateway_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("C360_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("C360_KEY", "k")
    result = run("rebuild")
    assert result.exit_code == 1
    assert "does not answer" in result.stderr


@needs_sample
@pytest.mark.parametrize(
    ("model", "names", "log_likelihood"),
    [("pareto_nbd", ["r", "alpha", "s", "beta"], -9595.0), ("mbg_nbd", ["r", "alpha", "a", "b"], -9582.1)],
)
def test_other_models_have_the_names_of_the_literature(
    model: str, names: list[str], log_likelihood: float
) -> None:
    result = run(
        f"fit --csv {SAMPLE} --format cdnow-sample --model {model} --calibration-end 1997-09-30 --json"
    )
    answer = json.loads(result.stdout)
    assert list(answer["params"]) == names
    assert round(answer["log_likelihood"], 1) == log_likelihood


@pytest.mark.parametrize(
    ("arguments", "params", "expected"),
    [
        (
            "--model pareto_nbd --x 26 --recency 30.857 --age 31 --horizon 52",
            '{"r": 0.5533, "alpha": 10.5777, "s": 0.6062, "beta": 11.6687}',
            {"expected_purchases": 25.46, "p_alive": 0.998},
        ),
        (
            "--model bg_bb --x 4 --recency 5 --age 6 --horizon 10",
            '{"alpha": 1.2035, "beta": 0.7497, "gamma": 0.6567, "delta": 2.7834}',
            {"expected_purchases": 3.63, "p_alive": 0.697},
        ),
        (
            "--model gamma_gamma --x 2 --mean 22.35",
            '{"p": 6.25, "q": 3.74, "gamma": 15.44}',
            {"expected_spend": 24.66},
        ),
        (
            "--model shifted_beta_geometric --age 7 --horizon 5",
            '{"alpha": 0.668, "beta": 3.806}',
            {"expected_renewals": 4.258, "p_retained": 0.773},
        ),
    ],
)
def test_every_model_predicts(arguments: str, params: str, expected: dict[str, float]) -> None:
    result = run(f"predict {arguments} --json", params)
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout) == pytest.approx(expected, rel=2e-3)


def test_occasions_and_periods_must_be_whole() -> None:
    params = '{"alpha": 1.2, "beta": 0.7, "gamma": 0.6, "delta": 2.7}'
    result = run("predict --model bg_bb --x 1 --recency 1.5 --age 6 --horizon 2", params)
    assert (result.exit_code, "whole numbers" in result.stderr) == (1, True)
    result = run("predict --model shifted_beta_geometric --age 1 --horizon 1e9", '{"alpha": 1, "beta": 2}')
    assert (result.exit_code, "no more than" in result.stderr) == (1, True)


def test_cohorts_are_read_from_csv(tmp_path: Path) -> None:
    path = tmp_path / "cohorts.csv"
    sizes = (1000, 869, 743, 653, 593, 551, 517, 491)
    path.write_text("period,customers\n" + "".join(f"{n},{size}\n" for n, size in enumerate(sizes)))
    answer = json.loads(run(f"fit --csv {path} --model shifted_beta_geometric --json").stdout)
    assert {k: round(v, 3) for k, v in answer["params"].items()} == {"alpha": 0.668, "beta": 3.806}
    path.write_text("customers\n10\nmany\n")
    assert "Line 3: 'many'" in run(f"fit --csv {path} --model shifted_beta_geometric").stderr


@needs_sample
def test_evaluate_prints_tables_and_draws(tmp_path: Path) -> None:
    chart = tmp_path / "chart.svg"
    line = f"evaluate --csv {SAMPLE} --format cdnow-sample --calibration-end 1997-09-30 --chart {chart}"
    result = run(line)
    assert result.exit_code == 0, result.output
    assert "heuristic" in result.stdout
    assert "0.7855" in result.stdout
    assert "shifted_beta_geometric is of subscribers" in result.stdout
    assert chart.read_text().startswith("<svg")
    assert run(f"{line} --until 1997-10-02").exit_code == 1


@needs_sample
def test_value_says_what_a_customer_is_worth() -> None:
    line = f"value --csv {SAMPLE} --format cdnow-sample --calibration-end 1997-09-30 --margin 0.3 --json"
    answer = json.loads(run(f"{line} --customer 0001").stdout)
    assert answer["historic_value"] == pytest.approx(0.3 * 74.02)
    assert answer["standard_error"] > 0
    assert "no purchase of nobody" in run(f"{line} --customer nobody").stderr


def test_models_are_listed_promoted_and_taken_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Against a gateway that answers as the service's contract says."""
    model = {
        "name": "bg_nbd/2",
        "serving": True,
        "currency": None,
        "log_likelihood": -9582.4,
        "quality": {"rms_error": 1.35, "heuristic_error": 1.02},
        "promotion": "promoted: rms error 1.35 on the hold-out, bg_nbd/1 1.4",
        "drift": {"drifting": True},
    }
    asked: list[tuple[str, str, bytes]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append((request.method, request.url.path, request.read()))
        if request.url.path.endswith(":rollback"):
            return httpx.Response(409, json={"title": "No", "detail": "bg_nbd/2 replaced no model."})
        return httpx.Response(200, json={"items": [model]} if request.method == "GET" else model)

    made = httpx.Client
    transport = httpx.MockTransport(answer)
    monkeypatch.setattr(httpx, "Client", lambda **given: made(**given, transport=transport))
    monkeypatch.setenv("C360_KEY", "k")
    assert json.loads(run("models --json").stdout) == [model]
    assert "yes" in run("models").stdout
    assert run("refit bg_nbd").stdout.startswith("bg_nbd/2: promoted")
    assert json.loads(run("promote bg_nbd 2 --json").stdout)["name"] == "bg_nbd/2"
    refused = run("rollback bg_nbd")
    assert (refused.exit_code, "replaced no model" in refused.stderr) == (1, True)
    assert [line[:2] for line in asked[2:]] == [
        ("POST", "/v1/models/bg_nbd:fit"),
        ("POST", "/v1/models/bg_nbd:promote"),
        ("POST", "/v1/models/bg_nbd:rollback"),
    ]
    assert json.loads(asked[3][2]) == {"version": 2}
    assert run("promote crystal_ball 2").exit_code == 2
