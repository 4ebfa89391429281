"""Who may be brought by whom, and when both get something. Pure.

The one-time reward is a tenth of the friend's first purchase as points for whoever brought them (the earning
rule `referral`), and a welcome for the friend (the rule `welcome`), once the return period is over. What came
back of the purchase in that time does not count. Nothing here depends on when something was heard of: with a
purchase or a refund that becomes known late a referral ends as it would have ended.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal
from uuid import UUID

from shared.problems import Conflict


class SelfReferral(Conflict):
    slug, title = "self-referral", "A customer cannot bring themselves"


class ReferralRing(Conflict):
    slug, title = "referral-ring", "The customer brought, directly or through others, who wants to bring them"


class SameDevice(Conflict):
    slug, title = "same-device", "The device was used by the one who brings, or by another friend"


class AlreadyReferred(Conflict):
    slug, title = "already-referred", "The customer was brought before"


class NotNew(Conflict):
    slug, title = "not-a-new-customer", "The customer has bought before"


@dataclass(frozen=True, slots=True)
class Known:
    """What is known when a friend joins; customers who were merged are one.

    Args:
        ancestors: who brought the referrer, who brought those, and so on.
        device_used: whether the friend's device is the referrer's or another friend's.
        referred: whether the friend was brought before.
        bought_at: the friend's first purchase.
    """

    referrer: UUID
    ancestors: Collection[UUID]
    device_used: bool
    referred: bool
    bought_at: datetime | None


def require_allowed(referee: UUID, joined_at: datetime, known: Known) -> None:
    """Refuse what is no referral.

    Raises:
        SelfReferral, AlreadyReferred, ReferralRing, SameDevice, NotNew: nothing was changed.
    """
    if referee == known.referrer:
        raise SelfReferral("The code belongs to this customer.")
    if known.referred:
        raise AlreadyReferred("A customer is brought once.")
    if referee in known.ancestors:
        raise ReferralRing("Nobody gains from a ring.")
    if known.device_used:
        raise SameDevice("The friend needs a device of their own.")
    if known.bought_at is not None and known.bought_at < joined_at:
        raise NotNew("Only new customers are brought.")


Ending = Literal["waits", "completed", "self-referral", "bought before", "returned", "never bought"]


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a friend may take to buy for the first time, and how long the purchase may be returned."""

    to_buy: timedelta
    to_return: timedelta


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a friend who joined.

    Args:
        alone: whether the two turned out to be one customer.
        bought_at: the friend's first purchase.
        kept: what was paid for it less what came back in the return period, in minor units.
    """

    joined_at: datetime
    alone: bool
    bought_at: datetime | None
    kept: int


def ending(facts: Facts, now: datetime, patience: Patience) -> Ending:
    """What becomes of a referral, as far as is known now."""
    if facts.alone:
        return "self-referral"
    bought_at, latest = facts.bought_at, facts.joined_at + patience.to_buy
    if bought_at is None:
        return "waits" if now < latest else "never bought"
    if bought_at < facts.joined_at:
        return "bought before"
    if bought_at > latest:
        return "never bought"
    if now < bought_at + patience.to_return:
        return "waits"
    return "completed" if facts.kept > 0 else "returned"


def next_look(facts: Facts, patience: Patience) -> datetime:
    """When a referral that waits can end."""
    if facts.bought_at is None:
        return facts.joined_at + patience.to_buy
    return facts.bought_at + patience.to_return
