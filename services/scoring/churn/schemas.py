"""What the churn API takes and gives, and the report that it shares with the command line."""

from datetime import date, datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, Field

from services.scoring.churn.preparation import Options
from services.scoring.churn.rules import Terms
from shared.web.schemas import Schema

MOST_REPORTED = 50_000
Name = Annotated[str, Field(min_length=1, max_length=200)]


class TermsIn(Schema):
    """What keeping a customer costs and brings, in one unit of money."""

    contact_cost: float = Field(1.0, ge=0, le=1e12, description="Of contacting one customer.")
    success_rate: float = Field(
        0.2, ge=0, le=1, description="The share of those who would leave that stays for being contacted."
    )
    customer_value: float = Field(50.0, ge=0, le=1e12, description="Of one who stays, where no column says.")


class Meaning(TermsIn):
    """What the columns of a table mean, or the attributes of customers."""

    label: Name = Field(description="What says who left: true or false, yes or no, 1 or 0.")
    positive: Name | None = Field(None, description="Its value that says so, where it is another.")
    time: Name | None = Field(None, description="Dates or numbers that the data are split by.")
    value: Name | None = Field(None, description="What each customer is worth.")

    def options(self) -> Options:
        """As the preparation wants it."""
        terms = Terms(self.contact_cost, self.success_rate, self.customer_value)
        return Options(self.label, self.time, self.named_by(), self.value, self.positive, terms)

    def named_by(self) -> str | None:
        """The column that names customers."""
        return None


class ChurnFitRequest(Meaning):
    """How to learn who leaves from the service's own customers: columns are their attributes."""

    def named_by(self) -> str | None:
        return "customer_id"


class EvaluateQuery(Meaning):
    """How to learn who leaves from a table."""

    id: Name | None = Field(None, description="The column that names customers.")
    customers: int = Field(
        1_000, ge=0, le=MOST_REPORTED, description="How many to name, the likeliest to leave first."
    )

    def named_by(self) -> str | None:
        return self.id


class ServeRequest(Schema):
    """Which classifier gives everyone their risk; null: none, and the model of purchases does."""

    version: int | None = Field(ge=1, le=2**31 - 1)


class ColumnOut(BaseModel):
    """What the table says of a column, and whether it is used."""

    name: str
    kind: Literal["number", "date", "category"]
    missing: int
    used: bool
    why: str | None = Field(description="Why it is not used.")


class CalibrationOut(BaseModel):
    """A tenth of the customers, the most likely to leave first: what was predicted, and what came."""

    decile: int
    customers: int
    predicted: float
    observed: float


class LiftOut(BaseModel):
    """The same tenth: how many more left than of all, and the share of all leavers up to it."""

    decile: int
    customers: int
    left: int
    lift: float
    captured: float


class QualityOut(BaseModel):
    """How well a model does on customers that it had not seen."""

    auc: float = Field(description="Mean over the folds.")
    auc_error: float = Field(description="Its standard error.")
    brier: float
    brier_base_rate: float = Field(description="Of giving everyone the share of leavers known before.")
    skill: float = Field(description="1 - brier / brier_base_rate.")
    calibration_error: float = Field(description="Mean difference of predicted and observed over deciles.")
    calibration: list[CalibrationOut]
    lift: list[LiftOut]


class ThresholdOut(BaseModel):
    """From which risk on contacting pays; null where it never does. Gains are of the judged customers."""

    risk: float | None
    contacted: int
    expected_gain: float = Field(description="By the probabilities.")
    observed_gain: float = Field(description="By who did leave.")
    gain_of_all: float = Field(description="Were everyone contacted.")
    contact_cost: float
    success_rate: float
    customer_value: float = Field(description="The mean, where each has their own.")


class DriverOut(BaseModel):
    """A column and how much it moves the log-odds of leaving, on the mean over customers."""

    column: str
    mean_contribution: float


class ReasonOut(BaseModel):
    """What a column does to a customer's risk."""

    column: str
    value: str
    effect: Literal["raises", "lowers"]
    contribution: float = Field(description="In log-odds, before calibration.")
    words: str = Field(examples=["contract is month-to-month: raises the risk"])


class CustomerOut(BaseModel):
    """A customer of the table, by the chosen model fitted to all labelled rows."""

    id: str = Field(description="Of the id column, else the number of the row, from 1.")
    risk: float
    above: bool = Field(description="Whether contacting them pays.")
    label: bool | None = Field(description="Whether they left, as far as the table says.")
    reasons: list[ReasonOut]


class ChurnReport(QualityOut):
    """What a table says of who leaves. Quality at the top level is that of the chosen model."""

    label: str
    rows: int
    used: int = Field(description="Labelled rows that were learnt from and judged by.")
    dropped: dict[str, int]
    base_rate: float = Field(description="The share that left.")
    columns: list[ColumnOut]
    split: Literal["stratified", "time"]
    folds: int
    calibration_method: Literal["sigmoid", "isotonic"]
    models: dict[Literal["logistic", "boosting"], QualityOut]
    chosen: Literal["logistic", "boosting"]
    why: str
    threshold: ThresholdOut
    drivers: list[DriverOut]
    reasons_method: str
    warnings: list[str]
    customers: list[CustomerOut] = Field(description="The likeliest to leave first.")


class AtRisk(BaseModel):
    """A customer's risk of leaving."""

    customer_id: UUID
    risk: float
    kind: Literal["contractual", "non_contractual"]
    horizon_days: int | None = Field(description="Of no purchase; null where a label says who left.")
    threshold: float | None
    above: bool = Field(description="Above the threshold, or not yet well below it again.")
    model: str = Field(examples=["bg_nbd/3", "logistic/2"])
    reasons: list[str]
    as_of: date


class ChurnModelOut(BaseModel):
    """A version of the classifier: what it came from and how well it does."""

    id: UUID
    name: str = Field(examples=["logistic/2"])
    version: int
    kind: Literal["logistic", "boosting"]
    serving: bool = Field(description="Whether risks are computed with it now.")
    label: str
    positive: str | None
    threshold: float | None
    promotion: str = Field(description="Why it serves or does not.")
    customers: int
    data_hash: str = Field(description="Of the rows it was fitted to: equal rows, equal hash.")
    as_of: date
    report: ChurnReport = Field(description="Without customers.")
    created_at: datetime
