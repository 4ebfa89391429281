"""The programme's data at a glance, beside the ledger's in tables.py: what members did, earned and reached.

The DDL, with its checks and the reasons, is in migrations/versions/0004_programme.sql.
"""

from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, Column, DateTime, Enum, Integer, LargeBinary, Numeric, SmallInteger, Text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field

from services.loyalty.tables import Base

KINDS = ("purchase", "sign-up", "activity", "survey", "feedback", "referral", "welcome", "birthday")


def _moment(*, key: bool = False, nullable: bool = False) -> Column[datetime]:
    return Column(DateTime(timezone=True), nullable=nullable, primary_key=key)


def _number(*, key: bool = False, nullable: bool = False) -> Column[int]:
    return Column(BigInteger, nullable=nullable, primary_key=key)


def _small(*, key: bool = False) -> Column[int]:
    return Column(Integer, nullable=False, primary_key=key)


def _text(*, key: bool = False, nullable: bool = False) -> Column[str]:
    return Column(Text, nullable=nullable, primary_key=key)


def _json(*, nullable: bool = False) -> Column[Any]:
    return Column(JSONB, nullable=nullable)


class EarningRule(Base, table=True):
    """One version of a rule by which points are earned."""

    __tablename__ = "earning_rules"

    id: str = Field(sa_column=_text(key=True))
    version: int = Field(sa_column=_small(key=True))
    definition: dict[str, Any] = Field(sa_column=_json())
    made_at: datetime = Field(sa_column=_moment())
    made_by: str = Field(sa_column=_text())


class Deed(Base, table=True):
    """Something a member did that may earn, and what the last count gave for it."""

    __tablename__ = "deeds"

    id: UUID = Field(primary_key=True)
    kind: str = Field(sa_column=Column(Enum(*KINDS, name="deed_kind"), primary_key=True))
    customer_id: UUID
    told_of: UUID | None = None
    occurred_at: datetime = Field(sa_column=_moment())
    recorded_at: datetime = Field(sa_column=_moment())
    reason: str = Field(sa_column=_text())
    event_id: UUID | None = None
    amount: int = Field(sa_column=_number())
    currency: str = Field(sa_column=_text())
    exchange: Decimal | None = Field(sa_column=Column(Numeric(18, 6), nullable=True))
    parts: list[Any] | None = Field(sa_column=_json(nullable=True))
    subject: str | None = Field(sa_column=_text(nullable=True))
    channel: str | None = Field(sa_column=_text(nullable=True))
    tier: str | None = Field(sa_column=_text(nullable=True))
    qualifying: int = Field(sa_column=_number())
    points: int = Field(sa_column=_number())
    claimed: int = Field(sa_column=_number())
    awards: list[Any] = Field(sa_column=_json())


class Birthday(Base, table=True):
    """The day on which a member is given something; no year."""

    __tablename__ = "birthdays"

    customer_id: UUID = Field(primary_key=True)
    month: int = Field(sa_column=Column(SmallInteger, nullable=False))
    day: int = Field(sa_column=Column(SmallInteger, nullable=False))


class Forgotten(Base, table=True):
    """A customer who was erased: a digest of the id, to know what comes late."""

    __tablename__ = "forgotten"

    digest: bytes = Field(sa_column=Column(LargeBinary, primary_key=True))


class TierTable(Base, table=True):
    """One version of the tiers."""

    __tablename__ = "tier_tables"

    version: int = Field(sa_column=_small(key=True))
    since: datetime = Field(sa_column=_moment())
    tiers: list[Any] = Field(sa_column=_json())
    made_by: str = Field(sa_column=_text())
    newcomer: dict[str, Any] = Field(sa_column=_json())


class TierTerms(Base, table=True):
    """What qualifies and in which period, kept when the first member was counted: one row."""

    __tablename__ = "tier_terms"

    one: bool = Field(True, primary_key=True)
    basis: str = Field(sa_column=_text())
    period: str = Field(sa_column=_text())


class Standing(Base, table=True):
    """Where a member stands as of the last purchase that was counted, and what is shown of it."""

    __tablename__ = "standings"

    customer_id: UUID = Field(primary_key=True)
    clock: datetime = Field(sa_column=_moment())
    last_id: UUID
    tier: str = Field(sa_column=_text())
    since: datetime | None = Field(sa_column=_moment(nullable=True))
    due_at: datetime | None = Field(sa_column=_moment(nullable=True))
    quantities: list[Any] = Field(sa_column=_json())
    total: int = Field(sa_column=_number())
    counted: dict[str, Any] = Field(sa_column=_json())
    tier_now: str = Field(sa_column=_text())
    shown: dict[str, Any] = Field(sa_column=_json())
    review_at: datetime | None = Field(sa_column=_moment(nullable=True))
    tiers_version: int = Field(sa_column=_small())


class TierChange(Base, table=True):
    """A step of a member between tiers; `place` is among those of one moment."""

    __tablename__ = "tier_changes"

    customer_id: UUID = Field(primary_key=True)
    at: datetime = Field(sa_column=_moment(key=True))
    place: int = Field(sa_column=_small(key=True))
    from_tier: str = Field(sa_column=_text())
    to_tier: str = Field(sa_column=_text())
    qualifying: int = Field(sa_column=_number())


class ReferralCode(Base, table=True):
    """A member's code to give to friends; the device as a hash."""

    __tablename__ = "referral_codes"

    code: str = Field(sa_column=_text(key=True))
    customer_id: UUID = Field(unique=True)
    device: bytes | None = Field(sa_column=Column(LargeBinary, nullable=True))
    made_at: datetime = Field(sa_column=_moment())


class Referral(Base, table=True):
    """A friend who was brought, and what became of it: joined, completed or void. `look_at`: when to see."""

    __tablename__ = "referrals"

    id: UUID = Field(primary_key=True)
    code: str = Field(sa_column=_text())
    referrer_id: UUID
    referee_id: UUID = Field(unique=True)
    device: bytes | None = Field(sa_column=Column(LargeBinary, nullable=True))
    joined_at: datetime = Field(sa_column=_moment())
    status: str = Field(sa_column=_text())
    reason: str | None = Field(sa_column=_text(nullable=True))
    purchase_id: UUID | None = None
    completed_at: datetime | None = Field(sa_column=_moment(nullable=True))
    points: int | None = Field(sa_column=_number(nullable=True))
    look_at: datetime | None = Field(sa_column=_moment(nullable=True))


class Challenge(Base, table=True):
    """A task over what members do."""

    __tablename__ = "challenges"

    id: str = Field(sa_column=_text(key=True))
    version: int = Field(sa_column=_small())
    definition: dict[str, Any] = Field(sa_column=_json())
    made_at: datetime = Field(sa_column=_moment())


class ChallengeProgress(Base, table=True):
    """How far a member is in one window of a challenge."""

    __tablename__ = "challenge_progress"

    customer_id: UUID = Field(primary_key=True)
    challenge_id: str = Field(sa_column=_text(key=True))
    starts_at: datetime = Field(sa_column=_moment(key=True))
    done: int = Field(sa_column=_number())
    met_at: datetime | None = Field(sa_column=_moment(nullable=True))


class Badge(Base, table=True):
    """A badge, by the window that completed it."""

    __tablename__ = "badges"

    customer_id: UUID = Field(primary_key=True)
    challenge_id: str = Field(sa_column=_text(key=True))
    starts_at: datetime = Field(sa_column=_moment(key=True))
    badge: str = Field(sa_column=_text())
    awarded_at: datetime = Field(sa_column=_moment())


class BoardScore(Base, table=True):
    """A member's score on a leaderboard, as of its last refresh."""

    __tablename__ = "board_scores"

    board: str = Field(sa_column=_text(key=True))
    period: str = Field(sa_column=_text(key=True))
    customer_id: UUID = Field(primary_key=True)
    segment: str = Field(sa_column=_text())
    score: int = Field(sa_column=_number())


class BoardStep(Base, table=True):
    """How many members stand above a score; `segment` empty for all."""

    __tablename__ = "board_steps"

    board: str = Field(sa_column=_text(key=True))
    period: str = Field(sa_column=_text(key=True))
    segment: str = Field(sa_column=_text(key=True))
    score: int = Field(sa_column=_number(key=True))
    above: int = Field(sa_column=_number())


class BoardRun(Base, table=True):
    """When a leaderboard was refreshed last, and how many members are on it."""

    __tablename__ = "board_runs"

    board: str = Field(sa_column=_text(key=True))
    period: str = Field(sa_column=_text(key=True))
    as_of: datetime = Field(sa_column=_moment())
    members: int = Field(sa_column=_number())


class BoardOptOut(Base, table=True):
    """A member who appears on no leaderboard."""

    __tablename__ = "board_opt_outs"

    customer_id: UUID = Field(primary_key=True)
