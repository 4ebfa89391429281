"""Settings of the scoring service, prefix C360_SCORING_."""

from datetime import date, datetime
from typing import ClassVar

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from shared.settings import ServiceSettings


class ScoringSettings(ServiceSettings):
    """What the scoring service needs to know."""

    model_config = SettingsConfigDict(env_prefix="C360_SCORING_")

    name: ClassVar[str] = "scoring"

    as_of: date | None = Field(
        None,
        description="Score as of this date instead of today: for historical data, as of its own end. "
        "Purchases and refunds after it are left out.",
    )
    horizon_days: int = Field(
        365, ge=1, le=3650, description="How far ahead purchases and lifetime value look."
    )
    discount_rate: float = Field(0.10, ge=0, le=1, description="Per year, for the lifetime value.")
    margin: float = Field(
        1.0, gt=0, le=1, description="The share of spend that counts as value where costs are unknown."
    )

    fit_minimum_customers: int = Field(50, ge=10, le=1_000_000, description="Fewer are too few for a model.")
    fit_timeout_s: float = Field(120.0, gt=0, le=3600)
    hold_out_share: float = Field(
        0.25, gt=0, lt=0.9, description="The end of the data that a new model is judged by."
    )
    promotion_tolerance: float = Field(
        0.02, ge=0, le=1, description="How much worse a new model may predict and still serve, relative."
    )
    drift_every_s: float = Field(3600.0, ge=1, le=7 * 86400)
    fit_rows: int = Field(10_000_000, ge=1000, description="Most histories that one fit reads.")

    quantile_minimum_customers: int = Field(
        5, ge=5, le=1000, description="Buyers needed before recency, frequency and money are cut in fifths."
    )
    cuts_quiet_s: float = Field(2.0, ge=0, le=600, description="Cut anew once facts have rested this long,")
    cuts_wait_s: float = Field(60.0, ge=0, le=3600, description="or have waited this long at most.")
    chunk: int = Field(1_000, ge=1, le=50_000, description="Customers per transaction of a walk over all.")
    scheduler: str | None = Field(
        None, pattern=r"^(tcp|tls)://", description="A Dask scheduler that walks over all are computed by."
    )
    scheduler_chunks: int = Field(8, ge=1, le=256, description="Chunks computed there at a time.")
    walk_s: float = Field(5.0, gt=0, le=60, description="How long one turn of a walk over all may take.")

    actions_without_consent: tuple[str, ...] = Field(
        ("service",), description="Purposes that need no consent; for the others no word means no."
    )
    actions_contact_limit: int = Field(
        2, ge=0, le=1000, description="Contacts of a customer, over all actions,"
    )
    actions_contact_days: int = Field(30, ge=1, le=3650, description="in so many days.")
    actions_minimum_gain: int = Field(
        100, ge=0, le=10**12, description="Less is not worth recommending; minor units."
    )
    actions_per_day: int = Field(
        10_000,
        ge=0,
        le=10**7,
        description="Most recommendations in 24 hours, so that people can follow them.",
    )
    actions_expire_days: int = Field(7, ge=1, le=365, description="How long a recommendation stands.")
    budget_timeout_s: float = Field(300.0, gt=0, le=3600, description="How long one may be solved.")
    budget_attempts: int = Field(
        3, ge=1, le=20, description="How often a plan is begun: a process that ends leaves it to another."
    )
    budget_waiting: int = Field(20, ge=1, le=1000, description="Most plans for a budget that wait.")
    budget_kept_days: int = Field(365, ge=1, le=3650, description="How long a finished plan is kept.")

    recommend_half_life_days: float = Field(
        180.0, ge=1, le=36500, description="A purchase this old counts half in what goes with what."
    )
    recommend_neighbours: int = Field(30, ge=1, le=100, description="Items kept beside each item.")
    recommend_support: float = Field(
        5.0, ge=0, le=1000, description="A pair that n customers bought counts n / (n + this)."
    )
    recommend_together: float = Field(0.7, ge=0, le=1, description="Weight of what is bought together,")
    recommend_alike: float = Field(0.2, ge=0, le=1, description="of what is alike,")
    recommend_popular: float = Field(0.1, ge=0, le=1, description="and of what many buy.")
    recommend_group: str | None = Field(
        None, max_length=100, description="The customers' attribute that popularity is kept apart by."
    )
    recommend_items: int = Field(20_000, ge=2, le=100_000, description="Most items that are learnt of.")
    recommend_basket: int = Field(200, ge=2, le=10_000, description="Most items of a customer, the newest.")
    recommend_pairs: int = Field(
        2_000_000, ge=100, le=20_000_000, description="Most pairs of a customer and an item, the newest."
    )
    recommend_share: float = Field(0.05, ge=0, le=1, description="Learn anew when this share is new,")
    recommend_quiet_s: float = Field(30.0, ge=0, le=3600, description="the first of it this long ago,")
    recommend_wait_s: float = Field(3600.0, ge=1, le=7 * 86400, description="or anything is, this long ago.")

    demand_weeks: int = Field(
        26, ge=0, le=52, description="How far the forecast of every week looks ahead; 0: none is made."
    )

    churn_horizon_days: int = Field(
        90, ge=1, le=3650, description="Silence this long is leaving, where no label says who left."
    )
    churn_threshold: float = Field(
        0.8, gt=0, le=1, description="From this risk of silence on a customer is told of as leaving;"
    )
    churn_margin: float = Field(
        0.1, ge=0, le=1, description="once told, anew only after the risk was this much below it."
    )
    churn_fit_customers: int = Field(
        50_000, ge=50, le=500_000, description="Most labelled customers that are learnt from."
    )

    def observed(self, now: datetime) -> date:
        """The observation date: the day that customers are scored as of, in UTC."""
        return self.as_of or now.date()

    @property
    def basis(self) -> str:
        """Everything but the facts and the models that scores depend on; a change scores everyone anew."""
        return f"{self.horizon_days} days, {self.discount_rate:g} a year, margin {self.margin:g}"

    @property
    def churn_basis(self) -> str:
        """What risks depend on besides facts and models; a change computes everyone's anew."""
        return f"{self.churn_horizon_days} days, from {self.churn_threshold:g}, margin {self.churn_margin:g}"
