"""Scores in words and numbers. Pure."""

from collections.abc import Mapping
from datetime import date
from typing import Any

import numpy as np

from services.scoring.facts.histories import DAYS_PER_UNIT, Unit
from services.scoring.models.catalogue import purchases_by
from services.scoring.models.estimation import Estimate
from services.scoring.models.gamma_gamma import GammaGamma
from services.scoring.models.serving import SpendModel
from services.scoring.models.store import kind_of
from services.scoring.tables import CustomerFacts, CustomerScores, Model, Typical, ValueIndex
from services.scoring.value.lifetime import Terms
from services.scoring.value.rules import Cuts
from services.scoring.value.schemas import Explained
from services.scoring.value.worth import Buyers, Fitted, standard_errors


def explain(
    facts: CustomerFacts,
    scores: CustomerScores,
    *,
    cuts: Cuts,
    purchases: Model | None,
    spend: Model | None,
    terms: Terms,
) -> list[Explained]:
    """What each known score says and what it was computed from; scores that are not known are left out."""
    explained = []
    if facts.first_on is not None and facts.last_on is not None:
        explained.append(_explain_rfm(facts, scores, cuts, facts.last_on))
        if purchases is not None:
            explained += _explain_purchases(facts, scores, purchases, facts.first_on, facts.last_on)
        if purchases is not None and spend is not None and scores.clv is not None:
            explained.append(_explain_value(facts, scores, purchases, spend, terms))
    return explained


def _explain_rfm(facts: CustomerFacts, scores: CustomerScores, cuts: Cuts, last_on: date) -> Explained:
    since = (scores.as_of - last_on).days
    words = (
        f"Last bought {_count(since, 'day')} before {scores.as_of}, on {_count(facts.days, 'day')} in all, "
        f"for {facts.spend} minor units of {facts.currency} net of refunds."
    )
    if scores.segment is not None:
        words += (
            f" Among all buyers that is recency {scores.recency_score}, frequency {scores.frequency_score} "
            f"and money {scores.monetary_score} of 5, which names the segment {scores.segment}."
        )
    return Explained(
        score="rfm",
        value=scores.segment,
        words=words,
        numbers={
            "recency_days": since,
            "frequency": facts.days,
            "monetary": facts.spend,
            "currency": facts.currency,
            "cuts": {
                "recency_days": cuts.recency,
                "frequency": cuts.frequency,
                "monetary": cuts.monetary.get(facts.currency or ""),
            },
        },
    )


def _explain_purchases(
    facts: CustomerFacts, scores: CustomerScores, model: Model, first_on: date, last_on: date
) -> list[Explained]:
    unit = unit_of(model)
    scale = DAYS_PER_UNIT[unit]
    x = facts.days - 1
    recency, age = (last_on - first_on).days / scale, (scores.as_of - first_on).days / scale
    history: dict[str, Any] = {
        "x": x,
        "recency": round(recency, 4),
        "age": round(age, 4),
        "unit": unit,
        "params": model.params,
        "model": f"{model.kind}/{model.version}",
        "window": [str(model.window_from), str(model.window_to)],
    }
    behaviour = (
        f"{_count(x, 'repeat purchase')} in the {recency:.1f} {unit}s after the first, "
        f"then nothing for {age - recency:.1f} {unit}s"
    )
    if x == 0:
        behaviour = f"No repeat purchase in the {age:.1f} {unit}s since the first"
    alive = f"{behaviour}: the chance that they still buy is {scores.p_alive or 0:.0%}."
    if x == 0 and model.kind == "bg_nbd":
        alive += " The model says so of everyone with a single purchase."
    predicting = purchases_by(kind_of(model)).make(**model.params)
    newcomer = float(predicting.expected_purchases(scores.horizon_days / scale, 0, 0, 0)[0])
    ahead = (
        f"Expected to buy on {scores.expected_purchases or 0:.2f} days in the next {scores.horizon_days} "
        f"days; a new customer on {newcomer:.2f}."
    )
    return [
        Explained(score="p_alive", value=scores.p_alive, words=alive, numbers=history),
        Explained(
            score="expected_purchases",
            value=scores.expected_purchases,
            words=ahead,
            numbers={"horizon_days": scores.horizon_days, "new_customer": round(newcomer, 4)},
        ),
    ]


def _explain_value(
    facts: CustomerFacts, scores: CustomerScores, purchases: Model, model: Model, terms: Terms
) -> Explained:
    params = GammaGamma(**model.params)
    margin = terms.margin if model.cost_rate is None else 1 - model.cost_rate
    repeats, spent = facts.repeat_days or 0, _repeat_spend(facts)
    own = spent / repeats if repeats else None
    expected = float(params.expected_spend(repeats, own or 0.0)[0])
    basis = (
        f"their {_count(repeats, 'repeat purchase')} averaged {own:.0f}, "
        f"those of all customers {params.population_mean:.0f}"
        if own is not None
        else f"all customers' average is {params.population_mean:.0f}, nothing is known of their own"
    )
    error = _standard_error(facts, scores, (purchases, model), terms)
    uncertain = (
        f" As the models are estimates it may be {error:.0f} more or less." if error is not None else ""
    )
    return Explained(
        score="clv",
        value=scores.clv,
        words=(
            f"A purchase is expected to be worth {expected:.0f} minor units of {facts.currency} ({basis}). "
            f"With the expected purchases of the next {scores.horizon_days} days, discounted by "
            f"{terms.discount_rate:.0%} a year, less {model.refund_rate:.1%} refunds, at a margin of "
            f"{margin:.0%}, that is {scores.clv}." + uncertain
        ),
        numbers={
            "expected_spend": round(expected, 2),
            "own_mean": None if own is None else round(own, 2),
            "population_mean": round(params.population_mean, 2),
            "standard_error": None if error is None else round(error, 2),
            "discount_rate": terms.discount_rate,
            "margin": round(margin, 4),
            "refund_rate": round(model.refund_rate, 4),
            "params": model.params,
            "model": f"{model.kind}/{model.version}",
            "window": [str(model.window_from), str(model.window_to)],
        },
    )


def _standard_error(
    facts: CustomerFacts, scores: CustomerScores, models: tuple[Model, Model], terms: Terms
) -> float | None:
    """Of the lifetime value, in minor units; None for models whose covariance was not kept."""
    buyer = buyer_of(facts, scores, models[0])
    if buyer is None or not all(model.covariance for model in models):
        return None
    purchases, spend = models
    fitted = Fitted(
        purchases_by(kind_of(purchases)).make,
        _estimate(purchases),
        _estimate(spend),
        DAYS_PER_UNIT[unit_of(purchases)],
    )
    return kept_share(facts, spend, terms) * float(standard_errors(fitted, buyer, terms)[0])


def buyer_of(facts: CustomerFacts, scores: CustomerScores, purchases: Model) -> Buyers | None:
    """The customer's history in the unit of a model, as the models of value take it; None without one."""
    if facts.first_on is None or facts.last_on is None:
        return None
    scale = DAYS_PER_UNIT[unit_of(purchases)]
    repeats = facts.repeat_days or 0
    return Buyers(
        np.array([facts.days - 1.0]),
        np.array([(facts.last_on - facts.first_on).days / scale]),
        np.array([(scores.as_of - facts.first_on).days / scale]),
        np.array([float(repeats)]),
        np.array([_repeat_spend(facts) / max(repeats, 1)]),
    )


def kept_share(facts: CustomerFacts, spend: Model, terms: Terms) -> float:
    """What a lifetime value is multiplied by for refunds and costs, and for other currencies."""
    share = min((facts.currency_days or 0) / facts.days, 1.0)
    kept = SpendModel(0, GammaGamma(**spend.params), spend.refund_rate, spend.cost_rate).kept(terms.margin)
    return share * kept / terms.margin


def unit_of(purchases: Model) -> Unit:
    """The unit of time of a model of purchases."""
    return "day" if purchases.unit == "day" else "week"


def explain_typical(typical: Typical, *, instead_of: str) -> Explained:
    """What stands in where no model says anything of a customer: the mean of others, said to be that."""
    whom = (
        f"the {typical.customers} customers of the segment {typical.segment}"
        if typical.segment
        else (f"all {typical.customers} customers who have bought")
    )
    how = "" if typical.modelled else " No model has been fitted, so plain rates of the past stand for it."
    return Explained(
        score="typical",
        value=typical.clv,
        words=(
            f"No model says anything of this customer ({instead_of}). On the average {whom} are expected to "
            f"buy on {typical.expected_purchases:.2f} days in the next {typical.horizon_days} days, which is "
            f"worth {typical.clv} minor units of {typical.currency}.{how}"
        ),
        numbers={
            "customers": typical.customers,
            "p_alive": typical.p_alive,
            "expected_purchases": typical.expected_purchases,
            "clv": typical.clv,
            "currency": typical.currency,
            "as_of": str(typical.as_of),
        },
    )


def explain_value_index(index: ValueIndex, weights: Mapping[str, float]) -> Explained:
    """What a customer's value index is made of, and what moved it last."""
    worst, best = (choose(index.parts, key=lambda part: index.parts[part]) for choose in (min, max))
    words = (
        f"{index.value:.2f} of 1, which is {index.grade}. Best is {_plain(best)}, in which "
        f"{index.parts[best]:.0%} of all customers do worse; worst is {_plain(worst)} with "
        f"{index.parts[worst]:.0%}."
    )
    if index.moved is not None and index.moved_by is not None:
        words += f" It last changed by {index.moved_by:+.2f}, mostly for {_plain(index.moved)}."
    return Explained(
        score="value_index",
        value=index.value,
        words=words,
        numbers={
            "grade": index.grade,
            "parts": index.parts,
            "weights": {part: round(weight, 4) for part, weight in weights.items()},
            "moved": None if index.moved is None else {"part": index.moved, "by": index.moved_by},
        },
    )


def explain_interval(repeats: int, low: float, high: float) -> Explained:
    """What came of fitting the models again and again to customers drawn anew."""
    return Explained(
        score="clv_interval",
        value=[round(low), round(high)],
        words=(
            f"Of {repeats} times that the models were fitted to customers drawn anew, 95 % gave a lifetime "
            f"value between {low:.0f} and {high:.0f}."
        ),
        numbers={"low": round(low, 2), "high": round(high, 2), "repeats": repeats, "share": 0.95},
    )


def _plain(part: str) -> str:
    return part.replace("_", " ")


def _repeat_spend(facts: CustomerFacts) -> int:
    """Before refunds, once the facts know it."""
    return (facts.repeat_spend if facts.repeat_gross is None else facts.repeat_gross) or 0


def _estimate(model: Model) -> Estimate:
    """As it was fitted; jsonb does not keep the order of names, which the covariance is in."""
    names = GammaGamma.names if model.kind == "gamma_gamma" else purchases_by(kind_of(model)).names
    return Estimate(
        {name: model.params[name] for name in names},
        model.standard_errors,
        model.log_likelihood,
        model.customers,
        0,
        tuple(tuple(row) for row in model.covariance),
    )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")
