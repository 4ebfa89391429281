"""Maximum likelihood: one way to fit every model here, and to say why a fit is refused.

Parameters of all models are positive, so the search runs over their logarithms (L-BFGS-B, with the model's
analytic gradient and bounds), and standard errors come from the Hessian of the log-likelihood in the
parameters themselves, taken by central differences of that gradient.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from services.scoring.facts.histories import Floats
from shared.problems import Conflict

# parameters, shape (k,) -> log-likelihood of all customers and its gradient, shape (k,)
LogLikelihood = Callable[[Floats], tuple[float, Floats]]

MAX_ITERATIONS = 500
GRADIENT_TOLERANCE = 1e-5  # per customer, in log parameters
HESSIAN_STEP = 1e-4  # relative
AT_BOUND = 1e-3  # distance to a bound, in log parameters, that counts as being on it
NEWTON_STEPS = 2


class TooFewCustomers(Conflict):
    slug, title = "too-few-customers", "Too few customers to fit a model"


class NoRepeatBuyers(Conflict):
    slug, title = "no-repeat-buyers", "Nobody bought a second time"


class NoVariance(Conflict):
    slug, title = "no-variance", "The customers are all alike"


class NotConverged(Conflict):
    slug, title = "not-converged", "The model does not fit these customers"


@dataclass(frozen=True, slots=True)
class Bounds:
    """Where a parameter may lie. An estimate that ends on a bound is refused."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Estimate:
    """A fitted model: parameters and standard errors by name, and the log-likelihood reached.

    `covariance` is that of the estimates, in their order, shape (k, k).
    """

    params: dict[str, float]
    standard_errors: dict[str, float]
    log_likelihood: float
    customers: int
    evaluations: int
    covariance: tuple[tuple[float, ...], ...] = ()


def maximise(
    log_likelihood: LogLikelihood,
    *,
    names: Sequence[str],
    starts: Sequence[Sequence[float]],
    bounds: Sequence[Bounds],
    customers: int,
) -> Estimate:
    """Fit from each start in turn until one converges inside the bounds.

    Raises:
        NotConverged: none did; the detail names the parameter or the reason, and what to do.
    """
    refusal = NotConverged("No start values were given.")
    for start in starts:
        try:
            return _climb(log_likelihood, names, start, bounds, customers)
        except NotConverged as error:
            refusal = error
    raise refusal


def _climb(
    log_likelihood: LogLikelihood,
    names: Sequence[str],
    start: Sequence[float],
    bounds: Sequence[Bounds],
    customers: int,
) -> Estimate:
    from scipy.optimize import minimize

    evaluations = 0

    def objective(logs: Floats) -> tuple[float, Floats]:
        nonlocal evaluations
        evaluations += 1
        params = np.exp(logs)
        value, gradient = log_likelihood(params)
        return -value / customers, -gradient * params / customers

    low = np.log([b.low for b in bounds])
    high = np.log([b.high for b in bounds])
    result: Any = minimize(
        objective,
        np.clip(np.log(np.asarray(start, dtype=np.float64)), low, high),
        jac=True,
        method="L-BFGS-B",
        bounds=list(zip(low, high, strict=True)),
        options={"maxiter": MAX_ITERATIONS, "ftol": 1e-13, "gtol": GRADIENT_TOLERANCE / 10},
    )
    for name, value, lowest, highest in zip(names, result.x, low, high, strict=True):
        if min(value - lowest, highest - value) < AT_BOUND:
            raise NotConverged(
                f"The estimate of {name} runs off to {np.exp(value):.3g}: these histories do not determine "
                "it. Fit more customers, or a longer period."
            )
    information = _information(log_likelihood, np.exp(result.x))
    params = _polish(log_likelihood, np.exp(result.x), information)
    value, gradient = log_likelihood(params)
    if not np.isfinite(value) or np.abs(gradient * params).max() / customers > GRADIENT_TOLERANCE:
        raise NotConverged(
            f"The search stopped before the maximum ({result.message}). "
            "Fit more customers, or a longer period."
        )
    covariance = np.linalg.inv(information)
    errors = np.sqrt(np.diag(covariance))
    return Estimate(
        params=dict(zip(names, params.tolist(), strict=True)),
        standard_errors=dict(zip(names, errors.tolist(), strict=True)),
        log_likelihood=float(value),
        customers=customers,
        evaluations=evaluations,
        covariance=tuple(tuple(row) for row in covariance.tolist()),
    )


def _information(log_likelihood: LogLikelihood, params: Floats) -> Floats:
    """Minus the Hessian where the search stopped; polishing moves that by less than the errors' digits."""
    information = -hessian(log_likelihood, params)
    try:
        np.linalg.cholesky(information)
    except np.linalg.LinAlgError as error:
        raise NotConverged(
            "The likelihood is flat around its maximum: these histories do not determine the parameters. "
            "Fit more customers, or a longer period."
        ) from error
    return information


def _polish(log_likelihood: LogLikelihood, params: Floats, information: Floats) -> Floats:
    """Newton steps from where the search stopped, so that the digits do not depend on the start values."""
    value, gradient = log_likelihood(params)
    for _ in range(NEWTON_STEPS):
        better: Floats = params + np.linalg.solve(information, gradient)
        if (better <= params / 2).any() or (better >= params * 2).any():
            break
        next_value, next_gradient = log_likelihood(better)
        if not next_value >= value - 1e-9 * abs(value):
            break
        params, value, gradient = better, next_value, next_gradient
    return params


def hessian(log_likelihood: LogLikelihood, params: Floats) -> Floats:
    """Second derivatives of the log-likelihood, shape (k, k), by central differences of its gradient."""
    rows = []
    for i, param in enumerate(params):
        step = np.zeros_like(params)
        step[i] = HESSIAN_STEP * param
        rows.append((log_likelihood(params + step)[1] - log_likelihood(params - step)[1]) / (2 * step[i]))
    second = np.array(rows)
    symmetric: Floats = (second + second.T) / 2
    return symmetric
