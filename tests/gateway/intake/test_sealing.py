"""Secrets at rest: sealed, opened, and a key replaced."""

import pytest

from gateway.intake.sealing import Vault
from shared.problems import Unavailable

OLD = "the-first-key-012345678901234567890"
NEW = "the-second-key-01234567890123456789"


def test_what_is_sealed_opens_again_and_shows_nothing() -> None:
    vault = Vault(OLD)
    sealed = vault.seal("whsec_abc")
    assert b"abc" not in sealed
    assert vault.seal("whsec_abc") != sealed
    assert vault.open(sealed) == "whsec_abc"


def test_a_new_key_in_front_still_opens_what_the_old_one_sealed() -> None:
    sealed = Vault(OLD).seal("whsec_abc")
    both = Vault(f"{NEW}, {OLD}")
    assert both.open(sealed) == "whsec_abc"
    assert Vault(NEW).open(both.seal("whsec_abc")) == "whsec_abc"


@pytest.mark.parametrize("keys", [NEW, None, " , "])
def test_without_the_right_key_it_says_which_setting_is_wrong(keys: str | None) -> None:
    sealed = Vault(OLD).seal("whsec_abc")
    with pytest.raises(Unavailable, match="C360_WEBHOOK_SECRET_KEY"):
        Vault(keys).open(sealed)
