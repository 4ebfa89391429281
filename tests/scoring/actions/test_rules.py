"""Who may get which action and what it brings, against figures worked out by hand."""

from dataclasses import replace
from typing import Any
from uuid import UUID

import numpy as np
import pytest

from services.scoring.actions.rules import (
    ABSENT,
    APOLOGY,
    CALL,
    DEFAULTS,
    GRANTED,
    KINDS,
    NOTHING,
    REFERRAL,
    REFUSED,
    Obstacle,
    Policy,
    Situations,
    explain,
    judge,
)

POLICY = Policy(frozenset({"service"}), contact_limit=2, contact_days=30)
K = len(KINDS)


def situation(**known: Any) -> Situations:
    """One customer who consented to everything and was never contacted, with what is said of them."""
    plain = Situations(
        customer_ids=[UUID(int=1)],
        currency=np.array(["CNY"], dtype=object),
        worth=np.array([100_000.0]),
        modelled=np.array([True]),
        alive=np.array([0.8]),
        risk=np.array([0.2]),
        high_value=np.array([False]),
        nps=np.array([np.nan]),
        csat=np.array([np.nan]),
        mood=np.array([np.nan]),
        complaints=np.array([0]),
        recent_spend=np.array([0.0]),
        earlier_spend=np.array([0.0]),
        consent=np.full((1, K + 1), GRANTED),
        contacts=np.array([0]),
        waited=np.full((1, K), np.inf),
        standing=np.array([NOTHING]),
    )
    return replace(plain, **{name: np.array([value]) for name, value in known.items()})


@pytest.mark.parametrize(
    ("known", "gains"),
    [
        # CLV 100,000 at P(alive) 0.25: 400,000 if they stayed, of which 0.75, 300,000, is likely lost.
        ({"alive": 0.25, "risk": 0.75, "high_value": True}, {"call": 28_000, "win_back_offer": 13_500}),
        # A complaint puts all of CLV at stake: 0.08 × 100,000 - 500, and 0.10 × 100,000 - 2,000 by phone.
        ({"complaints": 1, "nps": 10.0, "high_value": True}, {"call": 8_000, "apology": 7_500}),
        ({"mood": -0.5}, {"apology": 7_500}),
        # 0.03 and 0.02 of 100,000, less 100 each.
        (
            {"recent_spend": 12_000.0, "earlier_spend": 10_000.0, "nps": 9.0},
            {"upgrade_nudge": 2_900, "ask_for_referral": 1_900},
        ),
        ({"recent_spend": 11_900.0, "earlier_spend": 10_000.0, "nps": 8.0}, {}),
        # Of 10,000 an apology keeps 800, which is 300 more than it costs; of 5,000 less than that.
        ({"mood": -0.5, "worth": 10_000.0}, {"apology": 300}),
        ({"mood": -0.5, "worth": 5_000.0}, {"apology": -100}),
        ({"mood": -0.5, "worth": np.nan}, {}),
        ({"mood": -0.5, "worth": 0.0}, {}),
    ],
)
def test_gain_is_uplift_times_what_is_at_stake_less_the_cost(
    known: dict[str, Any], gains: dict[str, float]
) -> None:
    judged = judge(situation(**known), DEFAULTS, POLICY)
    allowed = {KINDS[j]: judged.gains[0, j] for j in range(K) if judged.allowed[0, j]}
    assert allowed == pytest.approx(gains)
    worth_it = [kind for kind, gain in sorted(gains.items(), key=lambda item: -item[1]) if gain > 0]
    assert [KINDS[j] for j in judged.ranked(0)] == worth_it
    assert int(judged.best()[0]) == (KINDS.index(worth_it[0]) if worth_it else NOTHING)


def test_what_stands_against_an_action_is_said() -> None:
    consent = np.full(K + 1, GRANTED)
    consent[[CALL, K]] = REFUSED, ABSENT
    known = {"complaints": 1, "high_value": True, "consent": consent}
    about_it = judge(situation(**known), DEFAULTS, POLICY)
    assert about_it.allowed[0, CALL]  # a call about a complaint is service, whatever was said of marketing
    assert "0.1 (assumed) of 100000 at stake, less 2000" in explain(about_it, 0, CALL)
    strict = judge(situation(**known), DEFAULTS, replace(POLICY, without_consent=frozenset()))
    assert strict.obstacles[0, CALL] == Obstacle.NO_CONSENT

    catalogue = {**DEFAULTS, "call": replace(DEFAULTS["call"], enabled=False, currency="USD")}
    against = judge(
        situation(consent=consent, contacts=2, waited=[59.9, *[np.inf] * (K - 1)]), catalogue, POLICY
    )
    assert explain(against, 0, CALL)[-6:] == [
        "switched off in the catalogue",
        "not a customer of high value who may leave or has complained",
        "its cost is in USD, their value is not",
        "consent to marketing by phone was denied or withdrawn",
        "2 contacts in 30 days are the most",
        "the last time was less than 60 days ago",
    ]
    third = judge(situation(mood=-0.5, nps=9.0, contacts=1, standing=REFERRAL), DEFAULTS, POLICY)
    assert third.obstacles[0, [APOLOGY, REFERRAL]].tolist() == [Obstacle.CONTACTS, 0]
    waited = judge(situation(risk=0.9, waited=[60.0, *[np.inf] * (K - 1)]), DEFAULTS, POLICY)
    assert not waited.obstacles[0, CALL] & Obstacle.COOLDOWN


def test_what_an_experiment_measured_stands_in_for_the_assumption() -> None:
    measured = replace(DEFAULTS["apology"], measured=0.2, experiment="E-1")
    judged = judge(situation(mood=-0.5), {**DEFAULTS, "apology": measured}, POLICY)
    assert judged.gains[0, 1] == 0.2 * 100_000 - 500
    assert "0.2 (measured by E-1)" in explain(judged, 0, 1)[1]
