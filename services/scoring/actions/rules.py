"""What could be done next for a customer: who may get which action, and what it is expected to bring. Pure.

    gain = uplift × value at stake - cost

The uplift is the share of the value at stake that an action is thought to keep or win: an assumption until an
experiment has measured it. What is at stake depends on the action:

    kept   what the customer is expected to bring: CLV, which counts the chance that they still buy
    lost   what is likely to go: CLV / P(alive), what they would bring if they stayed, × the risk

An apology and an upgrade nudge move `kept`; a call and a win-back offer save some of `lost`; a friend who is
brought is taken to be worth as much as the one who brings them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import IntFlag
from typing import Any, Literal
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

Kind = Literal["call", "apology", "win_back_offer", "upgrade_nudge", "ask_for_referral"]
KINDS: tuple[Kind, ...] = ("call", "apology", "win_back_offer", "upgrade_nudge", "ask_for_referral")
CALL, APOLOGY, WIN_BACK, UPGRADE, REFERRAL = range(len(KINDS))
NOTHING = -1

SERVICE = "service"  # the purpose of what answers a customer's own complaint
HIGH_RISK = 0.5  # from here on a customer is more likely to leave than to stay
BAD_MOOD = -0.3  # of tickets, from -1 to 1
PROMOTER = 9  # of the recommendation question, 0 to 10
RISING = 1.2  # spend of these days over that of as many days before
RISING_DAYS = 90
LEAST_ALIVE = 0.05  # CLV over less than this is the noise of a rounded number

ABSENT, GRANTED, REFUSED = range(3)  # what a customer said about a purpose and channel


@dataclass(frozen=True, slots=True)
class Action:
    """One entry of the catalogue. `cost` in minor units of `currency`; uplifts are shares.

    `measured` is what an experiment found; it stands in for the assumption.
    """

    cost: int
    currency: str
    channel: str
    purpose: str
    assumed_uplift: float
    cooldown_days: int
    enabled: bool = True
    offer: str | None = None
    measured: float | None = None
    experiment: str | None = None

    @property
    def uplift(self) -> float:
        """The share of the value at stake that counts."""
        return self.assumed_uplift if self.measured is None else self.measured


Catalogue = Mapping[Kind, Action]

DEFAULTS: Catalogue = {
    "call": Action(2000, "CNY", "phone", "marketing", 0.10, 60),
    "apology": Action(500, "CNY", "email", SERVICE, 0.08, 30),
    "win_back_offer": Action(1500, "CNY", "email", "marketing", 0.05, 90, offer="win_back"),
    "upgrade_nudge": Action(100, "CNY", "email", "marketing", 0.03, 60, offer="upgrade"),
    "ask_for_referral": Action(100, "CNY", "email", "marketing", 0.02, 180, offer="referral"),
}


@dataclass(frozen=True, slots=True)
class Policy:
    """Purposes that need no consent (a refusal still counts), and how often customers may be contacted."""

    without_consent: frozenset[str]
    contact_limit: int
    contact_days: int


@dataclass(frozen=True, slots=True)
class Situations:
    """n customers as columns, shape (n,); nan where not known. Money in minor units of `currency`.

    `worth` is CLV where `modelled`, else past spend; `risk` the chance to leave. `consent` has a column for
    each kind and one more for a call about a complaint, shape (n, k + 1); `waited` are the days since the
    last contact about each kind, inf if never, shape (n, k); `standing` is the kind that is recommended now.
    """

    customer_ids: list[UUID]
    currency: NDArray[np.object_]
    worth: Floats
    modelled: Bools
    alive: Floats
    risk: Floats
    high_value: Bools
    nps: Floats
    csat: Floats
    mood: Floats
    complaints: Ints
    recent_spend: Floats
    earlier_spend: Floats
    consent: Ints
    contacts: Ints
    waited: Floats
    standing: Ints


class Obstacle(IntFlag):
    """Why an action is not for a customer now; several may hold."""

    DISABLED = 1
    NO_REASON = 2
    COMPLAINT = 4
    NO_VALUE = 8
    CURRENCY = 16
    NO_CONSENT = 32
    REFUSED = 64
    CONTACTS = 128
    COOLDOWN = 256


@dataclass(frozen=True, slots=True)
class Judged:
    """What is at stake, the expected gain, and the obstacles (a sum of `Obstacle`), shape (n, k) each."""

    situations: Situations
    catalogue: Catalogue
    policy: Policy
    stakes: Floats
    gains: Floats
    obstacles: Ints

    @property
    def allowed(self) -> Bools:
        """Which actions nothing stands against."""
        free: Bools = self.obstacles == 0
        return free

    def best(self) -> Ints:
        """The kind that brings each customer's highest gain; nothing when none brings more than it costs."""
        gains = np.where(self.allowed, self.gains, -np.inf)
        return np.where(gains.max(axis=1) > 0, gains.argmax(axis=1), NOTHING)

    def ranked(self, n: int) -> list[int]:
        """The kinds that are worth doing for one customer, the best first."""
        worth_it = [j for j in range(len(KINDS)) if self.allowed[n, j] and self.gains[n, j] > 0]
        return sorted(worth_it, key=lambda j: -self.gains[n, j])


def judge(situations: Situations, catalogue: Catalogue, policy: Policy) -> Judged:
    """Every action for every customer."""
    actions = [catalogue[kind] for kind in KINDS]
    costs = np.array([action.cost for action in actions], dtype=np.float64)
    uplifts = np.array([action.uplift for action in actions])
    stakes = _stakes(situations)
    obstacles = np.zeros(stakes.shape, dtype=np.int64)

    def stand(against: Bools, obstacle: Obstacle) -> None:
        obstacles[against] |= int(obstacle)

    shape = stakes.shape
    stand(np.broadcast_to(np.array([not action.enabled for action in actions]), shape), Obstacle.DISABLED)
    stand(~_reasons(situations), Obstacle.NO_REASON)
    complained = np.zeros(shape, dtype=bool)
    complained[:, [WIN_BACK, UPGRADE, REFERRAL]] = (situations.complaints > 0)[:, None]
    stand(complained, Obstacle.COMPLAINT)
    stand(~(stakes > 0), Obstacle.NO_VALUE)
    other = [(situations.currency != action.currency) & (action.cost > 0) for action in actions]
    stand(np.stack(other, axis=1).astype(bool) & (stakes > 0), Obstacle.CURRENCY)
    consent, free = _consent(situations, actions, policy)
    stand((consent == ABSENT) & ~free, Obstacle.NO_CONSENT)
    stand(consent == REFUSED, Obstacle.REFUSED)
    # What is recommended now is a contact too, once another action takes its place.
    standing = situations.standing[:, None]
    replaced = (standing != NOTHING) & (standing != np.arange(len(KINDS)))
    stand(situations.contacts[:, None] + replaced >= policy.contact_limit, Obstacle.CONTACTS)
    cooldowns = np.array([action.cooldown_days for action in actions], dtype=np.float64)
    stand(situations.waited < cooldowns, Obstacle.COOLDOWN)
    return Judged(
        situations, catalogue, policy, stakes, np.where(stakes > 0, stakes * uplifts, 0) - costs, obstacles
    )


def explain(judged: Judged, n: int, j: int) -> list[str]:
    """Why an action is or is not for a customer, in words."""
    situations, action = judged.situations, judged.catalogue[KINDS[j]]
    held = Obstacle(int(judged.obstacles[n, j]))
    reasons = [] if Obstacle.NO_REASON in held else [_why(situations, n, j)]
    if judged.stakes[n, j] > 0:
        source = f"measured by {action.experiment}" if action.measured is not None else "assumed"
        basis = "" if situations.modelled[n] else ", past spend standing for lifetime value"
        reasons.append(
            f"{action.uplift:g} ({source}) of {judged.stakes[n, j]:.0f} at stake{basis}, less {action.cost}"
        )
        if not held and judged.gains[n, j] <= 0:
            reasons.append("it would cost more than it is expected to bring")
    return reasons + [obstacle_words(judged, obstacle, j) for obstacle in held]


def obstacle_words(judged: Judged, obstacle: Obstacle, j: int) -> str:
    """One obstacle of one kind in words."""
    words: str = _OBSTACLES[obstacle](judged.catalogue[KINDS[j]], judged.policy, j)
    return words


def with_costs(catalogue: Catalogue, currency: str, costs: Mapping[Kind, int]) -> Catalogue:
    """The catalogue with other costs, in this currency, for these kinds."""
    changed = {kind: replace(catalogue[kind], cost=cost, currency=currency) for kind, cost in costs.items()}
    return {**catalogue, **changed}


def _stakes(situations: Situations) -> Floats:
    kept = situations.worth
    alive = np.clip(np.nan_to_num(situations.alive, nan=1.0), LEAST_ALIVE, 1)
    lost = kept / alive * situations.risk
    # A call about a complaint is about all that the customer is expected to bring.
    call = np.where(situations.complaints > 0, np.fmax(kept, lost), lost)
    return np.stack([call, kept, lost, kept, kept], axis=1)


def _reasons(situations: Situations) -> Bools:
    risky = situations.risk >= HIGH_RISK
    open_complaint = situations.complaints > 0
    rising = (situations.earlier_spend > 0) & (situations.recent_spend >= RISING * situations.earlier_spend)
    return np.stack(
        [
            situations.high_value & (risky | open_complaint),
            open_complaint | (situations.mood <= BAD_MOOD),
            risky,
            rising & ~risky,
            situations.nps >= PROMOTER,
        ],
        axis=1,
    )


def _consent(situations: Situations, actions: list[Action], policy: Policy) -> tuple[Ints, Bools]:
    """What was said about each action, and where nothing needs to be said.

    A call about a complaint is service.
    """
    consent = situations.consent[:, : len(KINDS)].copy()
    free = np.tile([action.purpose in policy.without_consent for action in actions], (len(consent), 1))
    about = situations.complaints > 0
    consent[about, CALL] = situations.consent[about, len(KINDS)]
    free[about, CALL] = SERVICE in policy.without_consent
    return consent, free


def _why(situations: Situations, n: int, j: int) -> str:
    risk = f"the risk that they leave is {situations.risk[n]:.2f}"
    if j == CALL:
        about = "a complaint is open" if situations.complaints[n] else risk
        return f"a customer of high value, and {about}"
    if j == APOLOGY:
        if situations.complaints[n]:
            return "a complaint is open"
        return f"the mood of their tickets is {situations.mood[n]:.2f}"
    if j == WIN_BACK:
        return risk
    if j == UPGRADE:
        return (
            f"they spent {situations.recent_spend[n]:.0f} in {RISING_DAYS} days and "
            f"{situations.earlier_spend[n]:.0f} in as many before"
        )
    return f"they would recommend us with {situations.nps[n]:.0f} of 10"


_NO_REASON = (
    "not a customer of high value who may leave or has complained",
    "no complaint is open, and the mood of their tickets is not bad",
    "no sign that they leave",
    "their spend does not rise",
    "not a promoter",
)
_OBSTACLES: dict[Obstacle, Any] = {
    Obstacle.DISABLED: lambda action, policy, j: "switched off in the catalogue",
    Obstacle.NO_REASON: lambda action, policy, j: _NO_REASON[j],
    Obstacle.COMPLAINT: lambda action, policy, j: "not while a complaint is open",
    Obstacle.NO_VALUE: lambda action, policy, j: "no value is known to be at stake",
    Obstacle.CURRENCY: lambda action, policy, j: f"its cost is in {action.currency}, their value is not",
    Obstacle.NO_CONSENT: lambda action, policy, j: (
        f"no consent to {action.purpose} by {action.channel} is known"
    ),
    Obstacle.REFUSED: lambda action, policy, j: (
        f"consent to {action.purpose} by {action.channel} was denied or withdrawn"
    ),
    Obstacle.CONTACTS: lambda action, policy, j: (
        f"{policy.contact_limit} contacts in {policy.contact_days} days are the most"
    ),
    Obstacle.COOLDOWN: lambda action, policy, j: (
        f"the last time was less than {action.cooldown_days} days ago"
    ),
}
