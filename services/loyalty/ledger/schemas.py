"""What the ledger's API takes and answers; the database writes most answers as JSON itself."""

from typing import Annotated, Any
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from services.loyalty.ledger.store import MAX_POINTS
from shared.web.schemas import Moment, Schema

Points = Annotated[int, Field(ge=1, le=MAX_POINTS, strict=True)]
Reason = Annotated[str, Field(min_length=1, max_length=200, description="Kept for ever: name no person.")]


class HoldIn(Schema):
    """Points to set aside."""

    points: Points
    reason: Reason = "Hold"
    expires_at: Moment | None = Field(
        None, description="When they go back by themselves; by the programme's setting when left out."
    )


class CaptureIn(Schema):
    """What is spent of a hold; all of it when `points` is left out."""

    points: Points | None = None
    reason: Reason = "Redemption"


class ReleaseIn(Schema):
    """Why a hold is given back."""

    reason: Reason = "Released"


class HeldOut(BaseModel):
    """A hold; a replay gives the first answer again."""

    hold_id: UUID
    points: int = Field(ge=1, le=MAX_POINTS)
    balance: int = Field(ge=0, le=MAX_POINTS, description="The member's available points after it.")


class PostedOut(BaseModel):
    """A posting; a replay gives the first answer again."""

    transfer_id: UUID
    points: int = Field(ge=1, le=MAX_POINTS)
    balance: int = Field(ge=0, le=MAX_POINTS, description="The member's available points after it.")


class LotChange(BaseModel):
    """By how much a transfer changed a lot; `earned_by` is the transfer that first brought its points."""

    earned_by: UUID
    points: int
    expires_at: AwareDatetime | None


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
    lots: list[LotChange] = Field(description="The first 50, soonest expiry first.")


class MovedOut(BaseModel):
    """One side of a transfer: what came into an account, or went out of it. Two sides sum to zero."""

    account: str = Field(description="available, pending or held; issuer, breakage or partner.")
    customer_id: UUID | None
    partner_id: UUID | None
    points: int
    balance: int | None = Field(description="After it; null for the house, which keeps none.")


class SealOut(BaseModel):
    """The newest seal; kept elsewhere, it tells later whether the history up to it is still the same."""

    position: int
    hash: str


class MovedLot(LotChange):
    """By how much a transfer changed a lot of an account."""

    account: str = Field(description="available, pending or held.")


class TransferOut(BaseModel):
    """A movement of points and all that explains it."""

    transfer_id: UUID
    kind: str
    points: int
    reason: str
    rule: str | None
    arithmetic: str | None = Field(description="How the rule came to the points.")
    actor: str = Field(description="Whose doing: a key, or the part of loyalty that did it.")
    event_id: UUID | None
    occurred_at: AwareDatetime
    posted_at: AwareDatetime
    reverses: UUID | None = Field(description="The transfer that this one undoes, in whole or part.")
    reversed: int = Field(description="How many of its points were undone since.")
    entries: list[MovedOut]
    lots: list[MovedLot] = Field(description="The first 1,000, soonest expiry first.")
    seal: SealOut | None = Field(description="Null until it is sealed, some seconds after it was posted.")


class LotOut(BaseModel):
    """Points that came in together. Lots are spent in the order of this list."""

    transfer_id: UUID
    points: int
    remaining: int
    earned_at: AwareDatetime
    expires_at: AwareDatetime | None
    pending_until: AwareDatetime | None = None
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
    pending: int = Field(description="Earned, and not available yet.")
    held: int = Field(description="Set aside, until it is captured or released.")
    owed: int = Field(description="Of refunded purchases; taken from the next points that come in.")
    tier: dict[str, Any] = Field(
        description="name, since, multiplier, benefits, qualifying, next, falls_at, projected."
    )
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
    cost: int = Field(description="Minor units.")


class Period(BaseModel):
    """What moved between two moments. opening + earned - spent - expired + adjusted + reversed = closing."""

    model_config = ConfigDict(populate_by_name=True)

    since: AwareDatetime = Field(alias="from")
    to: AwareDatetime
    opening: int
    earned: int
    spent: int
    expired: int
    adjusted: int = Field(description="Signed.")
    reversed: int = Field(description="Signed: redemptions given back, less earnings taken back.")
    closing: int


class LiabilityOut(BaseModel):
    """What the programme owes its members, pending and held points included.

    `points` is the sum of all balances, and of the months.
    """

    points: int
    cost: Money
    by_expiry: list[ExpiryMonth]
    expected_breakage: int = Field(
        description="Points that will likely expire: of what each month's lots began with, the share that"
        " lapsed in the last two years, at most what is left."
    )
    period: Period


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
    rows: dict[str, int] = Field(description="Transfers without a seal are too new to have one.")
    head: SealOut | None
    first_difference: DifferenceOut | None
