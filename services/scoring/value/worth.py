"""What a customer has been worth and will be, from simple sums to a model with its uncertainty. Pure.

Money is in whatever unit the amounts have; times are in days where a name says so, else in the unit of the
models. Arrays of customers have shape (n,).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from services.scoring.facts.histories import Floats, Histories, Spending
from services.scoring.models.estimation import Estimate
from services.scoring.models.gamma_gamma import GammaGamma
from services.scoring.models.purchasing import Purchasing
from services.scoring.value.lifetime import DAYS_PER_YEAR, Terms, discount_steps, present_value
from shared.problems import Conflict

STEP = 1e-4  # relative, of a derivative in a parameter
INTERVAL = (0.025, 0.975)
SEED = 20050501  # of the bootstrap: the same data give the same interval


@dataclass(frozen=True, slots=True)
class Buyers:
    """n customers: their histories, and how many repeat purchases there were of what mean value."""

    frequency: Floats
    recency: Floats
    age: Floats
    repeats: Floats
    mean: Floats


@dataclass(frozen=True, slots=True)
class Fitted:
    """A model of purchases and one of spend, as estimated, and how the first is made from parameters."""

    make: Callable[..., Purchasing]
    purchases: Estimate
    spend: Estimate
    unit_days: int


def historic_value(amounts: Floats, terms: Terms) -> float:
    """The margin that a customer's purchases have left, undiscounted."""
    return float(terms.margin * amounts.sum())


def net_present_value(amounts: Floats, days: Floats, terms: Terms) -> float:
    """The same, each purchase discounted to the day of the first: `days` are days after it."""
    factors = (1 + terms.discount_rate) ** (-days / DAYS_PER_YEAR)
    return float(terms.margin * (amounts @ factors))


def simple_value(
    average_order: float, purchases_per_year: float, lifespan_years: float, margin: float
) -> float:
    """Average order × frequency × lifespan × margin: the back of an envelope."""
    return average_order * purchases_per_year * lifespan_years * margin


def lifetime_values(
    purchases: Purchasing, spend: GammaGamma, buyers: Buyers, terms: Terms, unit_days: int
) -> Floats:
    """Discounted value within the horizon, shape (n,).

    Fader, Hardie & Lee (2005), Journal of Marketing Research 42(4), equation (2): margin × expected spend ×
    discounted expected purchases, here over about monthly steps up to the horizon.
    """
    steps, factors = discount_steps(terms)
    reached = purchases.expected_purchases(steps / unit_days, buyers.frequency, buyers.recency, buyers.age)
    value: Floats = present_value(reached, factors) * spend.expected_spend(buyers.repeats, buyers.mean)
    return terms.margin * value


def standard_errors(fitted: Fitted, buyers: Buyers, terms: Terms) -> Floats:
    """Of the lifetime values, for the estimates not being the truth, shape (n,): the delta method.

    g'Σg with the covariance Σ of the estimates and the value's derivatives g in them. The two models are
    estimated apart, so their variances add. What a customer does by chance comes on top of it.
    """
    params = [np.array(list(part.params.values())) for part in (fitted.purchases, fitted.spend)]
    variance = np.zeros(buyers.frequency.size)
    for which, part in enumerate((fitted.purchases, fitted.spend)):
        slopes = []
        for place, value in enumerate(params[which]):
            ends = []
            for sign in (1, -1):
                moved = [p.copy() for p in params]
                moved[which][place] = value * (1 + sign * STEP)
                ends.append(
                    lifetime_values(
                        fitted.make(*moved[0]), GammaGamma(*moved[1]), buyers, terms, fitted.unit_days
                    )
                )
            slopes.append((ends[0] - ends[1]) / (2 * STEP * value))
        gradient = np.array(slopes)
        variance += np.einsum("in,ij,jn->n", gradient, np.array(part.covariance), gradient)
    errors: Floats = np.sqrt(variance)
    return errors


def bootstrap_interval(
    histories: Histories,
    spending: Spending,
    value: Callable[[Histories, Spending], Floats],
    repeats: int,
) -> tuple[Floats, Floats]:
    """The 95 % interval of what `value` fits and computes, by giving it customers drawn with return.

    Efron's percentile interval. Drawing customers means drawing new counts of the folded histories. A draw
    that determines no model is drawn again, up to twice as many draws as repeats.

    Raises:
        Conflict: so many draws determined no model that there is no interval.
    """
    rng = np.random.default_rng(SEED)
    shares = histories.customers / histories.total
    found: list[Floats] = []
    refusals: list[Conflict] = []
    while len(found) < repeats and len(refusals) <= repeats:
        counts = rng.multinomial(histories.total, shares).astype(np.float64)
        drawn = counts > 0
        spenders = rng.integers(0, spending.mean.size, spending.mean.size)
        try:
            found.append(
                value(
                    Histories(
                        histories.frequency[drawn],
                        histories.recency[drawn],
                        histories.age[drawn],
                        counts[drawn],
                    ),
                    Spending(spending.purchases[spenders], spending.mean[spenders]),
                )
            )
        except Conflict as refusal:
            refusals.append(refusal)
    if len(found) < repeats:
        raise refusals[-1]
    low, high = np.quantile(np.array(found), INTERVAL, axis=0)
    return low, high
