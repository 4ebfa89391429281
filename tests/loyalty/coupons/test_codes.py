"""Codes are random, forgiving to read, and tell of slips."""

import secrets
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.loyalty.coupons.codes import RANDOM_BITS, SYMBOLS, UnfitCode, make, read, shown

NUMBERS = st.integers(0, 2**RANDOM_BITS - 1).filter(lambda number: number % 37 < 32)


@given(NUMBERS)
def test_a_code_is_read_as_it_is_shown_in_any_case_with_look_alikes(number: int) -> None:
    code = make(lambda _: number)
    assert len(code) == 13
    assert set(code) <= set(SYMBOLS)
    typed = shown(code).lower().replace("0", "o").replace("1", "l")
    assert read(typed) == code


@given(NUMBERS, st.integers(0, 12), st.integers(1, 31))
def test_any_one_wrong_symbol_is_seen(number: int, place: int, other: int) -> None:
    code = make(lambda _: number)
    wrong = SYMBOLS[(SYMBOLS.index(code[place]) + other) % 32]
    with pytest.raises(UnfitCode):
        read(code[:place] + wrong + code[place + 1 :])


@given(NUMBERS, st.integers(0, 10))
def test_two_neighbours_that_changed_places_are_seen(number: int, place: int) -> None:
    code = make(lambda _: number)
    if code[place] != code[place + 1]:
        with pytest.raises(UnfitCode):
            read(code[:place] + code[place + 1] + code[place] + code[place + 2 :])


@given(st.text(max_size=40))
def test_nothing_else_breaks_it(text: str) -> None:
    with suppress(UnfitCode):
        assert set(read(text)) <= set(SYMBOLS)


def test_numbers_whose_check_symbol_is_no_letter_or_digit_are_drawn_again() -> None:
    drawn = iter([32, 36, 31])
    assert make(lambda _: next(drawn)) == "00000000000ZZ"


def test_ten_thousand_codes_differ() -> None:
    assert len({make(secrets.randbits) for _ in range(10_000)}) == 10_000
