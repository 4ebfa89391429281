"""How likely it is that a customer buys nothing for a while, by the model of purchases that serves. Pure.

Where nobody signs off, leaving is not seen: it is silence. Its probability is that of a customer who has
left already, and of one who has not and still buys nothing in the time ahead. Times are in the unit of the
model, x is the number of repeat purchases, arrays of customers have shape (n,).
"""

import numpy as np
from numpy.typing import ArrayLike

from services.scoring.facts.histories import Floats
from services.scoring.models.bg_nbd import BgNbd
from services.scoring.models.mbg_nbd import MbgNbd
from services.scoring.models.pareto_nbd import ParetoNbd
from services.scoring.models.purchasing import Purchasing, columns

NODES = 48
NEGLIGIBLE = 45.0  # what is e^-45 of an integrand's largest value is left out


def p_silence(
    model: Purchasing, horizon: float, frequency: ArrayLike, recency: ArrayLike, age: ArrayLike
) -> Floats:
    """P(X(T, T+t) = 0 | x, t_x, T), shape (n,): no purchase within `horizon` t after the observation date.

    1 - P(alive) · P(a purchase within t | alive at T).

    Raises:
        TypeError: it is no model of purchases at any time.
    """
    x, last, since = columns(frequency, recency, age)
    if isinstance(model, BgNbd | MbgNbd):
        bought = _dropout_bought(model, horizon, x, since)
    elif isinstance(model, ParetoNbd):
        bought = _pareto_bought(model, horizon, x, since)
    else:
        raise TypeError(f"no probability of silence by {type(model).__name__}")
    silent: Floats = 1 - model.p_alive(x, last, since) * bought
    return np.clip(silent, 0.0, 1.0)


def _dropout_bought(model: BgNbd | MbgNbd, horizon: float, x: Floats, age: Floats) -> Floats:
    """1 - ((α+T)/(α+T+t))^(r+x), shape (n,).

    Who is alive at T can leave only with the next purchase, so up to it they buy as a Poisson process. The
    likelihood of an alive customer's history, λ^x e^(-λT) (1-p)^k (the papers of bg_nbd and mbg_nbd), leaves
    λ ~ Gamma(r+x, α+T) whatever p is; its Laplace transform at t is the power.
    """
    bought: Floats = -np.expm1(-(model.r + x) * np.log1p(horizon / (model.alpha + age)))
    return bought


def _pareto_bought(model: ParetoNbd, horizon: float, x: Floats, age: Floats) -> Floats:
    """∫₀ᵗ E[λ e^(-λu)] E[e^(-μu)] du over λ ~ Gamma(r+x, α+T) and μ ~ Gamma(s, β+T), shape (n,).

    One minus the case x* = 0 of Fader, P. S. & Hardie, B. G. S., "Deriving the Conditional PMF of the
    Pareto/NBD Model", brucehardie.com/notes/028: a customer who is alive at T buys within t if they buy
    for the first time at some u in it and have not left before. With y = (r+x) ln((α+T+u)/(α+T)) it is

        ∫₀^Y e^(-y) ((β+T)/(β+T+u(y)))^s dy,

    smooth, positive and falling: Gauss-Legendre up to where it has fallen by e^-45.
    """
    busy, rest, waning = model.r + x, model.alpha + age, model.beta + age
    # Where the second factor alone is negligible.
    gone = np.minimum(horizon, waning * np.expm1(min(NEGLIGIBLE / model.s, 700.0)))
    end = np.minimum(busy * np.log1p(gone / rest), NEGLIGIBLE)
    points, weights = np.polynomial.legendre.leggauss(NODES)
    y = end[:, None] * (points + 1) / 2
    u = rest[:, None] * np.expm1(y / busy[:, None])
    integrand = np.exp(-y - model.s * np.log1p(u / waning[:, None]))
    bought: Floats = (integrand @ weights) * end / 2
    return bought


def reasons(since_last: float, span: float, frequency: float, p_alive: float) -> list[str]:
    """Why a customer's silence is likely or not, in words; times in days."""
    last = f"last bought {_days(since_last)} ago"
    before = f"before that once in {_days(span / frequency)}" if frequency else "never before that"
    return [f"{last}, {before}", f"is still a customer with a probability of {p_alive:.2f}"]


def _days(days: float) -> str:
    number = round(days)
    return "1 day" if number == 1 else f"{number} days"
