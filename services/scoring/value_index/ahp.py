"""The analytic hierarchy process: weights from judgements that compare two things at a time. Pure.

Saaty (1980), The Analytic Hierarchy Process, McGraw-Hill; Saaty (2008), International Journal of Services
Sciences 1(1), 83-98: the weights are the principal eigenvector of the matrix of judgements, and the largest
eigenvalue tells how far these contradict one another.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shared.problems import Conflict, Invalid

Floats = NDArray[np.float64]

# Mean consistency index of random matrices of 1, 2, 3 … things, Saaty (1980), table of section 1-4.
RANDOM_INDEX = (0.0, 0.0, 0.58, 0.90, 1.12, 1.24, 1.32, 1.41, 1.45, 1.49)
MOST_THINGS = len(RANDOM_INDEX)
MOST_INCONSISTENT = 0.10  # Saaty's rule of thumb for the consistency ratio
_NOISE = 1e-9


class Contradictory(Conflict):
    slug, title = "contradictory-comparisons", "The comparisons contradict one another"


class Unconnected(Invalid):
    slug, title = "unconnected-comparisons", "The comparisons do not connect everything"


@dataclass(frozen=True, slots=True)
class Judgement:
    """`more` matters `ratio` times as much as `less`."""

    more: str
    less: str
    ratio: float


@dataclass(frozen=True, slots=True)
class Weights:
    """Weights that sum to one, and how consistent the judgements are; `worst` is the least consistent one.

    `consistent_ratio` is what the others say the worst one should be.
    """

    weights: Mapping[str, float]
    largest_eigenvalue: float
    consistency_index: float
    consistency_ratio: float
    worst: Judgement | None
    consistent_ratio: float | None


def weigh(things: Sequence[str], judgements: Sequence[Judgement]) -> Weights:
    """The weights of at most ten things; no judgement at all means that they matter equally.

    Missing judgements are left to the others by Harker (1987), Mathematical Modelling 9(11), 837-848: the
    ratio of the weights themselves stands for them, which makes their entries 0 and the diagonal one more
    than the number missing in its row.

    Raises:
        Invalid: a judgement names something else, or one pair twice.
        Unconnected: the judgements say nothing about how some things compare with the others.
    """
    if not judgements:
        even = 1 / len(things)
        return Weights(dict.fromkeys(things, even), float(len(things)), 0.0, 0.0, None, None)
    matrix = _matrix(things, judgements)
    weights, largest = _principal(matrix)
    n = len(things)
    index = (largest - n) / (n - 1) if n > 1 else 0.0
    index = 0.0 if index < _NOISE else index
    random = _random_index(n, int((matrix == 0).sum()) // 2)
    # Saaty (2003), European Journal of Operational Research 145(1), 85-91: the judgement to think over first
    # is the one whose a_ij w_j / w_i is farthest from 1.
    place = {thing: position for position, thing in enumerate(things)}

    def off(judgement: Judgement) -> float:
        ratio = judgement.ratio * weights[place[judgement.less]] / weights[place[judgement.more]]
        return float(max(ratio, 1 / ratio))

    worst = max(judgements, key=off)
    return Weights(
        {thing: float(weight) for thing, weight in zip(things, weights, strict=True)},
        largest,
        index,
        index / random if random > 0 else 0.0,
        worst,
        float(weights[place[worst.more]] / weights[place[worst.less]]),
    )


def consistent(weights: Weights) -> Weights:
    """The same weights, when the judgements behind them are consistent enough to be used.

    Raises:
        Contradictory: the consistency ratio is above 0.10; names the judgement that fits least.
    """
    if weights.consistency_ratio <= MOST_INCONSISTENT or weights.worst is None:
        return weights
    worst = weights.worst
    raise Contradictory(
        f"The consistency ratio is {weights.consistency_ratio:.3f}, more than {MOST_INCONSISTENT:.2f}. "
        f"Think over first that {worst.more} matters {worst.ratio:g} times as much as {worst.less}: "
        f"all judgements together say {weights.consistent_ratio:.2g} times.",
        consistency_ratio=round(weights.consistency_ratio, 4),
        most_inconsistent={"more": worst.more, "less": worst.less, "ratio": worst.ratio},
        consistent_ratio=round(weights.consistent_ratio or 0.0, 4),
    )


def _matrix(things: Sequence[str], judgements: Sequence[Judgement]) -> Floats:
    """Judgements a_ij and their reciprocals, shape (n, n); 0 where there is none, Harker's diagonal."""
    place = {thing: position for position, thing in enumerate(things)}
    matrix = np.zeros((len(things), len(things)))
    for judgement in judgements:
        unknown = {judgement.more, judgement.less} - place.keys()
        if unknown:
            raise Invalid(f"There is no {min(unknown)} to compare here; there are {', '.join(things)}.")
        i, j = place[judgement.more], place[judgement.less]
        if i == j:
            raise Invalid(f"{judgement.more} is compared with itself.")
        if matrix[i, j]:
            raise Invalid(f"{judgement.more} and {judgement.less} are compared twice.")
        matrix[i, j], matrix[j, i] = judgement.ratio, 1 / judgement.ratio
    np.fill_diagonal(matrix, 1)
    reached = np.linalg.matrix_power(np.minimum(matrix, 1), len(things))[0] > 0
    if not reached.all():
        alone = things[int(np.argmin(reached))]
        raise Unconnected(
            f"No judgement leads from {things[0]} to {alone}; compare it with one of the others."
        )
    np.fill_diagonal(matrix, 1 + (matrix == 0).sum(axis=1))
    return matrix


def _principal(matrix: Floats) -> tuple[Floats, float]:
    values, vectors = np.linalg.eig(matrix)
    largest = int(values.real.argmax())
    vector = np.abs(vectors[:, largest].real)
    return vector / vector.sum(), float(values[largest].real)


def _random_index(n: int, missing: int) -> float:
    """Fewer judgements contradict each other less by chance: nearly linearly so.

    Ágoston & Csató (2022), Omega 108, 102576: RI(n, m) ≈ (1 - 2m / ((n-1)(n-2))) RI(n, 0).
    """
    if n <= 2:
        return 0.0
    return RANDOM_INDEX[n - 1] * (1 - 2 * missing / ((n - 1) * (n - 2)))
