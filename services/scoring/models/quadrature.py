"""Expectations over a Beta distribution, by Gauss-Jacobi quadrature (Golub & Welsch 1969).

Numpy alone, so that scoring one customer imports nothing heavier.
"""

from functools import lru_cache

import numpy as np

from services.scoring.facts.histories import Floats

CACHED_RULES = 4096
SMALLEST_NODE = 1e-30


@lru_cache(maxsize=CACHED_RULES)
def beta_rule(a: float, b: float, count: int) -> tuple[Floats, Floats]:
    """Nodes p in (0, 1) and weights that sum to 1, both of shape (count,).

    Σ weights × f(nodes) is E[f(P)] for P ~ Beta(a, b), exact when f is a polynomial of degree below
    2 × count. The rule is the eigensystem of the Jacobi matrix of the orthogonal polynomials for
    p^(a-1) (1-p)^(b-1), whose recurrence is written for x = 2p - 1 (DLMF 18.9).
    """
    left, right = a - 1.0, b - 1.0  # exponents of (1 + x) and (1 - x)
    both = left + right
    k = np.arange(1, count, dtype=np.float64)
    diagonal = np.empty(count)
    diagonal[0] = (left - right) / (both + 2)
    diagonal[1:] = (left - right) * both / ((2 * k + both) * (2 * k + both + 2))
    squared = np.empty(count - 1)
    squared[0] = 4 * (left + 1) * (right + 1) / ((both + 2) ** 2 * (both + 3))
    k = k[1:]
    squared[1:] = (
        4
        * k
        * (k + left)
        * (k + right)
        * (k + both)
        / ((2 * k + both) ** 2 * (2 * k + both + 1) * (2 * k + both - 1))
    )
    off_diagonal = np.sqrt(squared)
    matrix = np.diag(diagonal) + np.diag(off_diagonal, 1) + np.diag(off_diagonal, -1)
    points, vectors = np.linalg.eigh(matrix)
    nodes = np.maximum((1 + points) / 2, SMALLEST_NODE)
    weights = vectors[0] ** 2
    nodes.setflags(write=False)
    weights.setflags(write=False)
    return nodes, weights
