"""What goes into a plan for a budget besides gains: who is held out, and whose gain counts for more. Pure."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal
from uuid import UUID

import numpy as np

from services.scoring.actions.rules import Bools, Floats, Situations
from services.scoring.value_index.ahp import Judgement, consistent, weigh

Priority = Literal["value", "risk", "satisfaction"]
PRIORITIES: tuple[Priority, ...] = ("value", "risk", "satisfaction")
_DRAWS = 2**64


def held_out(seed: str, customer_ids: Iterable[bytes], share: float) -> Bools:
    """Who is left out by chance, shape (n,): the same customers for the same seed, whoever else there is.

    `customer_ids` are the bytes of UUIDs.
    """
    drawn = [
        int.from_bytes(hashlib.sha256(f"{seed}:{UUID(bytes=customer)}".encode()).digest()[:8])
        < share * _DRAWS
        for customer in customer_ids
    ]
    return np.array(drawn, dtype=bool)


def weights_of(judgements: Sequence[Judgement]) -> Mapping[str, float]:
    """What matters how much, by AHP, of the priorities that are compared.

    Raises:
        Contradictory: the consistency ratio is above 0.10; names the judgement that fits least.
        Unconnected: the judgements fall apart into groups.
        Invalid: one pair is compared twice, or a priority with itself.
    """
    compared = [p for p in PRIORITIES if any(p in (one.more, one.less) for one in judgements)]
    return consistent(weigh(compared, judgements)).weights


def measures(situations: Situations) -> Floats:
    """What the priorities are about, shape (n, 3): worth in money, the risk to leave, and dissatisfaction.

    Dissatisfaction from 0 to 1 is the mean of what is known of CSAT (1 to 5), NPS (0 to 10) and the mood of
    tickets (-1 to 1); where nothing is known of risk or satisfaction it is 0.5.
    """
    unhappy = np.stack([(5 - situations.csat) / 4, 1 - situations.nps / 10, (1 - situations.mood) / 2])
    known = ~np.isnan(unhappy)
    mean = np.where(known, unhappy, 0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    dissatisfied = np.where(known.any(axis=0), mean, 0.5)
    risk = np.nan_to_num(situations.risk, nan=0.5)
    return np.stack([np.nan_to_num(situations.worth), risk, dissatisfied], axis=1)


def customer_weights(measured: Floats, weights: Mapping[str, float]) -> Floats:
    """How much each customer's gain counts, shape (n,), 1 on average; all the same without priorities.

    Worth counts by the share of the others that are worth less, half of those who are worth the same.
    """
    n = len(measured)
    if not weights or n == 0:
        return np.ones(n)
    worth = np.sort(measured[:, 0])
    below, up_to = (np.searchsorted(worth, measured[:, 0], side) for side in ("left", "right"))
    scores = np.stack([(below + up_to) / (2 * n), measured[:, 1], measured[:, 2]], axis=1)
    shares = np.array([weights.get(priority, 0.0) for priority in PRIORITIES])
    combined: Floats = scores @ (shares / shares.sum())
    mean = float(combined.mean())
    return combined / mean if mean > 0 else np.ones(n)
