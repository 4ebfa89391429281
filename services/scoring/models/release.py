"""What a model must pass before scores are computed with it, and when it has had its day. Pure.

Known numbers gate each release: a kind whose code no longer gives the published predictions serves nobody.
The hold-out decides between versions; later purchases tell whether the one that serves has drifted.
"""

import math
from dataclasses import dataclass

import numpy as np

from services.scoring.models.catalogue import PURCHASE_KINDS, ModelKind, PurchaseKind
from services.scoring.models.evaluation import HoldOut
from services.scoring.models.gamma_gamma import GammaGamma
from services.scoring.models.purchasing import Purchasing
from shared.problems import Unavailable

# CDNOW's parameters, what they say of customer 1516 (x = 26, t_x = 30.857, T = 31 weeks) over 52 weeks, and
# of a new customer: the numbers that tests/scoring/models/test_published*.py trace to their sources.
_BUSY, _NEW, _YEAR = (26.0, 30.857, 31.0), (0.0, 0.0, 0.0), 52.0
_KNOWN: dict[PurchaseKind, tuple[tuple[float, ...], tuple[float, float, float]]] = {
    "bg_nbd": ((0.243, 4.414, 0.793, 2.426), (25.756407, 0.968848, 1.446051)),
    "mbg_nbd": ((0.525, 6.183, 0.891, 1.614), (24.002145, 0.965495, 1.419724)),
    "pareto_nbd": ((0.553, 10.578, 0.606, 11.669), (25.457282, 0.997872, 1.472997)),
}
_KNOWN_SPEND = ((6.25, 3.74, 15.44), (2.0, 22.35), 24.663714)
_DIGITS = 1e-4  # relative

DRIFT_TOLERANCE = 0.25  # relative, of purchases since the fit
DRIFT_SIGMAS = 4.0  # and more than chance would do
DRIFT_LEAST_DAYS = 7


class SelfTestFailed(Unavailable):
    slug, title = "self-test-failed", "The model does not give its known numbers"


@dataclass(frozen=True, slots=True)
class Drift:
    """Purchases since a model's window: what it expected, and what came."""

    as_of: str
    predicted: float
    bought: float
    drifting: bool


def self_test(kind: ModelKind) -> None:
    """Compute the known numbers of a kind.

    Raises:
        SelfTestFailed: they come out otherwise.
    """
    if kind == "gamma_gamma":
        params, customer, known = _KNOWN_SPEND
        found, expected = [float(GammaGamma(*params).expected_spend(*customer)[0])], [known]
    else:
        values, known_numbers = _KNOWN[kind]
        model = PURCHASE_KINDS[kind].make(*values)
        found = [
            float(model.expected_purchases(_YEAR, *_BUSY)[0]),
            float(model.p_alive(*_BUSY)[0]),
            float(model.expected_purchases(_YEAR, *_NEW)[0]),
        ]
        expected = list(known_numbers)
    if not np.allclose(found, expected, rtol=_DIGITS, atol=0):
        raise SelfTestFailed(f"{kind} gives {found} instead of {expected}; it is not released.")


def decide(
    error: float | None, serving: str | None, serving_error: float | None, tolerance: float
) -> tuple[bool, str]:
    """Whether a new model serves, and why in words.

    It does when nothing served, or when its root mean squared error on the hold-out, fitted without it, is
    no more than `tolerance` above that of the model that serves, which may have been fitted to it.
    """
    if serving is None:
        return True, "serves: no model served before"
    if serving_error is None:
        return error is not None, f"{serving} could not be measured on a hold-out"
    if error is None:
        return False, f"not promoted: no hold-out to compare it with {serving}"
    words = f"rms error {error:.4g} on the hold-out, {serving} {serving_error:.4g}"
    better = error <= serving_error * (1 + tolerance)
    return better, f"{'promoted' if better else 'not promoted'}: {words}"


def drift(model: Purchasing, since: HoldOut, as_of: str) -> Drift:
    """Compare purchases since a model was fitted with what it expected of the customers it was fitted to."""
    seen = since.histories
    expected = model.expected_purchases(since.horizon, seen.frequency, seen.recency, seen.age)
    predicted, bought = float(expected @ seen.customers), float(since.bought @ seen.customers)
    off = abs(bought - predicted)
    drifting = off > DRIFT_TOLERANCE * predicted and off > DRIFT_SIGMAS * math.sqrt(max(predicted, 1.0))
    return Drift(as_of, round(predicted, 2), bought, drifting)
