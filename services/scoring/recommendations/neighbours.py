"""What goes with what: items bought by the same customers, items that are alike, items many buy. Pure.

Deshpande & Karypis (2004), "Item-Based Top-N Recommendation Algorithms", ACM Transactions on Information
Systems 22(1), 143-177: similarities between items are computed beforehand, those of the most similar ones
are kept, and a customer's basket is compared with each candidate by the sum of the similarities to its items.

Here a customer's item weighs 2^(-age / half-life), so that what is bought together of late counts most. The
cosine divides by the lengths of both items' columns, which is what keeps items that everybody buys from
being everybody's neighbour. As items have neighbourhoods of different density, which their paper mends by
normalising each item's similarities, those of an item are divided by the highest of them; and a pair that
only n customers bought counts n / (n + support) of that.
Customers and items are numbered from 0. Arrays of pairs have shape (n,), of neighbours (m,).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from services.scoring.facts.histories import Floats

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

Ints = NDArray[np.int64]

CELLS = 1 << 22  # numbers of one dense block: what bounds the memory, whatever the number of items
OLDEST_HALF_LIVES = 500.0  # weights older than that are as good as nothing, and still numbers
SHORTEST = 1e-300  # a length that can be divided by
NEW = 2.0  # how much more likeness counts for an item that nobody has bought: nothing else speaks for it


@dataclass(frozen=True, slots=True)
class Terms:
    """How to learn and to mix. The weights say how much each part counts in the score, each part from 0."""

    half_life_days: float
    neighbours: int
    support: float
    together: float
    alike: float
    popular: float


@dataclass(frozen=True, slots=True)
class Pairs:
    """Who bought what: customer, item, and how many days ago they last did."""

    customer: Ints
    item: Ints
    age_days: Floats

    def weights(self, terms: Terms) -> Floats:
        """What each pair counts, 1 for the newest of all."""
        if self.age_days.size == 0:
            return self.age_days
        halvings = np.minimum((self.age_days - self.age_days.min()) / terms.half_life_days, OLDEST_HALF_LIVES)
        weights: Floats = 0.5**halvings
        return weights


@dataclass(frozen=True, slots=True)
class Neighbours:
    """For pairs of items how much they are bought together, from 0 to 1, and how alike they are.

    Likeness is from 0 to 1 for neighbours that many have bought, and counts 1 + NEW times for those that
    nobody has: n buyers take n / (n + support) of that away. `customers` bought both. `popularity` has shape
    (groups, items): decayed buyers, 1 for the most bought; the first group is everybody.
    """

    item: Ints
    neighbour: Ints
    together: Floats
    alike: Floats
    customers: Ints
    popularity: Floats


def learn(
    pairs: Pairs, traits: Sequence[Sequence[str]], group_of: Ints, groups: int, terms: Terms
) -> Neighbours:
    """The neighbours of every item.

    Args:
        traits: of each item what it is, such as its category and attributes; equal words are alike.
        group_of: of each customer the group that their popularity counts in besides everybody's (0).
        groups: how many groups there are, everybody included.
    """
    items = len(traits)
    shape = (items, int(pairs.customer.max(initial=-1)) + 1)
    bought = _unit(_matrix(pairs.weights(terms), pairs.item, pairs.customer, shape))
    both = _matrix(np.ones(pairs.item.size), pairs.item, pairs.customer, shape)
    looks = _looks(traits)
    buyers = np.bincount(pairs.item, minlength=items)
    newness = 1 - buyers / np.maximum(buyers + terms.support, SHORTEST)
    found: list[tuple[Any, ...]] = []
    for start, stop in _blocks(items, items):
        shared = (both[start:stop] @ both.T).toarray()
        together = (bought[start:stop] @ bought.T).toarray()
        alike = (looks[start:stop] @ looks.T).toarray() * (1 + NEW * newness)
        for block in (together, alike):
            block[np.arange(stop - start), np.arange(start, stop)] = 0
        together /= np.maximum(together.max(axis=1, keepdims=True), SHORTEST)
        together *= shared / np.maximum(shared + terms.support, SHORTEST)
        kept = _nearest(together, terms.neighbours) | _nearest(alike, terms.neighbours)
        row, column = np.nonzero(kept)
        found.append((row + start, column, together[kept], alike[kept], shared[kept]))
    columns = [np.concatenate(parts) for parts in zip(*found, strict=True)]
    return Neighbours(
        item=columns[0],
        neighbour=columns[1],
        together=columns[2],
        alike=columns[3],
        customers=columns[4].astype(np.int64),
        popularity=_popularity(pairs, group_of, groups, items, terms),
    )


def mix(
    learnt: Neighbours, pairs: Pairs, customers: Ints, group_of: Ints, terms: Terms
) -> Iterator[tuple[Ints, Floats]]:
    """Blocks of these customers with the score of every item for them, shape (block, items).

    Of a part, the score is the sum of the similarities to what they bought, each times the weight of that,
    over the length of their weights. The same sum is written in SQL for one customer (`store.recommend`).
    """
    items = learnt.popularity.shape[1]
    together, alike = (
        _matrix(values, learnt.item, learnt.neighbour, (items, items))
        for values in (learnt.together, learnt.alike)
    )
    baskets = _matrix(pairs.weights(terms), pairs.customer, pairs.item, (group_of.size, items))
    basket = _unit(baskets[customers])
    for start, stop in _blocks(customers.size, items):
        part = basket[start:stop]
        scores = terms.together * (part @ together).toarray() + terms.alike * (part @ alike).toarray()
        scores += terms.popular * learnt.popularity[group_of[customers[start:stop]]]
        yield customers[start:stop], scores


def best(scores: Floats, count: int) -> Ints:
    """The items with the highest scores, best first, shape (customers, count); of equals the first one."""
    count = min(count, scores.shape[1])
    chosen = np.argpartition(-scores, count - 1, axis=1)[:, :count]
    chosen.sort(axis=1)
    order = np.argsort(-np.take_along_axis(scores, chosen, axis=1), axis=1, kind="stable")
    return np.take_along_axis(chosen, order, axis=1)


def _matrix(values: Floats, rows: Ints, columns: Ints, shape: tuple[int, int]) -> "csr_matrix":
    from scipy.sparse import csr_matrix

    return csr_matrix((values, (rows, columns)), shape=shape)


def _unit(matrix: "csr_matrix", own: float = 0.0) -> "csr_matrix":
    """With every row of length 1, so that products of rows are cosines; empty rows stay empty.

    `own` is what each row has for itself alone, squared: it counts in the length, and in no product.
    """
    from scipy.sparse import diags

    length = np.sqrt(np.asarray(matrix.multiply(matrix).sum(axis=1)).ravel() + own)
    return (diags(1 / np.maximum(length, SHORTEST)) @ matrix).tocsr()


def _looks(traits: Sequence[Sequence[str]]) -> "csr_matrix":
    """Items by traits, so that products of rows say how alike two items are, below 1.

    A trait counts ln(1 + items / items that have it). Each item also has a trait of its own of weight 1: two
    that share nothing but a broad category are less alike than two that share much.
    """
    words = sorted({word for item in traits for word in item})
    place = {word: n for n, word in enumerate(words)}
    rows = np.array([n for n, item in enumerate(traits) for _ in set(item)], dtype=np.int64)
    columns = np.array([place[word] for item in traits for word in sorted(set(item))], dtype=np.int64)
    counts = np.log1p(len(traits) / np.maximum(np.bincount(columns, minlength=len(words)), 1))
    return _unit(_matrix(counts[columns], rows, columns, (len(traits), len(words))), own=1.0)


def _nearest(scores: Floats, count: int) -> NDArray[np.bool_]:
    """Which `count` of each row are highest, those of 0 left out; same shape as the scores."""
    kept = scores > 0
    if count < scores.shape[1]:
        chosen = np.argpartition(-scores, count - 1, axis=1)[:, :count]
        highest = np.zeros_like(kept)
        np.put_along_axis(highest, chosen, True, axis=1)
        kept &= highest
    return kept


def _popularity(pairs: Pairs, group_of: Ints, groups: int, items: int, terms: Terms) -> Floats:
    """Decayed buyers of each item, shape (groups, items), over those of the group's most bought one."""
    weights = pairs.weights(terms)
    found = np.zeros((groups, items))
    found[0] = np.bincount(pairs.item, weights, minlength=items)
    own = group_of[pairs.customer] > 0
    np.add.at(found, (group_of[pairs.customer[own]], pairs.item[own]), weights[own])
    most = found.max(axis=1, initial=0)
    shares: Floats = found / np.where(most > 0, most, 1)[:, None]
    return shares


def _blocks(rows: int, columns: int) -> Iterator[tuple[int, int]]:
    """Where blocks of rows start and end, so that one has at most CELLS numbers."""
    size = max(1, CELLS // max(columns, 1))
    for start in range(0, rows, size):
        yield start, min(start + size, rows)
