"""What the ledger refuses, as the problems that a caller gets."""

from shared.problems import Conflict, Invalid, NotFound, Problem
from shared.web.idempotency import IdempotencyKeyReused


class UnknownMember(NotFound):
    slug, title = "unknown-member", "There is no loyalty account of this customer"


class UnknownTransfer(NotFound):
    slug, title = "unknown-transfer", "There is no such transfer"


class InsufficientPoints(Conflict):
    slug, title = "insufficient-points", "Not enough points"


class AlreadyReversed(Conflict):
    slug, title = "already-reversed", "This transfer was reversed before"


class NotReversible(Conflict):
    slug, title = "not-reversible", "This transfer stands; it is not reversed"


class NothingToMove(Invalid):
    slug, title = "nothing-to-move", "Zero points are no transfer"


class NegativePoints(Invalid):
    slug, title = "negative-points", "Points move forward; what moved back is a reversal"


class UnknownHold(NotFound):
    slug, title = "unknown-hold", "There is no such hold"


class HoldClosed(Conflict):
    slug, title = "hold-closed", "This hold was captured or released, or has timed out"


class MoreThanHeld(Conflict):
    slug, title = "more-than-held", "The hold has fewer points"


class TooManyPoints(Invalid):
    slug, title = "too-many-points", "The balance would become too large to be told exactly"


def refusal(outcome: str, balance: int | None) -> Problem:
    """The problem of an outcome of post_transfer that is neither posted nor replayed."""
    if outcome == "insufficient":
        return InsufficientPoints(f"The balance is {balance}; nothing was changed.", balance=balance)
    if outcome == "more-than-held":
        return MoreThanHeld(f"{balance} points are held; nothing was changed.", held=balance)
    kind, detail = _REFUSALS[outcome]
    return kind(detail)


_REFUSALS: dict[str, tuple[type[Problem], str]] = {
    "key-reused": (IdempotencyKeyReused, "Use a new key for a new request."),
    "unknown-account": (UnknownMember, "Loyalty has not heard of this customer yet."),
    "unknown-transfer": (UnknownTransfer, "Nothing was changed."),
    "already-reversed": (AlreadyReversed, "A transfer is reversed at most once; nothing was changed."),
    "not-reversible": (NotReversible, "Post an adjustment; a hold is released."),
    "nothing": (NothingToMove, "Nothing was changed."),
    "negative": (NegativePoints, "Nothing was changed."),
    "unknown-hold": (UnknownHold, "Nothing was changed."),
    "hold-closed": (HoldClosed, "A hold is closed once; nothing was changed."),
    "too-many": (TooManyPoints, "Nothing was changed."),
}


class AuditTookTooLong(Conflict):
    slug, title = "audit-took-too-long", "The ledger is too large to be audited within a request"


class LiabilityTookTooLong(Conflict):
    slug, title = (
        "liability-took-too-long",
        "Too much moved since the period began to be summed within a request",
    )
