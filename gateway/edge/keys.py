"""API keys and what they may do: format, digest, roles and scopes. Pure.

A key reads c360_<prefix>_<secret>. The secret is 256 random bits, so a plain SHA-256 protects it as well as a
slow password hash would: there is nothing to guess, and a look-up costs microseconds instead of a tenth of a
second. A bootstrap key is the operator's own choice and is only as strong as they made it.
"""

import hashlib
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

PREFIX_BYTES = 5
SECRET_BYTES = 32
KEY_MAX_CHARS = 200
EVERYTHING = "*"

Role = Literal["frontend", "agent", "analyst", "partner", "operator"]

_FRONT = frozenset(
    [
        "customers:read",
        "customers:write",
        "purchases:write",
        "consents:write",
        "tickets:read",
        "tickets:write",
        "surveys:read",
        "surveys:write",
        "loyalty:read",
        "loyalty:write",
        "scores:read",
        "view:read",
        "pii:read",
    ]
)
ROLES: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "frontend": _FRONT,
        "agent": _FRONT - {"purchases:write"} | {"receipts:read"},
        "analyst": frozenset(
            [
                "customers:read",
                "tickets:read",
                "surveys:read",
                "loyalty:read",
                "scores:read",
                "scores:write",
                "view:read",
            ]
        ),
        "partner": frozenset({"customers:write", "purchases:write", "surveys:write", "receipts:read"}),
        "operator": frozenset({EVERYTHING}),
    }
)
SCOPES = frozenset().union(*ROLES.values()) | {"admin"}


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key just made; `text` is shown once and never stored."""

    prefix: str
    text: str

    @property
    def digest(self) -> bytes:
        return digest(self.text)


def make_key() -> NewKey:
    """A fresh random key."""
    prefix = secrets.token_hex(PREFIX_BYTES)
    return NewKey(prefix, f"c360_{prefix}_{secrets.token_hex(SECRET_BYTES)}")


def given_key(text: str) -> NewKey:
    """A key that the operator chose; a foreign form is recognised by its first characters.

    Raises:
        ValueError: it could not travel in a header.
    """
    if not 8 <= len(text) <= KEY_MAX_CHARS or not text.isascii() or not all("!" <= c <= "~" for c in text):
        raise ValueError(f"a key is 8 to {KEY_MAX_CHARS} visible ASCII characters without spaces")
    parts = text.split("_", 2)
    return NewKey(parts[1] if parts[0] == "c360" and len(parts) == 3 else text[:4], text)


def digest(key: str | bytes) -> bytes:
    """What is stored and looked up in place of the key."""
    return hashlib.sha256(key.encode() if isinstance(key, str) else key).digest()


def missing(held: Iterable[str], wanted: Iterable[str]) -> set[str]:
    """The wanted scopes that are not held; nobody can hand out what they do not have."""
    held = frozenset(held)
    return set() if EVERYTHING in held else set(wanted) - held


def presented_key(headers: Iterable[tuple[bytes, bytes]]) -> bytes | None:
    """The key of a request, from `Authorization: Bearer` or `X-API-Key`.

    None when there is none, or when a header comes twice or the two disagree: then nobody can say who calls.
    """
    found: bytes | None = None
    for name, value in headers:
        if name == b"authorization":
            scheme, _, key = value.partition(b" ")
            if scheme.lower() != b"bearer":
                return None
            key = key.strip()
        elif name == b"x-api-key":
            key = value.strip()
        else:
            continue
        if not key or len(key) > KEY_MAX_CHARS or (found is not None and found != key):
            return None
        found = key
    return found
