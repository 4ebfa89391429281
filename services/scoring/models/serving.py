"""The models that scores are computed with. Pure."""

from dataclasses import dataclass, field

from services.scoring.models.catalogue import PurchaseKind
from services.scoring.models.gamma_gamma import GammaGamma
from services.scoring.models.purchasing import Purchasing


@dataclass(frozen=True, slots=True)
class PurchaseModel:
    """The model of purchases that serves; `unit_days` are the days of its unit of time."""

    version: int
    unit_days: int
    params: Purchasing
    kind: PurchaseKind = "bg_nbd"


@dataclass(frozen=True, slots=True)
class SpendModel:
    """The Gamma-Gamma that serves one currency, in its minor units.

    Of the spend that it expects, `refund_rate` is given back, and `cost_rate` of the rest is what it cost;
    None where that is not known.
    """

    version: int
    params: GammaGamma
    refund_rate: float = 0.0
    cost_rate: float | None = None

    def kept(self, margin: float) -> float:
        """The share of spend that counts as value; `margin` stands in where costs are not known."""
        return (1 - self.refund_rate) * (margin if self.cost_rate is None else 1 - self.cost_rate)


@dataclass(frozen=True, slots=True)
class Serving:
    """The models that scores are computed with now."""

    purchases: PurchaseModel | None = None
    spend: dict[str, SpendModel] = field(default_factory=dict)
