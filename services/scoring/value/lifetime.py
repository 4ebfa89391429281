"""All scores of many customers at once, from facts, cuts and models. Pure: numpy in, columns out.

Deterministic to the digit that is kept: no result depends on which customers are scored together.
"""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from services.scoring.facts.histories import Floats
from services.scoring.models.serving import Serving
from services.scoring.value.rules import Cuts, fifths, segment_of, weighted

DAYS_PER_YEAR = 365.25
STEPS_PER_YEAR = 12
PROBABILITY_DIGITS = 4
PURCHASES_DIGITS = 4


@dataclass(frozen=True, slots=True)
class FactColumns:
    """Facts of n customers as columns of shape (n,). Times are days; money is minor units of `currency`.

    `repeat_spend` is before refunds, as the models of spend are.
    """

    customer_ids: list[UUID]
    days: Floats
    since_last: Floats
    span: Floats
    age: Floats
    currency: NDArray[Any]
    spend: Floats
    currency_days: Floats
    repeat_days: Floats
    repeat_spend: Floats
    mixed: NDArray[np.bool_]
    later: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Terms:
    """What lifetime value means here: how far ahead, discounted how, and which share of spend counts."""

    horizon_days: int
    discount_rate: float
    margin: float


@dataclass(frozen=True, slots=True)
class Scores:
    """Scores of n customers as columns; None where not known, `unknown` says why (`what.why`, by commas)."""

    recency: list[int | None]
    frequency: list[int | None]
    monetary: list[int | None]
    segment: list[str | None]
    weighted: list[float | None]
    p_alive: list[float | None]
    expected_purchases: list[float | None]
    clv: list[int | None]
    purchase_kind: str
    purchase_model: list[int | None]
    spend_model: list[int | None]
    unknown: list[str]


def score(facts: FactColumns, cuts: Cuts, models: Serving, terms: Terms) -> Scores:
    """Score everyone in the columns."""
    n = len(facts.customer_ids)
    buyers = facts.days > 0
    rfm, cut = _rfm(facts, cuts, buyers)
    p_alive, expected, discounted = _purchases(facts, models, terms, buyers)
    clv, spend_version = _value(facts, models, terms, discounted)
    modelled, spend_modelled = ~np.isnan(p_alive), spend_version > 0
    one = facts.days == 1
    reasons = {
        "rfm.no_purchases": ~buyers,
        "p_alive.no_purchases": ~buyers,
        "expected_purchases.no_purchases": ~buyers,
        "clv.no_purchases": ~buyers,
        "purchases.later": facts.later,
        "rfm.few_buyers": buyers & ~cut,
        "p_alive.no_model": buyers & ~modelled,
        "expected_purchases.no_model": buyers & ~modelled,
        "clv.no_model": buyers & ~modelled,
        "clv.no_spend_model": buyers & modelled & ~spend_modelled,
        "p_alive.one_purchase": modelled
        & one
        & (models.purchases is not None and models.purchases.kind == "bg_nbd"),
        "clv.no_repeat_spend": spend_modelled & modelled & (facts.repeat_days == 0),
        "clv.other_currencies": spend_modelled & modelled & facts.mixed,
    }
    version = models.purchases.version if models.purchases else 0
    kind = models.purchases.kind if models.purchases else "bg_nbd"
    return Scores(
        recency=_whole(rfm[0], cut),
        frequency=_whole(rfm[1], cut),
        monetary=_whole(rfm[2], cut),
        segment=[segment_of(*rfm[:, i].tolist()) if cut[i] else None for i in range(n)],
        weighted=_rounded(np.where(cut, weighted(rfm, cuts.weights), np.nan), PROBABILITY_DIGITS),
        p_alive=_rounded(p_alive, PROBABILITY_DIGITS),
        expected_purchases=_rounded(expected, PURCHASES_DIGITS),
        clv=_whole(np.rint(np.nan_to_num(clv)).astype(np.int64), ~np.isnan(clv)),
        purchase_kind=kind,
        purchase_model=_whole(np.full(n, version), modelled),
        spend_model=_whole(spend_version, spend_modelled & modelled),
        unknown=_join(reasons, n),
    )


def _rfm(
    facts: FactColumns, cuts: Cuts, buyers: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """R, F and M, shape (3, n), and whom they hold for."""
    scores = np.zeros((3, buyers.size), dtype=np.int64)
    known = np.zeros(buyers.size, dtype=bool)
    if cuts.recency is None or cuts.frequency is None:
        return scores, known
    scores[0] = 6 - fifths(facts.since_last, cuts.recency)
    scores[1] = fifths(facts.days, cuts.frequency)
    for currency, points in cuts.monetary.items():
        theirs = buyers & (facts.currency == currency)
        scores[2, theirs] = fifths(facts.spend[theirs], points)
        known |= theirs
    return scores, known


def _purchases(
    facts: FactColumns, models: Serving, terms: Terms, buyers: NDArray[np.bool_]
) -> tuple[Floats, Floats, Floats]:
    """P(alive), expected purchases and discounted expected purchases; NaN where not known."""
    p_alive, expected, discounted = np.full((3, buyers.size), np.nan)
    model = models.purchases
    if model is None or not buyers.any():
        return p_alive, expected, discounted
    x = facts.days[buyers] - 1
    span, age = facts.span[buyers] / model.unit_days, facts.age[buyers] / model.unit_days
    p_alive[buyers] = model.params.p_alive(x, span, age)
    steps, factors = discount_steps(terms)
    reached = model.params.expected_purchases(steps / model.unit_days, x, span, age)
    expected[buyers] = reached[:, -1]
    discounted[buyers] = present_value(reached, factors)
    return p_alive, expected, discounted


def discount_steps(terms: Terms) -> tuple[Floats, Floats]:
    """Ends of about monthly steps up to the horizon, in days, and their discount factors, both (m,)."""
    count = max(1, round(terms.horizon_days / DAYS_PER_YEAR * STEPS_PER_YEAR))
    ends = terms.horizon_days * np.arange(1, count + 1, dtype=np.float64) / count
    factors: Floats = (1 + terms.discount_rate) ** (-ends / DAYS_PER_YEAR)
    return ends, factors


def present_value(reached: Floats, factors: Floats) -> Floats:
    """Expected purchases, each weighted by the discount factor of the step it falls in, shape (n,).

    Args:
        reached: purchases expected by the end of each step, shape (n, m).
        factors: the discount factor of each step, shape (m,).
    """
    # sum of d_k (E_k - E_{k-1}) = sum of (d_k - d_{k+1}) E_k
    present: Floats = (reached * (factors - np.append(factors[1:], 0.0))).sum(axis=1)
    return present


def _value(
    facts: FactColumns, models: Serving, terms: Terms, discounted: Floats
) -> tuple[Floats, NDArray[np.int64]]:
    """Lifetime value in minor units (NaN where not known), and the version of the spend model (0: none).

    Expected spend per purchase, net of refunds and cost, × discounted expected purchases, for the share of
    the customer's purchase days that were in their main currency.
    """
    value = np.full(discounted.size, np.nan)
    versions = np.zeros(discounted.size, dtype=np.int64)
    for currency, model in models.spend.items():
        theirs = (facts.currency == currency) & (facts.days > 0)
        if not theirs.any():
            continue
        versions[theirs] = model.version
        repeats = facts.repeat_days[theirs]
        mean = facts.repeat_spend[theirs] / np.maximum(repeats, 1)
        spend = model.params.expected_spend(repeats, mean)
        # Days that saw two currencies count for both, so the share is capped.
        share = np.minimum(facts.currency_days[theirs] / facts.days[theirs], 1.0)
        value[theirs] = model.kept(terms.margin) * spend * discounted[theirs] * share
    return value, versions


def _whole(values: NDArray[np.int64], known: NDArray[np.bool_]) -> list[int | None]:
    return [v if k else None for v, k in zip(values.tolist(), known.tolist(), strict=True)]


def _rounded(values: Floats, digits: int) -> list[float | None]:
    return [None if v != v else v for v in np.round(values, digits).tolist()]  # noqa: PLR0124


def _join(reasons: dict[str, NDArray[np.bool_]], n: int) -> list[str]:
    """Codes that hold for each customer, joined by commas; equal sets share one string."""
    names = list(reasons)
    masks = np.zeros(n, dtype=np.int64)
    for bit, holds in enumerate(reasons.values()):
        masks |= holds.astype(np.int64) << bit
    words = {
        mask: ",".join(name for bit, name in enumerate(names) if mask >> bit & 1)
        for mask in np.unique(masks).tolist()
    }
    return [words[mask] for mask in masks.tolist()]
