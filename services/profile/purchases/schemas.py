"""What the purchases' API takes and gives."""

from datetime import datetime
from functools import cache
from typing import Annotated, Any
from uuid import UUID

import pycountry
from pydantic import AfterValidator, BaseModel, Field, StringConstraints

from services.profile.batches import MAX_ITEMS, Batch, DescribedAs
from services.profile.customers.schemas import CustomerRef
from services.profile.values import MAX_AMOUNT, Amount, Moment, SourceId, SourceName, Word
from shared.web.schemas import Schema

MAX_LINES = 500
MAX_QUANTITY = 10**6


@cache
def _currencies() -> frozenset[str]:
    return frozenset(currency.alpha_3 for currency in pycountry.currencies)


def _known_currency(code: str) -> str:
    if code not in _currencies():
        raise ValueError("must be a currency code of ISO 4217, such as CNY")
    return code


Currency = Annotated[str, StringConstraints(pattern="^[A-Z]{3}$"), AfterValidator(_known_currency)]
Text = Annotated[str, StringConstraints(min_length=1, max_length=100)]


class LineIn(Schema):
    """One line of a purchase, discounts taken off. Amounts in minor units, for the whole quantity."""

    sku: Text
    category: Text | None = None
    quantity: int = Field(1, ge=1, le=MAX_QUANTITY)
    amount: Amount
    cost: Amount | None = None


class PurchaseIn(Schema):
    """A purchase, recorded once for its source and source_id. `amount` is what was paid, in minor units."""

    customer: CustomerRef
    source: SourceName
    source_id: SourceId
    occurred_at: Moment
    currency: Currency
    amount: Amount
    lines: list[LineIn] = Field([], max_length=MAX_LINES)
    touchpoint: Word | None = None
    channel: Word | None = None


class PurchaseBatch(Batch):
    """Up to 1000 purchases, of any customers."""

    items: Annotated[list[Annotated[Any, DescribedAs(PurchaseIn)]], Field(min_length=1, max_length=MAX_ITEMS)]


class RefundIn(Schema):
    """Something given back. Named by `source_id`, or else by an Idempotency-Key header."""

    amount: int = Field(ge=1, le=MAX_AMOUNT, description="Minor units of the purchase's currency.")
    reason: Annotated[str, StringConstraints(min_length=1, max_length=200)] | None = None
    source: SourceName | None = Field(None, description="The purchase's source, if left out.")
    source_id: SourceId | None = None
    occurred_at: Moment | None = Field(None, description="Now, if left out.")


class LineOut(BaseModel):
    sku: str
    category: str | None
    quantity: int
    amount: int
    cost: int | None


class PurchaseOut(BaseModel):
    """A purchase; `refunded` is what was given back so far."""

    id: UUID
    customer_id: UUID
    source: str
    source_id: str
    currency: str
    amount: int
    refunded: int
    lines: list[LineOut]
    touchpoint: str | None
    channel: str | None
    occurred_at: datetime
    recorded_at: datetime


class RefundOut(BaseModel):
    """A refund; `refunded` and `refundable` are of its purchase, after it."""

    id: UUID
    purchase_id: UUID
    customer_id: UUID
    source: str
    source_id: str | None
    amount: int
    currency: str
    reason: str | None
    occurred_at: datetime
    refunded: int
    refundable: int
