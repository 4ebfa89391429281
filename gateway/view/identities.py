"""Handles by which a customer is looked up: normalised, then digested. Pure.

Only equality is ever asked, so the look-up table holds digests and no personal data of its own. Both sides,
the profile section's identities and the caller's parameter, go through the same functions here.
"""

import hashlib
import unicodedata
from collections.abc import Iterator, Mapping
from typing import Any

import phonenumbers

from shared.problems import FieldError, Invalid

DIGEST_BYTES = 16
MAX_VALUE = 320  # the longest e-mail address there is


def handles_of(profile: Mapping[str, Any] | None) -> set[bytes]:
    """The digests of a profile section's `identities`; what cannot be read as one is passed over."""
    return set(_digests(profile)) if profile else set()


def handle_of_parameter(parameter: str, given: str) -> bytes:
    """The digest of what a caller looks for: `email`, `phone`, or `external_id` as `source:id`.

    Raises:
        Invalid: it cannot be such a handle.
    """
    if not given or len(given) > MAX_VALUE:
        raise _refused(parameter, f"It has 1 to {MAX_VALUE} characters.")
    if parameter == "external_id":
        source, _, value = given.partition(":")
        if not source or not value:
            raise _refused(parameter, "Write it as source:id.")
        return digest(parameter, value, source)
    if parameter == "phone":
        # An unescaped plus sign in a query string arrives as a space.
        number = e164("+" + given[1:] if given.startswith(" ") else given)
        if number is None:
            raise _refused(parameter, "Write it internationally, as +8613800138000.")
        return digest(parameter, number)
    return digest(parameter, given)


def digest(kind: str, value: str, source: str = "") -> bytes:
    """What stands for a handle in the look-up table."""
    value = value.strip()
    if kind == "email":
        value = unicodedata.normalize("NFC", value).lower()
    written = "\x00".join((kind, source.strip(), value))
    return hashlib.blake2b(written.encode("utf-8", "replace"), digest_size=DIGEST_BYTES).digest()


def e164(number: str) -> str | None:
    """The number in E.164, or None when it is not an international number."""
    if number.isascii() and number[:1] == "+" and number[1:].isdigit():
        return number
    try:
        parsed = phonenumbers.parse(number, None)
    except phonenumbers.NumberParseException:
        return None
    return str(phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164))


def _digests(profile: Mapping[str, Any]) -> Iterator[bytes]:
    identities = profile.get("identities")
    for identity in identities if isinstance(identities, list) else ():
        if not isinstance(identity, dict):
            continue
        kind, value, source = identity.get("kind"), identity.get("value"), identity.get("source") or ""
        if isinstance(kind, str) and isinstance(value, str) and isinstance(source, str):
            number = e164(value) if kind == "phone" else value
            yield digest(kind, number or value, source)


def _refused(parameter: str, why: str) -> Invalid:
    return Invalid(errors=[FieldError(f"query:{parameter}", why)])
