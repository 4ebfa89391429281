"""The programme that spends a budget: who gets which action. Pure; HiGHS solves it, by way of scipy.

    maximise    sum of g_ij x_ij                   g_ij what action j brings with customer i, net of its cost
    subject to  sum of c_j x_ij over all  <= budget,   sum of x_ij over i <= capacity_j,
                sum of x_ij over j <= 1,   x_ij in {0, 1}

Few limits couple the customers, so prices of these decide nearly everyone: each customer takes what is
most profitable at the prices p, profit_ij = g_ij - c_j p_0 - p_j. The prices that minimise

    L(p) = p_0 budget + sum of p_j capacity_j + sum over i of max(0, profit_i1, ..., profit_ik)

are those of the linear relaxation, and L bounds every plan (Lagrangian duality; Fisher 1981, "The
Lagrangian Relaxation Method for Solving Integer Programming Problems", Management Science 27(1)). HiGHS gets
the customers whose best two choices nearly tie. Given a plan of value V, a choice that falls more than
L - V short of its customer's best is in no better plan, so once all others were open to HiGHS its optimum
is that of the whole programme.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

NOTHING = -1
OPEN = 2_000  # groups of customers that HiGHS decides at first
WIDEN = 4
MOST_ROUNDS = 8
GAP = 1e-6  # relative: a plan this close to the bound is as good as the best
EXACT = 1e-9
TEMPERATURES = (0.3, 0.03, 0.003)  # of the smoothed dual, as shares of a typical gain
TIME_LIMIT_S = 20.0


@dataclass(frozen=True, slots=True)
class Programme:
    """n customers and k actions: net gains (n, k), costs (k,), capacities (k,), the budget."""

    gains: Floats
    costs: Floats
    capacities: Floats
    budget: float


@dataclass(frozen=True, slots=True)
class Plan:
    """The action of each customer, shape (n,), NOTHING for none; what it brings, and what HiGHS said.

    No plan brings more than `bound`; `gap` is how far this one may fall short of it, relative to it.
    `prices` of the budget and of each action's capacity are those of the linear relaxation: what one more
    unit would bring.
    """

    chosen: Ints
    value: float
    bound: float
    gap: float
    status: str
    optimal: bool
    prices: Floats


@dataclass(frozen=True, slots=True)
class _Groups:
    """Customers whose gains are the same are one group: `counts` of them, gains (m, k)."""

    gains: Floats
    counts: Floats
    costs: Floats
    limits: Floats  # the budget, then the capacities

    def profits(self, prices: Floats) -> Floats:
        """With nothing, of profit 0, as the last choice; a choice that brings nothing is none."""
        profits = np.where(self.gains > 0, self.gains - self.costs * prices[0] - prices[1:], -np.inf)
        return np.column_stack([profits, np.zeros(len(profits))])

    def bound(self, prices: Floats) -> float:
        """L of the module's docstring."""
        return float(prices @ self.limits + self.counts @ self.profits(prices).max(axis=1))

    def used(self, taken: Floats) -> Floats:
        """What this many of each action take of each limit."""
        return np.concatenate([[taken @ self.costs], taken])


@dataclass(frozen=True, slots=True)
class _Answer:
    """How many of each group get each action, shape (m, k), and HiGHS's word on it."""

    taken: Floats
    value: float
    status: str
    optimal: bool


def solve(programme: Programme) -> Plan:
    """The best plan; the proof that it is comes with it, as `bound` and `gap`."""
    n, k = programme.gains.shape
    rows, inverse, counts = np.unique(
        np.maximum(programme.gains, 0), axis=0, return_inverse=True, return_counts=True
    )
    limits = np.concatenate([[programme.budget], programme.capacities])
    groups = _Groups(rows, counts.astype(float), programme.costs, limits)
    if not (rows > 0).any() or programme.budget < programme.costs.min(initial=np.inf):
        return Plan(np.full(n, NOTHING), 0.0, 0.0, 0.0, "Nothing can be done", True, np.zeros(k + 1))
    prices, answer = _search(groups)
    bound = groups.bound(prices)
    gap = max(bound - answer.value, 0.0) / max(bound, EXACT)
    chosen = _handed_out(answer.taken.round().astype(np.int64), inverse.ravel())
    return Plan(chosen, answer.value, bound, gap, answer.status, answer.optimal, prices)


def _search(groups: _Groups) -> tuple[Floats, _Answer]:
    """Prices and a plan, letting more groups be decided by HiGHS until the plan is proven."""
    prices = _smoothed_prices(groups)
    allowed = _nearly_tied(groups.profits(prices), OPEN)
    best = _Answer(np.zeros_like(groups.gains), 0.0, "No plan was found", False)
    size = OPEN
    for _ in range(MOST_ROUNDS):
        relaxed = _relaxed(groups, prices, allowed)
        if relaxed is None or groups.bound(relaxed[0]) > relaxed[1] * (1 + EXACT) + EXACT:
            size *= WIDEN  # the prices are not yet those of the whole relaxation
            prices = relaxed[0] if relaxed is not None else prices
            allowed = _nearly_tied(groups.profits(prices), size)
            continue
        prices = relaxed[0]
        answer = _integral(groups, allowed)
        if answer.value >= best.value:
            best = answer
        bound = groups.bound(prices)
        regrets = _regrets(groups.profits(prices))
        needed = regrets <= bound - best.value
        if best.value >= bound * (1 - GAP) or (answer.optimal and not (needed & ~allowed).any()):
            break
        allowed |= needed
    return prices, best


def _smoothed_prices(groups: _Groups) -> Floats:
    """Prices near the best, by minimising L with a soft maximum that grows harder."""
    from scipy.optimize import minimize
    from scipy.special import logsumexp

    gain = float(np.median(groups.gains[groups.gains > 0]))
    unit = gain / np.concatenate([[groups.costs.mean() or 1.0], np.ones(groups.costs.size)])

    def smoothed(scaled: Floats, temperature: float) -> tuple[float, Floats]:
        prices = scaled * unit
        profits = groups.profits(prices) / temperature
        soft = logsumexp(profits, axis=1)
        shares = np.exp(profits[:, :-1] - soft[:, None])
        slope = groups.limits - groups.used(groups.counts @ shares)
        return float(
            prices @ groups.limits + temperature * (groups.counts @ soft)
        ) / gain, slope * unit / gain

    scaled: Floats = np.ones(unit.size)
    for share in TEMPERATURES:
        found = minimize(
            smoothed, scaled, (share * gain,), "L-BFGS-B", jac=True, bounds=[(0, None)] * unit.size
        )
        scaled = found.x
    return scaled * unit


def _regrets(profits: Floats) -> Floats:
    """How much each choice falls short of its group's best; nothing is the last choice."""
    regrets: Floats = profits.max(axis=1)[:, None] - profits
    return regrets


def _nearly_tied(profits: Floats, size: int) -> Flags:
    """The choices that stay open: the best of each group, and what is nearly as good in `size` of them."""
    if size >= len(profits):
        return profits > -np.inf
    regrets = _regrets(profits)
    second = np.partition(regrets, 1, axis=1)[:, 1]
    tied: Flags = regrets <= np.partition(second, size)[size]
    return tied


def _relaxed(groups: _Groups, prices: Floats, allowed: Flags) -> tuple[Floats, float] | None:
    """Prices and value of the linear relaxation of the allowed choices; None if these fit no limit."""
    from scipy.optimize import linprog

    part = _Part.of(groups, allowed)
    if (part.limits < 0).any():
        return None
    if not part.rows.size:
        return prices, part.decided_value
    matrix, limits = part.constraints(groups)
    found = linprog(-part.values, A_ub=matrix, b_ub=limits, bounds=part.bounds, method="highs-ds")
    if found.x is None:
        return None
    dual: Floats = np.maximum(-found.ineqlin.marginals[: groups.limits.size], 0)
    return dual, part.decided_value - float(found.fun)


def _integral(groups: _Groups, allowed: Flags) -> _Answer:
    """The best plan of the allowed choices."""
    from scipy.optimize import Bounds, LinearConstraint, milp

    part = _Part.of(groups, allowed)
    taken = part.decided.copy()
    if not part.rows.size:
        return _Answer(taken, part.decided_value, "Every choice is decided by the prices", True)
    matrix, limits = part.constraints(groups)
    found = milp(
        -part.values,
        integrality=np.ones(part.values.size),
        bounds=Bounds(0, part.bounds[:, 1]),
        constraints=LinearConstraint(matrix, -np.inf, limits),
        options={"mip_rel_gap": 0.0, "time_limit": TIME_LIMIT_S},
    )
    if found.x is None:
        return _Answer(np.zeros_like(groups.gains), 0.0, str(found.message), False)
    picked = found.x.round()
    taken[part.rows, part.actions] += picked
    return _Answer(
        taken, part.decided_value + float(picked @ part.values), str(found.message), found.status == 0
    )


@dataclass(frozen=True, slots=True)
class _Part:
    """What HiGHS decides: the choices of groups that have more than one, beside what is decided without."""

    rows: Ints
    actions: Ints
    values: Floats
    bounds: Floats  # (choices, 2)
    limits: Floats  # what is left of them
    decided: Floats  # (m, k)
    decided_value: float

    @classmethod
    def of(cls, groups: _Groups, allowed: Flags) -> "_Part":
        sure = allowed.sum(axis=1) == 1
        decided = np.where(sure[:, None] & allowed[:, :-1], groups.counts[:, None], 0.0)
        rows, actions = np.nonzero(allowed[:, :-1] & ~sure[:, None])
        values = groups.gains[rows, actions]
        bounds = np.column_stack([np.zeros(rows.size), groups.counts[rows]])
        left = groups.limits - groups.used(decided.sum(axis=0))
        return cls(rows, actions, values, bounds, left, decided, float((decided * groups.gains).sum()))

    def constraints(self, groups: _Groups):  # type: ignore[no-untyped-def] # scipy.sparse has no types
        """Sparse rows: the budget, each capacity, then one for each group; and the right-hand sides."""
        from scipy import sparse

        people, number = np.unique(self.rows, return_inverse=True)
        at, first = np.arange(self.rows.size), groups.limits.size
        weights = np.concatenate([groups.costs[self.actions], np.ones(2 * at.size)])
        lines = np.concatenate([np.zeros(at.size, dtype=int), 1 + self.actions, first + number])
        matrix = sparse.csr_matrix((weights, (lines, np.tile(at, 3))), shape=(first + people.size, at.size))
        return matrix, np.concatenate([self.limits, groups.counts[people]])


def _handed_out(taken: Ints, group_of: Ints) -> Ints:
    """The action of each customer, from how many of each group get each; within a group by their order."""
    order = np.argsort(group_of, kind="stable")
    nothing = np.bincount(group_of, minlength=len(taken)) - taken.sum(axis=1)
    actions = np.concatenate([np.arange(taken.shape[1]), [NOTHING]])
    numbers = np.column_stack([taken, nothing])
    chosen = np.empty(group_of.size, dtype=np.int64)
    chosen[order] = np.repeat(np.tile(actions, len(taken)), numbers.ravel())
    return chosen
