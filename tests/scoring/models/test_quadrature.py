"""Gauss-Jacobi rules for the Beta distribution."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.scoring.models.quadrature import beta_rule


@given(st.floats(0.01, 500), st.floats(0.01, 5000), st.sampled_from([16, 32, 64]))
def test_moments_of_the_beta_distribution_are_exact(a: float, b: float, count: int) -> None:
    nodes, weights = beta_rule(a, b, count)
    assert weights.sum() == pytest.approx(1, rel=1e-12)
    assert (nodes > 0).all()
    assert (nodes < 1 + 1e-12).all()
    moment = 1.0
    for k in range(4):
        moment *= (a + k) / (a + b + k)
        assert weights @ nodes ** (k + 1) == pytest.approx(moment, rel=1e-9)


def test_rules_cannot_be_changed_by_who_reads_them() -> None:
    nodes, _ = beta_rule(1.0, 1.0, 16)
    with pytest.raises(ValueError, match="read-only"):
        nodes[0] = 0
    assert np.all(np.diff(nodes) > 0)
