"""What the earning rules' API takes and gives."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from services.loyalty.earning.rules import PAID, Kind
from services.loyalty.ledger.schemas import Money
from services.loyalty.ledger.store import MAX_POINTS
from shared.web.schemas import Moment, Schema

Name = Annotated[str, Field(min_length=1, max_length=100)]
RuleId = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")]
Word = Annotated[str, Field(min_length=1, max_length=100)]
Words = Annotated[list[Word], Field(max_length=100)]
Rate = Annotated[Decimal, Field(gt=0, le=10_000, max_digits=12, decimal_places=6)]
Multiplier = Annotated[Decimal, Field(gt=1, le=100, max_digits=7, decimal_places=4)]
Points = Annotated[int, Field(ge=1, le=10**9)]
Limit = Annotated[int, Field(ge=1, le=MAX_POINTS)]
Days = Annotated[int, Field(ge=1, le=36_500)]


class Definition(Schema):
    """What a rule gives, for what, and when. It gives one of `rate`, `points` and `multiplier`."""

    name: Name
    kind: Kind = Field(description="What earns; `feedback` is a ticket that was resolved.")
    rate: Rate | None = Field(None, description="Points for one major unit of money.")
    points: Points | None = Field(None, description="A fixed number, which nothing multiplies.")
    multiplier: Multiplier | None = Field(
        None, description="A campaign: it raises what rates give; of several the highest counts."
    )
    currency: str | None = Field(None, pattern="^[A-Z]{3}$", description="Only purchases in this currency.")
    categories: Words = Field([], description="Only lines of these categories, or of these skus.")
    skus: Words = []
    channels: Words = []
    subjects: Words = Field([], description="Only these kinds of activity, survey or ticket.")
    first_purchase_only: bool = False
    exclusive: bool = Field(False, description="Rules of a lower priority give nothing beside it.")
    priority: int = Field(0, ge=-1000, le=1000)
    starts_at: Moment | None = Field(None, description="When it was made, when left out.")
    ends_at: Moment | None = None
    daily_limit: Limit | None = Field(None, description="The most points for a member in a day (UTC).")
    monthly_limit: Limit | None = None
    pending_days: int = Field(0, ge=0, le=365, description="How long points wait until they are available.")
    points_days: Days | None = Field(None, description="How long points live; by the programme if null.")
    enabled: bool = True

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if sum(value is not None for value in (self.rate, self.points, self.multiplier)) != 1:
            raise ValueError("a rule gives exactly one of rate, points and multiplier")
        if self.points is None and self.kind not in PAID:
            raise ValueError(f"{self.kind} has no amount of money; give points")
        if self.kind != "purchase" and (
            self.multiplier or self.categories or self.skus or self.first_purchase_only
        ):
            raise ValueError("multiplier, categories, skus and first_purchase_only are for purchases")
        if self.kind in PAID and self.subjects:
            raise ValueError("subjects are for activities, surveys and feedback")
        if self.starts_at and self.ends_at and self.starts_at >= self.ends_at:
            raise ValueError("ends_at must come after starts_at")
        return self


class RuleIn(Definition):
    """A new rule."""

    id: RuleId | None = Field(None, description="How transfers name it; made when left out.")


class RulePatch(Schema):
    """What is to be changed of a rule; fields of a rule, all of them optional. The kind stays."""

    model_config = ConfigDict(extra="allow")


class RuleOut(Definition):
    """A rule as it is. A change makes a new version, which counts for what happens from then on."""

    model_config = ConfigDict(extra="ignore")

    id: str
    version: int
    made_at: datetime


class SimulationIn(Schema):
    """Over which past deeds; the last year when left out."""

    start: Moment | None = Field(None, alias="from")
    end: Moment | None = Field(None, alias="to", description="Before this moment.")


class DraftIn(SimulationIn):
    """A rule that is not there yet, and over which past deeds."""

    rule: RuleIn


class SimulationOut(BaseModel):
    """What the rule would have given more than the other rules gave, had it been in effect all the time."""

    model_config = ConfigDict(populate_by_name=True)

    start: AwareDatetime = Field(alias="from")
    end: AwareDatetime = Field(alias="to")
    deeds: int = Field(description="Deeds of the rule's kind that were looked at.")
    awarded: int = Field(description="Deeds that would have earned more.")
    members: int
    points: int
    cost: Money
    complete: bool = Field(description="False: there are more deeds than one simulation looks at.")


def as_definition(rule: Definition) -> dict[str, Any]:
    """What is kept of a rule: the fields that were set to something, as JSON."""
    return rule.model_dump(mode="json", exclude={"id", "version", "made_at"}, exclude_defaults=True) | {
        "name": rule.name,
        "kind": rule.kind,
    }
