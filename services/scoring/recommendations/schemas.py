"""What the API of items and recommendations takes and gives."""

from dataclasses import asdict
from datetime import date, datetime
from typing import Annotated, Self
from uuid import UUID

from pydantic import BaseModel, Field, StringConstraints, model_validator

from services.scoring.recommendations.items import Item
from services.scoring.recommendations.store import LearntModel
from shared.web.schemas import SafeInt, Schema

MOST_ITEMS = 1000
MOST_ATTRIBUTES = 50
MOST_VALUES = 50

Sku = Annotated[str, StringConstraints(min_length=1, max_length=100)]
Value = Annotated[str, StringConstraints(max_length=200)] | bool | SafeInt | float | None
Values = Value | Annotated[list[Value], Field(max_length=MOST_VALUES)]


class ItemIn(Schema):
    """What an item is and whether it can be sold; what is left out is unknown."""

    category: Sku | None = None
    attributes: dict[Sku, Values] = Field(
        {}, max_length=MOST_ATTRIBUTES, description="Items with equal values are alike."
    )
    in_stock: bool = Field(True, description="What is not in stock is not recommended.")
    repeatable: bool = Field(False, description="Bought again and again: recommended although it was bought.")
    price: SafeInt | None = Field(None, ge=0, description="In minor units of `currency`.")
    currency: str | None = Field(None, pattern="^[A-Z]{3}$", examples=["CNY"])

    @model_validator(mode="after")
    def _priced(self) -> Self:
        if (self.price is None) != (self.currency is None):
            raise ValueError("price and currency belong together")
        return self

    def item(self, sku: str) -> Item:
        """As the store wants it."""
        return Item(sku, **{name: getattr(self, name) for name in ItemIn.model_fields})


class BatchedItem(ItemIn):
    """An item of a batch."""

    sku: Sku


class ItemBatch(Schema):
    """Up to 1000 items, each as it is from now on, whatever was told of it before."""

    items: list[BatchedItem] = Field(min_length=1, max_length=MOST_ITEMS)

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        skus = [item.sku for item in self.items]
        if len(set(skus)) < len(skus):
            twice = next(sku for n, sku in enumerate(skus) if sku in skus[:n])
            raise ValueError(f"the sku {twice} is there twice")
        return self


class ItemBatchOut(BaseModel):
    """What a batch of items did."""

    created: int
    changed: int
    unchanged: int


class ItemOut(BaseModel):
    """An item. `told` is false while only purchases name it: then its stock is taken for granted."""

    sku: str
    category: str | None
    attributes: dict[str, Values]
    in_stock: bool
    repeatable: bool
    price: int | None
    currency: str | None
    told: bool
    version: int

    @classmethod
    def of(cls, item: Item) -> "ItemOut":
        """The public form of a stored item."""
        return cls(**{name: getattr(item, name) for name in cls.model_fields})


class PartsOut(BaseModel):
    """What adds up to the score: each part is its similarity or popularity times its weight."""

    together: float = Field(description="Bought by the same customers as what they bought.")
    alike: float = Field(description="Of the same category and attributes as what they bought.")
    popular: float = Field(description="Bought by many of late.")


class RecommendationOut(BaseModel):
    """An item, best first, and why."""

    sku: str
    category: str | None
    price: int | None
    currency: str | None
    score: float
    reason: str = Field(examples=["bought with A1 by 37 customers, which they bought on 2026-03-01"])
    parts: PartsOut


class NotKnown(BaseModel):
    """What is not known, and why."""

    what: str
    why: str


class RecommendationsOut(BaseModel):
    """What to offer a customer. Empty with the reason in `unknown` when there is nothing."""

    customer_id: UUID
    merged_into: UUID | None = Field(description="Who the customer asked for has become one with.")
    as_of: date
    model: str | None = Field(examples=["recommendations/3"])
    items: list[RecommendationOut]
    unknown: list[NotKnown]


class JudgedOut(BaseModel):
    """How well recommendations foretold what was bought."""

    precision: float = Field(description="Share of the k recommended items that the customer bought.")
    recall: float = Field(description="Share of the items they bought that were recommended.")
    hit_rate: float = Field(description="Share of customers who bought at least one of them.")
    coverage: float = Field(description="Share of all items that were recommended to anybody.")


class LearntQuality(BaseModel):
    """Learnt from purchases until `split_on` and judged by what customers bought for the first time since."""

    k: int
    split_on: date
    customers: int
    mixed: JudgedOut = Field(description="Together, alike and popular, by their weights.")
    popularity: JudgedOut = Field(description="What everybody buys, to everybody.")
    better: bool = Field(description="Whether the mixture finds more of what is bought.")


class TermsOut(BaseModel):
    """How it was learnt and is mixed."""

    half_life_days: float
    neighbours: int
    support: float
    together: float
    alike: float
    popular: float


class LearntModelOut(BaseModel):
    """A version of what goes with what; the newest one serves. No customer's row is part of it."""

    name: str
    version: int
    serving: bool
    window_from: date
    window_to: date
    customers: int
    items: int
    pairs: int = Field(description="Of a customer and an item that they bought.")
    neighbours: int
    terms: TermsOut
    groups: list[str] = Field(description="Values that popularity is kept apart by, besides everybody's.")
    data_hash: str = Field(description="Equal data, equal hash.")
    quality: LearntQuality | None = Field(description="Null when nobody bought before and after the split.")
    seconds: float
    created_at: datetime

    @classmethod
    def of(cls, model: LearntModel, *, serving: bool) -> "LearntModelOut":
        """The public form of a stored version."""
        given = {name: getattr(model, name) for name in cls.model_fields if hasattr(model, name)}
        given |= {
            "name": f"recommendations/{model.version}",
            "serving": serving,
            "terms": TermsOut(**asdict(model.terms)),
            "groups": model.groups[1:],
        }
        return cls(**given)
