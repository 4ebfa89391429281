"""The models by name: what each is called, its parameters, how it is fitted. Pure."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol, get_args

from services.scoring.facts.histories import Histories
from services.scoring.models import bg_bb, bg_nbd, mbg_nbd, pareto_nbd
from services.scoring.models.bg_bb import BgBb
from services.scoring.models.bg_nbd import BgNbd
from services.scoring.models.estimation import Estimate
from services.scoring.models.mbg_nbd import MbgNbd
from services.scoring.models.pareto_nbd import ParetoNbd
from services.scoring.models.purchasing import Purchasing

PurchaseKind = Literal["bg_nbd", "mbg_nbd", "pareto_nbd"]
OccasionKind = Literal["bg_bb"]
# The kinds that the service fits and serves.
ModelKind = Literal["bg_nbd", "mbg_nbd", "pareto_nbd", "gamma_gamma"]
KINDS: dict[str, ModelKind] = {kind: kind for kind in get_args(ModelKind)}


class Fit(Protocol):
    """Fits a model of purchases to folded histories."""

    def __call__(self, histories: Histories, *, minimum_customers: int = ...) -> Estimate: ...


@dataclass(frozen=True, slots=True)
class PurchaseModelKind:
    """A model of purchases: `make` takes its parameters by name."""

    title: str
    names: tuple[str, ...]
    make: Callable[..., Purchasing]
    fit: Fit


# Models of purchases at any time, which all read the same histories.
PURCHASE_KINDS: dict[PurchaseKind, PurchaseModelKind] = {
    "bg_nbd": PurchaseModelKind("BG/NBD", BgNbd.names, BgNbd, bg_nbd.fit),
    "mbg_nbd": PurchaseModelKind("MBG/NBD", MbgNbd.names, MbgNbd, mbg_nbd.fit),
    "pareto_nbd": PurchaseModelKind("Pareto/NBD", ParetoNbd.names, ParetoNbd, pareto_nbd.fit),
}
# Models of purchases at occasions, which count periods with a purchase.
OCCASION_KINDS: dict[OccasionKind, PurchaseModelKind] = {
    "bg_bb": PurchaseModelKind("BG/BB", BgBb.names, BgBb, bg_bb.fit),
}


def purchases_by(kind: ModelKind) -> PurchaseModelKind:
    """The model of purchases of that name.

    Raises:
        ValueError: it is one of spend.
    """
    if kind == "gamma_gamma":
        raise ValueError(f"{kind} is a model of spend")
    return PURCHASE_KINDS[kind]
