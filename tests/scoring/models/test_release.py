"""What gates a release: known numbers, and the rule of promotion."""

from typing import get_args

import numpy as np
import pytest

from services.scoring.models import bg_nbd, release
from services.scoring.models.catalogue import KINDS, ModelKind
from services.scoring.models.release import SelfTestFailed, decide, self_test


def test_every_kind_gives_its_known_numbers() -> None:
    assert set(KINDS) == set(get_args(ModelKind))
    for kind in KINDS.values():
        self_test(kind)


def test_a_kind_that_computes_otherwise_is_not_released(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bg_nbd.BgNbd, "p_alive", lambda *_: np.array([0.5]))
    with pytest.raises(SelfTestFailed, match=r"bg_nbd gives \[.*instead of"):
        self_test("bg_nbd")
    monkeypatch.setattr(release, "_DIGITS", 1e-15)
    with pytest.raises(SelfTestFailed):
        self_test("gamma_gamma")


@pytest.mark.parametrize(
    ("error", "serving", "serving_error", "serves", "words"),
    [
        (None, None, None, True, "no model served before"),
        (0.5, "bg_nbd/1", 0.5, True, "promoted: rms error 0.5"),
        (0.509, "bg_nbd/1", 0.5, True, "promoted"),
        (0.52, "bg_nbd/1", 0.5, False, "not promoted: rms error 0.52 on the hold-out, bg_nbd/1 0.5"),
        (None, "bg_nbd/1", 0.5, False, "no hold-out"),
        (0.5, "bg_nbd/1", None, True, "could not be measured"),
        (None, "bg_nbd/1", None, False, "could not be measured"),
    ],
)
def test_the_hold_out_decides(
    error: float | None, serving: str | None, serving_error: float | None, serves: bool, words: str
) -> None:
    better, why = decide(error, serving, serving_error, 0.02)
    assert better is serves
    assert words in why
