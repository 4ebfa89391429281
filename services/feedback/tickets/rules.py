"""A ticket's life: which steps there are, who may be late, and what a message sets in motion. Pure.

    new ─▶ open ⇄ pending_customer, pending_third_party ─▶ resolved ─▶ closed
            ▲                                                 │           │
            └──────────── reopened within the grace period ◀──┴───────────┘

After the grace period the ticket stays as it is, and a follow-up ticket is opened that names it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal, get_args

from shared.problems import Conflict

Status = Literal["new", "open", "pending_customer", "pending_third_party", "resolved", "closed"]
Kind = Literal["complaint", "question", "praise", "suggestion", "review", "idea", "care_task", "other"]
Sender = Literal["agent", "customer"]
Visibility = Literal["public", "internal"]

DONE: frozenset[Status] = frozenset({"resolved", "closed"})
STEPS: Mapping[Status, frozenset[Status]] = {
    "new": frozenset({"open", "pending_customer", "pending_third_party", "resolved"}),
    "open": frozenset({"pending_customer", "pending_third_party", "resolved"}),
    "pending_customer": frozenset({"open", "pending_third_party", "resolved"}),
    "pending_third_party": frozenset({"open", "pending_customer", "resolved"}),
    "resolved": frozenset({"open", "closed"}),
    "closed": frozenset({"open"}),
}
KINDS: frozenset[str] = frozenset(get_args(Kind))


class TransitionRefused(Conflict):
    slug, title = "transition-refused", "A ticket cannot go from this status to that one"


class ReopenPeriodOver(Conflict):
    slug, title = "reopen-period-over", "The ticket was resolved too long ago to be reopened"


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a ticket stands. `resolved_at` is set exactly while it is resolved or closed."""

    status: Status = "new"
    first_response_at: datetime | None = None
    resolved_at: datetime | None = None
    closed_at: datetime | None = None


def transition(progress: Progress, to: Status, *, now: datetime, reopen_within: timedelta) -> Progress:
    """The ticket after one step.

    Raises:
        TransitionRefused: there is no such step; the problem lists those there are.
        ReopenPeriodOver: the step would reopen a ticket whose grace period is over.
    """
    if to not in STEPS[progress.status]:
        allowed = sorted(STEPS[progress.status])
        raise TransitionRefused(
            f"From {progress.status} it may go to: {', '.join(allowed)}.",
            status_now=progress.status,
            requested=to,
            allowed=allowed,
        )
    if to == "resolved":
        return replace(progress, status=to, resolved_at=now)
    if to == "closed":
        return replace(progress, status=to, closed_at=now)
    if progress.status in DONE and not may_reopen(progress, now=now, reopen_within=reopen_within):
        raise ReopenPeriodOver(
            "Open a new ticket with `follow_up_of` naming this one.",
            resolved_at=progress.resolved_at,
            reopen_days=reopen_within / timedelta(days=1),
        )
    return replace(progress, status=to, resolved_at=None, closed_at=None)


def may_reopen(progress: Progress, *, now: datetime, reopen_within: timedelta) -> bool:
    """Whether a resolved ticket's grace period still runs; its last moment belongs to it."""
    return progress.resolved_at is not None and now - progress.resolved_at <= reopen_within


def after_message(
    progress: Progress, sender: Sender, visibility: Visibility, *, now: datetime, reopen_within: timedelta
) -> Progress:
    """The ticket after a message.

    The first public word of an agent is the first response and opens a new ticket. A customer's word ends
    the waiting for them and reopens a resolved ticket within the grace period; later it is only kept, so
    that a late "thank you" reopens nothing. Internal notes move nothing.
    """
    if visibility == "internal":
        return progress
    if sender == "agent":
        first = progress.first_response_at or now
        status: Status = "open" if progress.status == "new" else progress.status
        return replace(progress, status=status, first_response_at=first)
    if progress.status == "pending_customer" or (
        progress.status == "resolved" and may_reopen(progress, now=now, reopen_within=reopen_within)
    ):
        return transition(progress, "open", now=now, reopen_within=reopen_within)
    return progress


def known_kind(given: str) -> Kind:
    """A partner's word for the kind of feedback as one of ours; `other` for words we do not know."""
    kind = given.strip().lower().replace("-", "_").replace(" ", "_")
    return kind if kind in KINDS else "other"  # type: ignore[return-value]
