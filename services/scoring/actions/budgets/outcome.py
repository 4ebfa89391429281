"""What a finished plan says: numbers, shadow prices and the reasons why somebody gets nothing. Pure."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from services.scoring.actions.budgets.schemas import ActionOutcome, AllocateIn, ObstacleCount, Outcome
from services.scoring.actions.programme import NOTHING, Plan
from services.scoring.actions.rules import Bools, Floats, Ints, Kind


@dataclass(slots=True)
class Gathered:
    """The n customers whom at least one of k planned actions is for, and why the others are left out.

    Ids are kept as bytes: hundreds of thousands of UUID objects make the garbage collector stop the world.
    """

    customer_ids: list[bytes] = field(default_factory=list)
    gains: list[Floats] = field(default_factory=list)  # net of costs, 0 where not allowed, (n, k) in chunks
    measured: list[Floats] = field(default_factory=list)
    considered: int = 0
    other_currency: int = 0
    obstacles: Counter[tuple[Kind, str]] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class Draft:
    """What is decided before solving: who is held out, shape (n,), and the gains, shape (n, k)."""

    request: AllocateIn
    seed: str
    weights: Mapping[str, float]
    held: Bools
    gains: Floats
    weighted: Floats


def outcome(
    draft: Draft, gathered: Gathered, chosen: Ints, plan: Plan, seconds: Mapping[str, float]
) -> Outcome:
    """The outcome of a plan; `chosen` is the place of each customer's action in the request, or -1."""
    actions = [_action(draft, gathered, chosen, plan, j) for j in range(len(draft.request.actions))]
    return Outcome(
        considered=gathered.considered,
        other_currency=gathered.other_currency,
        eligible=len(draft.held),
        hold_out=int(draft.held.sum()),
        treated=sum(action.chosen for action in actions),
        spend=sum(action.spend for action in actions),
        gain=round(sum(action.gain for action in actions), 2),
        actions=actions,
        shadow_price=float(plan.prices[0]),
        words=_words(draft, gathered, chosen, plan),
        solver=plan.status,
        optimal=plan.optimal,
        gap=plan.gap,
        weights=dict(draft.weights),
        seed=draft.seed,
        seconds=dict(seconds),
    )


def _action(draft: Draft, gathered: Gathered, chosen: Ints, plan: Plan, j: int) -> ActionOutcome:
    action, taken, price = draft.request.actions[j], chosen == j, float(plan.prices[1 + j])
    brings = f"{price:.2f} minor units of {draft.request.currency}" if price > 0 else "nothing"
    return ActionOutcome(
        kind=action.kind,
        cost=action.cost or 0,
        capacity=action.capacity,
        eligible=int((draft.gains[:, j] > 0).sum()),
        obstacles=[
            ObstacleCount(why=why, customers=count)
            for (kind, why), count in gathered.obstacles.most_common()
            if kind == action.kind
        ],
        chosen=int(taken.sum()),
        spend=int(taken.sum()) * (action.cost or 0),
        gain=round(float(draft.gains[taken, j].sum()), 2),
        shadow_price=price,
        words=f"room for one more {action.kind} would bring {brings}",
    )


def _words(draft: Draft, gathered: Gathered, chosen: Ints, plan: Plan) -> list[str]:
    """What there is to say of a plan as a whole."""
    request = draft.request
    if gathered.considered == 0:
        segment = f" of the segment {request.segment}" if request.segment else ""
        return [f"nobody{segment} pays in {request.currency}"]
    if not gathered.customer_ids:
        return ["no planned action is for anybody; each action says why"]
    if draft.held.all():
        return ["everybody whom an action is for is in the hold-out arm"]
    if (chosen == NOTHING).all():
        return ["the budget does not pay for a single action, or there is no room for one"]
    if plan.prices[0] == 0:
        return ["more budget would bring nothing: it is not what limits the plan"]
    weighted = "weighted " if draft.weights else ""
    return [f"one more {request.currency} of budget would bring {plan.prices[0]:.2f} of {weighted}gain"]
