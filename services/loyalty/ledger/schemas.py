"""What the ledger's API answers. The answers are written by the database as JSON; these describe them."""

from typing import Any
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, Field

from services.loyalty.ledger.store import MAX_POINTS


class PostedOut(BaseModel):
    """A posting; a replay gives the first answer again."""

    transfer_id: UUID
    points: int = Field(ge=1, le=MAX_POINTS)
    balance: int = Field(ge=0, le=MAX_POINTS, description="The member's available points after it.")


class EntryOut(BaseModel):
    """A line of the statement: what, when, why. `balance` runs in the order of posting."""

    transfer_id: UUID
    kind: str
    points: int = Field(description="Signed: what came in, or what went out.")
    balance: int
    reason: str
    rule: str | None
    arithmetic: str | None = Field(description="How the rule came to the points.")
    reverses: UUID | None = Field(description="The transfer that this one undoes, in whole or part.")
    event_id: UUID | None = None
    occurred_at: AwareDatetime
    posted_at: AwareDatetime


class LotOut(BaseModel):
    """Points that came in together. Lots are spent in the order of this list."""

    transfer_id: UUID
    points: int
    remaining: int
    earned_at: AwareDatetime
    expires_at: AwareDatetime | None
    reason: str


class Lifetime(BaseModel):
    """Since the account was opened, less what was reversed."""

    earned: int
    spent: int


class NextExpiry(BaseModel):
    """The points that expire next, all at one moment."""

    points: int
    expires_at: AwareDatetime


class MemberOut(BaseModel):
    """What a customer has: the loyalty section of the 360 view."""

    balance: int
    pending: int
    owed: int = Field(description="Of refunded purchases; taken from the next points that come in.")
    lifetime: Lifetime
    next_expiry: NextExpiry | None
    recent: list[dict[str, Any]] = Field(description="The last entries of the statement.")


class Money(BaseModel):
    """Minor units of a currency."""

    amount: int
    currency: str


class ExpiryMonth(BaseModel):
    """Points that expire in a month (UTC); `month` is null for those that never do."""

    month: str | None
    points: int


class LiabilityOut(BaseModel):
    """What the programme owes its members. `points` is the sum of balances, and of the months."""

    points: int
    cost: Money
    by_expiry: list[ExpiryMonth]


class DifferenceOut(BaseModel):
    """The first place where two ways to the same number disagree."""

    check: str
    subject: str
    expected: str
    found: str


class AuditOut(BaseModel):
    """Whether the ledger is sound, and how much was looked at."""

    sound: bool
    checks: list[str]
    rows: dict[str, int]
    first_difference: DifferenceOut | None
