"""Scores of many customers from facts, cuts and models."""

from uuid import UUID

import numpy as np
import pytest

from services.scoring.models.bg_nbd import BgNbd
from services.scoring.models.gamma_gamma import GammaGamma
from services.scoring.models.serving import PurchaseModel, Serving, SpendModel
from services.scoring.value.lifetime import FactColumns, Scores, Terms, discount_steps, score
from services.scoring.value.rules import Cuts

CUTS = Cuts((10, 30, 90, 200), (1, 1, 2, 4), {"CNY": (1000, 2000, 5000, 9000)})
PURCHASES = PurchaseModel(3, 7, BgNbd(0.243, 4.414, 0.793, 2.426))
MODELS = Serving(PURCHASES, {"CNY": SpendModel(2, GammaGamma(6.25, 3.74, 1544.0))})
TERMS = Terms(365, 0.1, 1.0)


def columns(*customers: dict[str, object]) -> FactColumns:
    """Customers who bought on three days over 70 of the last 100, mainly in CNY, unless said otherwise."""
    usual = {
        "days": 3,
        "since_last": 30,
        "span": 70,
        "age": 100,
        "currency": "CNY",
        "spend": 6000,
        "currency_days": 3,
        "repeat_days": 2,
        "repeat_spend": 4000,
        "mixed": False,
        "later": False,
    }
    rows = [usual | customer for customer in customers]
    kinds = {"currency": object, "mixed": bool, "later": bool}
    arrays = {name: np.array([row[name] for row in rows], dtype=kinds.get(name, float)) for name in usual}
    return FactColumns([UUID(int=n) for n in range(len(rows))], **arrays)


NOTHING: dict[str, object] = dict.fromkeys(
    ("days", "since_last", "span", "age", "spend", "currency_days", "repeat_days", "repeat_spend"), 0
) | {"currency": None}


def one(models: Serving = MODELS, cuts: Cuts = CUTS, terms: Terms = TERMS, **facts: object) -> Scores:
    return score(columns(facts), cuts, models, terms)


def test_a_customer_with_everything_known_has_all_scores() -> None:
    scores = one()
    assert (scores.recency, scores.frequency, scores.monetary) == ([4], [4], [4])
    assert scores.segment == ["loyal_customers"]
    assert scores.p_alive[0] == pytest.approx(PURCHASES.params.p_alive(2, 10, 100 / 7)[0], abs=5e-5)
    expected = PURCHASES.params.expected_purchases(365 / 7, 2, 10, 100 / 7)[0]
    assert scores.expected_purchases[0] == pytest.approx(expected, abs=5e-5)
    spend = GammaGamma(6.25, 3.74, 1544.0).expected_spend(2, 2000.0)[0]
    assert scores.clv[0] is not None
    assert 0.9 * spend * expected < scores.clv[0] < spend * expected
    assert (scores.purchase_model, scores.spend_model, scores.unknown) == ([3], [2], [""])


def test_the_time_unit_belongs_to_the_model() -> None:
    daily = PurchaseModel(3, 1, BgNbd(0.243, 4.414 * 7, 0.793, 2.426))
    assert one(Serving(daily)).p_alive == one(Serving(PURCHASES)).p_alive


def test_who_has_not_bought_has_no_scores_and_the_reason() -> None:
    scores = one(**NOTHING)
    assert scores.segment == scores.p_alive == scores.expected_purchases == scores.clv == [None]
    assert scores.recency == scores.purchase_model == scores.spend_model == [None]
    assert scores.unknown[0].startswith("rfm.no_purchases,p_alive.no_purchases")


def test_without_models_and_cuts_the_reasons_are_given() -> None:
    scores = one(Serving(), Cuts())
    assert scores.unknown == ["rfm.few_buyers,p_alive.no_model,expected_purchases.no_model,clv.no_model"]
    assert one(Serving(PURCHASES)).unknown == ["clv.no_spend_model"]
    assert one(currency="EUR").unknown == ["rfm.few_buyers,clv.no_spend_model"]


def test_a_single_purchase_is_scored_and_says_how_little_that_means() -> None:
    scores = one(days=1, span=0, currency_days=1, repeat_days=0, repeat_spend=0)
    assert scores.p_alive == [1.0]
    assert scores.unknown == ["p_alive.one_purchase,clv.no_repeat_spend"]
    assert scores.clv[0] is not None


def test_a_spend_model_alone_gives_no_value() -> None:
    scores = one(Serving(None, MODELS.spend))
    assert scores.clv == scores.spend_model == [None]
    assert "clv.no_model" in scores.unknown[0]


def test_value_counts_the_share_of_days_in_the_main_currency() -> None:
    whole, half = one().clv[0], one(currency_days=1.5, mixed=True).clv[0]
    assert whole is not None
    assert half == pytest.approx(whole / 2, abs=1)
    assert one(mixed=True).unknown == ["clv.other_currencies"]


def test_margin_and_discount_lower_the_value() -> None:
    full, discounted, thin = (one(terms=Terms(365, d, m)).clv[0] for d, m in ((0, 1), (0.3, 1), (0, 0.25)))
    assert full is not None
    assert discounted is not None
    assert thin == pytest.approx(full / 4, abs=1)
    assert 0.8 * full < discounted < full


def test_customers_are_scored_alike_whoever_they_are_scored_with() -> None:
    rng = np.random.default_rng(3)
    people: list[dict[str, object]] = [
        {
            "days": int(d),
            "span": int(d * 5),
            "age": int(d * 5 + s),
            "since_last": int(s),
            "repeat_days": int(d - 1),
            "repeat_spend": int((d - 1) * 1500),
            "currency_days": int(d),
        }
        for d, s in zip(rng.integers(1, 30, 60), rng.integers(0, 300, 60), strict=True)
    ]
    together = score(columns(*people), CUTS, MODELS, TERMS)
    for place, person in enumerate(people):
        alone = one(**person)
        assert alone.p_alive == [together.p_alive[place]]
        assert alone.expected_purchases == [together.expected_purchases[place]]
        assert alone.clv == [together.clv[place]]


def test_discount_steps_are_months_up_to_the_horizon() -> None:
    ends, factors = discount_steps(Terms(365, 0.1, 1.0))
    assert len(ends) == 12
    assert ends[-1] == 365
    assert factors[-1] == pytest.approx(1 / 1.1, rel=1e-3)
    assert discount_steps(Terms(5, 0.1, 1.0))[0].tolist() == [5.0]
