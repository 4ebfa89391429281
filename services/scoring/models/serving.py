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
    """The Gamma-Gamma that serves one currency, in its minor units."""

    version: int
    params: GammaGamma


@dataclass(frozen=True, slots=True)
class Serving:
    """The models that scores are computed with now."""

    purchases: PurchaseModel | None = None
    spend: dict[str, SpendModel] = field(default_factory=dict)
