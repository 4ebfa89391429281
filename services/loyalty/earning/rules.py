"""How many points: what a rule gives for something that a member did. Pure, and rounded down once.

points = floor(amount × rate × tier multiplier × campaign multiplier), the amount in major units of its
currency, all factors exact. A rule gives either a rate for money or a fixed number of points, which nothing
multiplies; a campaign gives only a multiplier, for the lines of a purchase that it names, and of several
the highest counts. Rules that concern the same deed add up, each in a transfer of its own, except that an
exclusive one shuts out those of a lower priority. What is left of a rule's limits for the day and the month
(UTC) is the most it gives.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any, Literal, get_args
from uuid import UUID

from services.loyalty.earning.amounts import expiry, floor_product, minor_digits, money, number, plain
from services.loyalty.tiers.rules import Tier

Kind = Literal["purchase", "sign-up", "activity", "survey", "feedback", "referral", "welcome", "birthday"]
KINDS: tuple[Kind, ...] = get_args(Kind)
ONCE: frozenset[Kind] = frozenset({"sign-up", "welcome", "birthday"})  # happens once (a year) to a member
PAID: frozenset[Kind] = frozenset({"purchase", "referral"})  # has an amount of money

ONE = Decimal(1)


@dataclass(frozen=True, slots=True)
class Rule:
    """One version of a rule; `starts_at` to `ends_at` is when this version counts."""

    id: str
    version: int
    kind: Kind
    starts_at: datetime
    ends_at: datetime | None
    made_at: datetime
    rate: Decimal | None = None
    points: int | None = None
    multiplier: Decimal | None = None
    currency: str | None = None
    categories: frozenset[str] = frozenset()
    skus: frozenset[str] = frozenset()
    channels: frozenset[str] = frozenset()
    subjects: frozenset[str] = frozenset()
    first_only: bool = False
    exclusive: bool = False
    priority: int = 0
    daily_limit: int | None = None
    monthly_limit: int | None = None
    pending_days: int = 0
    points_days: int | None = None


@dataclass(frozen=True, slots=True)
class Part:
    """A line of a purchase: minor units, and what it was for."""

    amount: int
    category: str | None
    sku: str


@dataclass(frozen=True, slots=True)
class Deed:
    """Something a member did that may earn.

    `subject` is the kind of activity, survey or ticket; `told_of` the customer it was told of, when that one
    was merged into the member; `exchange` what its currency was worth when it was first counted.
    """

    id: UUID
    kind: Kind
    customer_id: UUID
    occurred_at: datetime
    recorded_at: datetime
    reason: str
    event_id: UUID | None = None
    amount: int = 0
    currency: str = ""
    parts: tuple[Part, ...] = ()
    subject: str | None = None
    channel: str | None = None
    told_of: UUID | None = None
    exchange: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Award:
    """What one rule gives for one deed, and how it came to it."""

    rule: str
    version: int
    points: int
    arithmetic: str
    expires_at: datetime | None = None
    pending_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Terms:
    """What holds for all rules.

    Args:
        exchange: what one major unit of a currency is worth in the programme's; 1 for those not listed.
        limit: the most points that one deed may earn by one rule.
        points_days: how long points live when the rule does not say; for ever when None.
    """

    currency: str
    exchange: Mapping[str, Decimal]
    limit: int
    points_days: int | None = None


@dataclass(frozen=True, slots=True)
class Used:
    """Points that a member got by one rule in the day and the month of the last of them."""

    day: str
    in_day: int
    month: str
    in_month: int


def awards(
    deed: Deed,
    rules: Sequence[Rule],
    terms: Terms,
    used: dict[str, Used],
    *,
    tier: Tier | None = None,
    first: bool = False,
) -> list[Award]:
    """What a deed earns.

    Args:
        rules: of any kind, sorted by `in_order`.
        used: what was given before, by rule; it is brought up to date.
        tier: the member's at the deed, for purchases.
        first: whether it is the member's first purchase.
    """
    concerning = [rule for rule in rules if concerns(rule, deed) and (first or not rule.first_only)]
    campaigns = [rule for rule in concerning if rule.multiplier is not None]
    given = []
    for rule in giving(concerning):
        worth = _worth(rule, deed, terms, campaigns, tier)
        points, arithmetic = _within_limits(rule, deed, terms, used, worth)
        if points > 0:
            expires_at = expiry(deed.occurred_at, rule.points_days or terms.points_days)
            until = deed.occurred_at + timedelta(days=rule.pending_days) if rule.pending_days else None
            given.append(Award(rule.id, rule.version, points, arithmetic, expires_at, until))
    return given


def in_order(rules: Iterable[Rule]) -> list[Rule]:
    """Rules in the order in which they are asked: the highest priority first."""
    return sorted(rules, key=lambda rule: (-rule.priority, rule.id, rule.version))


def giving(rules: Iterable[Rule]) -> Iterator[Rule]:
    """Those that give points, up to the first that shuts out the rest."""
    for rule in rules:
        if rule.multiplier is None:
            yield rule
            if rule.exclusive:
                return


def concerns(rule: Rule, deed: Deed) -> bool:
    """Whether a rule is for such a deed, at its time; a rule made later than we heard of the deed is not."""
    return (
        rule.kind == deed.kind
        and rule.starts_at <= deed.occurred_at
        and (rule.ends_at is None or deed.occurred_at < rule.ends_at)
        and rule.made_at <= deed.recorded_at
        and rule.currency in {None, deed.currency}
        and (not rule.channels or deed.channel in rule.channels)
        and (not rule.subjects or deed.subject in rule.subjects)
        and (not (rule.categories or rule.skus) or any(_names(rule, part) for part in deed.parts))
    )


def qualifying(deed: Deed, terms: Terms) -> int:
    """A purchase's amount in minor units of the programme's currency, rounded down."""
    digits = minor_digits(terms.currency) - minor_digits(deed.currency)
    return max(0, floor_product(deed.amount, _exchange(deed, terms), Decimal(1).scaleb(digits)))


def _worth(
    rule: Rule, deed: Deed, terms: Terms, campaigns: Sequence[Rule], tier: Tier | None
) -> tuple[int, str]:
    if rule.points is not None:
        return rule.points, f"{rule.points} {'once' if rule.kind in ONCE or rule.first_only else 'each'}"
    assert rule.rate is not None  # noqa: S101 - the schema and the table see to it
    groups, (paid, listed) = _by_campaign(rule, deed, campaigns)
    factors: list[tuple[str, Decimal | Fraction]] = [(plain(rule.rate), rule.rate)]
    if paid < listed:
        shown = f"{number(paid, deed.currency)}/{number(listed, deed.currency)} paid"
        factors.insert(0, (shown, Fraction(paid, listed)))
    exchange = _exchange(deed, terms)
    if exchange != ONE:
        factors.append((f"{plain(exchange)} {terms.currency}/{deed.currency}", exchange))
    if tier is not None and tier.multiplier != ONE:
        factors.append((f"{plain(tier.multiplier)} {tier.name}", tier.multiplier))
    by_campaign = [(amount, campaign) for campaign, amount in groups.items()]
    if len(by_campaign) == 1:
        amount, campaign = by_campaign[0]
        shown = money(amount, deed.currency)
        if campaign is not None and campaign.multiplier is not None:
            factors.append((f"{plain(campaign.multiplier)} {campaign.id}", campaign.multiplier))
        raised = floor_product(amount, _unit(deed), *(value for _, value in factors))
    else:
        shown = f"({' + '.join(_group(amount, campaign, deed) for amount, campaign in by_campaign)})"
        shown += f" {deed.currency}"
        # One floor: the groups are brought to a common unit of a ten-thousandth, then multiplied together.
        total = sum(amount * _ten_thousandths(campaign) for amount, campaign in by_campaign)
        raised = floor_product(total, Decimal("0.0001"), _unit(deed), *(value for _, value in factors))
    points = max(0, raised)
    return points, f"floor({' × '.join([shown, *(text for text, _ in factors)])}) = {points}"


def _by_campaign(
    rule: Rule, deed: Deed, campaigns: Sequence[Rule]
) -> tuple[dict[Rule | None, int], tuple[int, int]]:
    """The money that the rule is for, by the campaign that raises it most; and of how much how much was paid.

    What was taken off the purchase as a whole, also by lines below zero, falls on its lines in proportion.
    """
    amount = max(0, deed.amount)
    lines = [part for part in deed.parts if part.amount > 0]
    listed = sum(part.amount for part in lines)
    groups: dict[Rule | None, int] = {}
    for part in lines:
        if _names(rule, part):
            best = _best(campaign for campaign in campaigns if _names(campaign, part))
            groups[best] = groups.get(best, 0) + part.amount
    if not rule.categories and not rule.skus:
        if listed < amount or not lines:  # what no line tells: postage, or a purchase without lines
            best = _best(campaign for campaign in campaigns if not campaign.categories and not campaign.skus)
            groups[best] = groups.get(best, 0) + amount - listed
        if len(groups) == 1:
            return dict.fromkeys(groups, amount), (amount, amount)
    return groups or {None: 0}, (min(amount, listed), listed)


def _best(campaigns: Iterable[Rule]) -> Rule | None:
    return max(campaigns, key=lambda each: (each.multiplier or ONE, each.id), default=None)


def _names(rule: Rule, part: Part) -> bool:
    """Whether a rule is for this line; one that names nothing is for all."""
    if not rule.categories and not rule.skus:
        return True
    return part.category in rule.categories or part.sku in rule.skus


def _group(amount: int, campaign: Rule | None, deed: Deed) -> str:
    shown = number(amount, deed.currency)
    return f"{shown} × {plain(campaign.multiplier or ONE)} {campaign.id}" if campaign else shown


def _ten_thousandths(campaign: Rule | None) -> int:
    return int((campaign.multiplier if campaign and campaign.multiplier else ONE) * 10_000)


def _unit(deed: Deed) -> Decimal:
    """The minor unit in major ones."""
    return Decimal(1).scaleb(-minor_digits(deed.currency))


def exchanged(deed: Deed, terms: Terms) -> Deed:
    """The deed with the rate of now, unless it has one: a rate that changes changes no past points."""
    if deed.exchange is not None or deed.currency in {"", terms.currency}:
        return deed
    return replace(deed, exchange=terms.exchange.get(deed.currency, ONE))


def _exchange(deed: Deed, terms: Terms) -> Decimal:
    rate = exchanged(deed, terms).exchange
    return ONE if rate is None else rate


def _within_limits(
    rule: Rule, deed: Deed, terms: Terms, used: dict[str, Used], worth: tuple[int, str]
) -> tuple[int, str]:
    points, arithmetic = worth
    if points > terms.limit:
        points, arithmetic = terms.limit, f"{arithmetic}, at most {terms.limit}"
    if rule.daily_limit is None and rule.monthly_limit is None:
        return points, arithmetic
    day = f"{deed.occurred_at.date()}"
    before = used.get(rule.id)
    in_day = before.in_day if before and before.day == day else 0
    in_month = before.in_month if before and before.month == day[:7] else 0
    for limit, gone, period in ((rule.daily_limit, in_day, "day"), (rule.monthly_limit, in_month, "month")):
        if limit is not None and points > limit - gone:
            points = max(0, limit - gone)
            arithmetic = f"{arithmetic}, {points} left of {limit} a {period}"
    used[rule.id] = Used(day, in_day + points, day[:7], in_month + points)
    return points, arithmetic


def unlimited(
    rule: Rule, others: Iterable[Rule], *, cost_per_point: Decimal, currency: str, highest_tier: Decimal
) -> str | None:
    """Why a rule would award without limit, or None when something bounds it.

    Args:
        others: the other rules that are enabled.
        cost_per_point: minor units of `currency`.
        highest_tier: the largest multiplier of a tier.
    """
    if rule.points is not None:
        if rule.kind in ONCE or rule.first_only or _limited(rule):
            return None
        return "A fixed number of points for what may be done any number of times needs a limit."
    if rule.multiplier is not None and rule.ends_at is None:
        return "A campaign without an end needs one."
    same = [rule, *(other for other in others if other.kind == rule.kind)]
    rates = sum((each.rate for each in same if each.rate is not None and not _limited(each)), Decimal(0))
    if rule.multiplier is None and _limited(rule):
        return None
    raised = max((each.multiplier for each in same if each.multiplier is not None), default=ONE)
    back = rates * max(raised, ONE) * max(highest_tier, ONE) * cost_per_point
    if back < 10 ** minor_digits(currency):
        return None
    return "Together with the other rules it gives back as much as is paid, or more; it needs a limit."


def _limited(rule: Rule) -> bool:
    return rule.daily_limit is not None or rule.monthly_limit is not None


def written(used: Mapping[str, Used]) -> dict[str, Any]:
    """What was given before, as JSON."""
    return {rule: [each.day, each.in_day, each.month, each.in_month] for rule, each in used.items()}


def read_used(value: Mapping[str, Any]) -> dict[str, Used]:
    """The same, read back."""
    return {rule: Used(*each) for rule, each in value.items()}
