"""Coupon codes: 60 random bits as people can read, say and type them. Pure.

Twelve symbols of Crockford's base 32 and his check symbol, the number modulo 37
(https://www.crockford.com/base32.html). Codes whose check symbol would be one of his five extra ones are not
used, so that every code is letters and digits alone.
"""

from collections.abc import Callable

SYMBOLS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
RANDOM_SYMBOLS = 12
RANDOM_BITS = 5 * RANDOM_SYMBOLS
CHECK_MODULUS = 37
GROUP = 4  # symbols between hyphens, where a code is shown

_READ = str.maketrans("OIL", "011", " -")
_VALUES = {symbol: value for value, symbol in enumerate(SYMBOLS)}


class UnfitCode(ValueError):
    """Not a code: another length, another symbol, or a check symbol that tells of a slip."""


def make(random_bits: Callable[[int], int]) -> str:
    """A code from a source of random bits, such as `secrets.randbits`."""
    while True:
        number = random_bits(RANDOM_BITS)
        check = number % CHECK_MODULUS
        if check < len(SYMBOLS):
            break
    body = "".join(SYMBOLS[number >> shift & 31] for shift in range(RANDOM_BITS - 5, -5, -5))
    return body + SYMBOLS[check]


def read(text: str) -> str:
    """A code as it was typed: in any case, with hyphens or spaces, O for 0, I and L for 1.

    Raises:
        UnfitCode: no such code can exist.
    """
    code = text.upper().translate(_READ)
    if len(code) != RANDOM_SYMBOLS + 1 or not all(symbol in _VALUES for symbol in code):
        raise UnfitCode("a code is 13 letters and digits")
    number = 0
    for symbol in code[:-1]:
        number = number << 5 | _VALUES[symbol]
    if number % CHECK_MODULUS != _VALUES[code[-1]]:
        raise UnfitCode("the last symbol does not fit the others")
    return code


def shown(code: str) -> str:
    """A code in groups: `7K3M-9QZ2-ABCD-X`."""
    return "-".join(code[start : start + GROUP] for start in range(0, len(code), GROUP))
