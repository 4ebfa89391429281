"""One customer's worth from a purchase log: historic, simple and predicted, with what is uncertain. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np

from services.scoring.facts.histories import DAYS_PER_UNIT, Floats, Histories, Purchased, Spending, read_log
from services.scoring.models import gamma_gamma
from services.scoring.models.catalogue import PURCHASE_KINDS, PurchaseKind
from services.scoring.models.gamma_gamma import GammaGamma
from services.scoring.value.lifetime import DAYS_PER_YEAR, Terms
from services.scoring.value.worth import (
    Buyers,
    Fitted,
    bootstrap_interval,
    historic_value,
    lifetime_values,
    net_present_value,
    simple_value,
    standard_errors,
)


@dataclass(frozen=True, slots=True)
class Appraisal:
    """All in the money of the log; `interval` is the bootstrap's, at 95 %."""

    customer: str
    as_of: str
    historic_value: float
    net_present_value: float
    simple_value: float
    lifetime_value: float
    standard_error: float
    interval: tuple[float, float] | None
    horizon_days: int
    model: str


def appraise(
    purchases: Sequence[Purchased],
    customer: str,
    *,
    end: date,
    kind: PurchaseKind,
    terms: Terms,
    lifespan_years: float,
    bootstrap: int,
) -> Appraisal:
    """Fit purchases and spend to everyone as of `end`, and say what one customer has been and will be worth.

    Raises:
        ValueError: the customer had not bought by then.
        TooFewCustomers, NoRepeatBuyers, NoVariance, NotConverged: the models refuse these customers.
    """
    days: dict[date, float] = {}
    for purchase in purchases:
        if str(purchase.customer) == customer and purchase.on <= end:
            days[purchase.on] = days.get(purchase.on, 0.0) + purchase.amount
    if not days:
        raise ValueError(f"The log has no purchase of {customer} up to {end}.")
    unit_days = DAYS_PER_UNIT["week"]
    histories, spending = read_log(purchases, end=end, unit="week")
    chosen = PURCHASE_KINDS[kind]
    fitted = Fitted(chosen.make, chosen.fit(histories), gamma_gamma.fit(spending), unit_days)
    first, last = min(days), max(days)
    amounts = np.array([days[day] for day in sorted(days)])
    since = np.array([(day - first).days for day in sorted(days)], dtype=np.float64)
    buyer = Buyers(
        np.array([len(days) - 1.0]),
        np.array([(last - first).days / unit_days]),
        np.array([(end - first).days / unit_days]),
        np.array([len(days) - 1.0]),
        np.array([amounts[1:].mean() if len(days) > 1 else 0.0]),
    )

    def valued(histories: Histories, spending: Spending) -> Floats:
        purchasing = chosen.make(**chosen.fit(histories).params)
        spend = GammaGamma(**gamma_gamma.fit(spending).params)
        return lifetime_values(purchasing, spend, buyer, terms, unit_days)

    interval = None
    if bootstrap:
        low, high = bootstrap_interval(histories, spending, valued, bootstrap)
        interval = (float(low[0]), float(high[0]))
    years = max((end - first).days, 1) / DAYS_PER_YEAR
    value = lifetime_values(
        chosen.make(**fitted.purchases.params), GammaGamma(**fitted.spend.params), buyer, terms, unit_days
    )
    return Appraisal(
        customer=customer,
        as_of=str(end),
        historic_value=historic_value(amounts, terms),
        net_present_value=net_present_value(amounts, since, terms),
        simple_value=simple_value(float(amounts.mean()), len(days) / years, lifespan_years, terms.margin),
        lifetime_value=float(value[0]),
        standard_error=float(standard_errors(fitted, buyer, terms)[0]),
        interval=interval,
        horizon_days=terms.horizon_days,
        model=f"{kind} × gamma_gamma",
    )
