"""How well recommendations foretell what is bought next, against recommending what everybody buys. Pure."""

from dataclasses import dataclass

import numpy as np

from services.scoring.facts.histories import Floats
from services.scoring.recommendations.neighbours import Ints, Neighbours, Pairs, Terms, best, mix

COUNT = 10  # k of precision@k and its kin
MOST_CUSTOMERS = 5_000  # judged by: shares are then off by less than two hundredths


@dataclass(frozen=True, slots=True)
class Judged:
    """Of the k items recommended to each customer: which share they bought, and which share of what they
    bought was among them; how many customers bought any; which share of all items anybody was recommended.
    """

    precision: float
    recall: float
    hit_rate: float
    coverage: float


@dataclass(frozen=True, slots=True)
class Quality:
    """The mixture against popularity alone, on what `customers` bought first after the split."""

    k: int
    customers: int
    mixed: Judged
    popularity: Judged

    @property
    def better(self) -> bool:
        """Whether the mixture finds more of what is bought than popularity does."""
        return self.mixed.recall > self.popularity.recall


def evaluate(learnt: Neighbours, seen: Pairs, later: Pairs, group_of: Ints, terms: Terms) -> Quality | None:
    """Judge what was learnt from the pairs `seen` before a split by those that came `later`.

    Only items that are new to the customer count, as what was bought is not recommended; and only customers
    who had bought something. None when nobody is left.
    """
    items = learnt.popularity.shape[1]
    known = np.unique(seen.customer)
    fresh = ~np.isin(later.customer * items + later.item, seen.customer * items + seen.item)
    fresh &= np.isin(later.customer, known)
    customers = np.unique(later.customer[fresh])
    if customers.size == 0:
        return None
    if customers.size > MOST_CUSTOMERS:
        customers = customers[:: -(-customers.size // MOST_CUSTOMERS)]
    wanted = _lists(later.customer[fresh], later.item[fresh])
    owned = _lists(seen.customer, seen.item)
    for_sale = np.unique(np.concatenate([seen.item, learnt.neighbour])).size
    tally = {name: _Tally(for_sale) for name in ("mixed", "popularity")}
    for block, scores in mix(learnt, seen, customers, group_of, terms):
        popular = np.broadcast_to(learnt.popularity[0], scores.shape).copy()
        for name, given in (("mixed", scores), ("popularity", popular)):
            for row, customer in enumerate(block):
                given[row, owned[int(customer)]] = -1
            for customer, order, values in zip(block, best(given, COUNT), given, strict=True):
                tally[name].add(order[values[order] > 0], wanted[int(customer)])
    return Quality(COUNT, int(customers.size), tally["mixed"].judged(), tally["popularity"].judged())


class _Tally:
    """Counts hits as customers come by."""

    def __init__(self, for_sale: int) -> None:
        self._for_sale = for_sale
        self._customers = self._hit = 0
        self._precision = self._recall = 0.0
        self._shown: set[int] = set()

    def add(self, recommended: Ints, wanted: Ints) -> None:
        hits = int(np.isin(wanted, recommended).sum())
        self._customers += 1
        self._hit += hits > 0
        self._precision += hits / COUNT
        self._recall += hits / wanted.size
        self._shown.update(recommended.tolist())

    def judged(self) -> Judged:
        n = self._customers
        return Judged(
            self._precision / n, self._recall / n, self._hit / n, len(self._shown) / max(self._for_sale, 1)
        )


def _lists(customer: Ints, item: Ints) -> dict[int, Ints]:
    """The items of each customer."""
    order = np.argsort(customer, kind="stable")
    owners, starts = np.unique(customer[order], return_index=True)
    return dict(zip(owners.tolist(), np.split(item[order], starts[1:]), strict=True))


def split(pairs: Pairs, seen_age_days: Floats, split_days: float) -> tuple[Pairs, Pairs]:
    """What was bought until `split_days` before the observation date, and what came after it.

    `seen_age_days` says for each pair how long ago it was last bought by then; negative: not yet.
    """
    before = seen_age_days >= 0
    seen = Pairs(pairs.customer[before], pairs.item[before], seen_age_days[before])
    after = pairs.age_days < split_days
    return seen, Pairs(pairs.customer[after], pairs.item[after], pairs.age_days[after])
