"""What is taken back of an award: pure arithmetic in integers.

Refunds take floor(points × refunded ÷ paid) over all refunds of the purchase together, so that many small
refunds take exactly what one large one does, and a full refund takes all. A recount takes what it found to
be too much; an award that was lowered and is raised again gets a new transfer, so what was claimed stays
claimed.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Taken:
    """An award as it stands.

    Args:
        points: what the award is worth, before refunds.
        claimed: what recounts found to be too much of what was given.
        paid: the purchase's amount, and `refunded` what came back of it; 0 and 0 without refunds.
        taken: points that were taken back already, by us or by an operator.
    """

    points: int
    claimed: int
    paid: int
    refunded: int
    taken: int


def share(points: int, paid: int, refunded: int) -> int:
    """The part of an award's points that refunds take."""
    return points * min(refunded, paid) // paid if paid else 0


def due_back(award: Taken) -> int:
    """Points still to be taken back, never more than were given."""
    return max(0, award.claimed + share(award.points, award.paid, award.refunded) - award.taken)


def due_back_arithmetic(award: Taken) -> str:
    """How `due_back` came to its points."""
    parts = []
    if award.paid and award.refunded:
        refunded = min(award.refunded, award.paid)
        taken = share(award.points, award.paid, award.refunded)
        parts.append(f"floor({award.points} × {refunded} ÷ {award.paid}) = {taken}")
    if award.claimed:
        parts.append(f"{award.claimed} too much by the order of time")
    shown = " and ".join(parts)
    return f"{shown}, less {award.taken} taken before" if award.taken else shown
