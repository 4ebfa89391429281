"""What the scores' API gives."""

from datetime import date, datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, Field

Segment = Literal[
    "champions",
    "loyal_customers",
    "potential_loyalists",
    "new_customers",
    "promising",
    "needs_attention",
    "about_to_sleep",
    "at_risk",
    "cannot_lose_them",
    "hibernating",
    "lost",
]


class Money(BaseModel):
    """Minor units of a currency."""

    amount: int
    currency: str


class Rfm(BaseModel):
    """Recency, frequency and money; scores 1 to 5, 5 is best."""

    recency_days: int = Field(description="Days since the last purchase.")
    frequency: int = Field(description="Days with a purchase.")
    monetary: Money = Field(description="Spent in the customer's main currency, net of refunds.")
    recency_score: int | None
    frequency_score: int | None
    monetary_score: int | None
    weighted: float | None = Field(description="Their weighted mean, from 1 to 5.")
    score: str | None = Field(description="The three scores as one word.", examples=["544"])


class Expected(BaseModel):
    """A number of purchases within the horizon."""

    value: float
    horizon_days: int


class Value(Money):
    """Discounted value within the horizon."""

    horizon_days: int


class Moved(BaseModel):
    """What changed the index most when it last changed."""

    part: str = Field(examples=["complaints"])
    by: float


class ValueIndexed(BaseModel):
    """What a customer is worth keeping, from 0 to 1."""

    value: float
    grade: Literal["high", "middle", "low"]
    parts: dict[str, float] = Field(description="The share of all customers that do worse, by measure.")
    moved: Moved | None


class NextAction(BaseModel):
    """What could be done next for a customer, and what it is expected to bring, in minor units."""

    action: str
    gain: int
    channel: str
    offer: str | None
    reasons: list[str]


class TypicalOut(BaseModel):
    """What others come to on the average, where no model says anything of this customer."""

    of: str = Field(description="A segment, or all buyers.")
    customers: int
    p_alive: float | None
    expected_purchases: float | None
    clv: int | None = Field(description="In minor units of `currency`.")
    currency: str | None
    horizon_days: int
    modelled: bool = Field(description="Whether a model says it; else it is plain rates of the past.")
    as_of: date


class Window(BaseModel):
    """First day with a purchase, and the observation date."""

    from_: date = Field(alias="from")
    to: date


class ChurnRisk(BaseModel):
    """How likely the customer is to leave, or to buy nothing within `horizon_days`."""

    risk: float
    threshold: float | None = Field(description="Contacting pays from here on; null: nowhere.")
    above: bool = Field(description="Above the threshold, or not yet well below it again.")
    model: str = Field(examples=["bg_nbd/3", "logistic/2"])
    kind: Literal["contractual", "non_contractual"]
    horizon_days: int | None
    reasons: list[str]
    as_of: date


class ModelsUsed(BaseModel):
    """Which model versions the scores come from."""

    purchases: str | None = Field(examples=["bg_nbd/3"])
    spend: str | None = Field(examples=["gamma_gamma/1"])
    window: Window | None = Field(description="The data that the model of purchases was fitted to.")


class TicketFacts(BaseModel):
    total: int
    open: int
    complaints: int
    mood: float | None = Field(description="Mean mood of the tickets, from -1 to 1.")
    severe: int = Field(description="Of high or critical severity.")
    breaches: int = Field(description="Tickets that missed what was promised.")
    complaint_categories: dict[str, int] = Field(description="Complaints by category.")


class Gaps(BaseModel):
    """Days between a day with a purchase and the next; the deviation needs two gaps."""

    mean_days: float
    deviation_days: float | None


class Standing(BaseModel):
    """As loyalty last told it."""

    tier: str | None
    points: int | None


class SurveyFacts(BaseModel):
    """The last answer of each kind."""

    nps: int | None
    csat: int | None
    ces: int | None


class OtherSpend(Money):
    days: int


class Facts(BaseModel):
    """What the scores were computed from."""

    purchases: int
    refunds: int
    first_purchase_on: date | None
    last_purchase_on: date | None
    other_spend: list[OtherSpend] = Field(description="Spend in currencies other than the main one.")
    gaps: Gaps | None
    channels: dict[str, int] = Field(description="Purchases by channel, where one was told.")
    hours: list[int] | None = Field(description="Purchases by hour of the day in UTC, from 0 to 23.")
    tickets: TicketFacts
    surveys: SurveyFacts
    loyalty: Standing | None


class Unknown(BaseModel):
    what: str
    why: str


class Cluster(BaseModel):
    """The customers whom this one is like."""

    label: str
    profile: dict[str, str] = Field(description="In words, by language: en and zh.")


class ScoresOut(BaseModel):
    """A customer's scores; null where not known, and `unknown` says why."""

    customer_id: UUID
    as_of: date = Field(description="The observation date.")
    rfm: Rfm | None
    segment: Segment | None
    segments: list[str] = Field(description="Names of the rule segments that the customer is in.")
    cluster: Cluster | None
    p_alive: float | None = Field(description="The chance that the customer still buys.")
    expected_purchases: Expected | None
    clv: Value | None
    value_index: ValueIndexed | None
    churn: ChurnRisk | None
    next_best_actions: list[NextAction]
    typical: TypicalOut | None = Field(
        description="Stands in where a score above is null; never a score itself."
    )
    models: ModelsUsed
    facts: Facts
    unknown: list[Unknown]


class Explained(BaseModel):
    """One score in words and numbers."""

    score: str
    value: Any
    words: str
    numbers: dict[str, Any]


class Explanation(BaseModel):
    """Where a customer's scores come from."""

    customer_id: UUID
    as_of: date
    scores: list[Explained]
    unknown: list[Unknown]


class RebuildOut(BaseModel):
    """A rebuild of all facts from what happened."""

    id: UUID
    status: Literal["running", "done"]
    customers: int = Field(description="How many customers have been visited.")
    total: int = Field(description="How many there are.")
    changed: int = Field(description="How many had facts that differed from their history.")
    created_at: datetime
    finished_at: datetime | None
