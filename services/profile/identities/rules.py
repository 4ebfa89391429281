"""What a customer may be recognised by, and who is meant when several customers match. Pure.

An identity is normalised before anything else, so that equal means equal: e-mail in lower case and NFC,
phone in E.164 (ITU-T), an external id as its system wrote it.
"""

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from uuid import UUID

import phonenumbers
from email_validator import EmailNotValidError, validate_email

from shared.contracts.handles import HandleKind

MAX_EXTERNAL_ID = 200
MAX_GIVEN = 400
SOURCE_PATTERN = r"[A-Za-z0-9][A-Za-z0-9_.\-]{0,63}"

_SOURCE = re.compile(SOURCE_PATTERN)
_ONE_DIGIT_REPEATED = re.compile(r"(\d)\1*")
_ZEROS = re.compile(r"0+")


class UnfitIdentity(ValueError):
    """The value cannot be an identity. The message says why and never repeats the value."""


@dataclass(frozen=True, slots=True, order=True)
class Identity:
    """A normalised identity; `source` is the system of an external id and empty for the others."""

    kind: HandleKind
    source: str
    value: str


@dataclass(frozen=True, slots=True)
class Claim:
    """An identity that somebody gives for a customer, and whether they vouch for it."""

    identity: Identity
    verified: bool


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose an identity is."""

    customer_id: UUID
    verified: bool


@dataclass(frozen=True, slots=True)
class Match:
    """Who is meant, by which rule, and how sure that is (0 to 1)."""

    customer_id: UUID
    rule: str
    confidence: float


@dataclass(frozen=True, slots=True)
class Policy:
    """What this deployment takes for an identity."""

    default_region: str
    blocked_emails: frozenset[str]
    blocked_phones: frozenset[str]
    blocked_external_ids: frozenset[str]
    limits: Mapping[HandleKind, int]


# Who is meant when handles point at different customers: the first rule that applies, best first. A system's
# own id outranks an address, what was verified outranks what was only said.
RULES: tuple[tuple[HandleKind, bool, str, float], ...] = (
    ("external_id", True, "external_id", 1.0),
    ("email", True, "verified_email", 0.98),
    ("phone", True, "verified_phone", 0.95),
    ("external_id", False, "unverified_external_id", 0.9),
    ("email", False, "email", 0.9),
    ("phone", False, "phone", 0.8),
)
_RANK = {(kind, verified): rank for rank, (kind, verified, _, _) in enumerate(RULES)}
NEW_CUSTOMER = "new_customer"


def normalise(kind: HandleKind, value: str, source: str, policy: Policy) -> Identity:
    """The identity that a given value stands for.

    Raises:
        UnfitIdentity: not such a value, or one that names nobody.
    """
    if len(value) > MAX_GIVEN:
        raise UnfitIdentity("is too long")
    if kind == "email":
        return Identity("email", "", _email(value, policy))
    if kind == "phone":
        return Identity("phone", "", _phone(value, policy))
    return Identity("external_id", _source(source), _external_id(value, policy))


def claim(
    kind: HandleKind, value: str, source: str, policy: Policy, *, verified: bool | None = None
) -> Claim:
    """A claim of a given value; a system vouches for its own ids unless it says otherwise.

    Raises:
        UnfitIdentity: not such a value, or one that names nobody.
    """
    vouched = kind == "external_id" if verified is None else verified
    return Claim(normalise(kind, value, source, policy), vouched)


def choose(owners: Mapping[Identity, Owner]) -> Match | None:
    """Who is meant by handles that these customers own; None when nobody owns one."""
    if not owners:
        return None
    identity, owner = min(
        owners.items(), key=lambda found: (_RANK[found[0].kind, found[1].verified], found[0])
    )
    _, _, rule, confidence = RULES[_RANK[identity.kind, owner.verified]]
    return Match(owner.customer_id, rule, confidence)


def within_limits(
    claims: Iterable[Claim], held: Mapping[HandleKind, int], policy: Policy
) -> tuple[list[Claim], list[Claim]]:
    """Split claims into those that a customer who holds so many of each kind may take, and the rest."""
    taken: list[Claim] = []
    refused: list[Claim] = []
    count = dict(held)
    for wanted in claims:
        kind = wanted.identity.kind
        if count.get(kind, 0) < policy.limits[kind]:
            count[kind] = count.get(kind, 0) + 1
            taken.append(wanted)
        else:
            refused.append(wanted)
    return taken, refused


def _email(value: str, policy: Policy) -> str:
    try:
        normalized = validate_email(value.strip(), check_deliverability=False).normalized
    except EmailNotValidError as error:
        raise UnfitIdentity("is not an e-mail address") from error
    address = unicodedata.normalize("NFC", normalized.lower())
    local, _, domain = address.rpartition("@")
    if not policy.blocked_emails.isdisjoint((address, f"{local}@", f"@{domain}")):
        raise UnfitIdentity("is an e-mail address that names nobody")
    return address


def _phone(value: str, policy: Policy) -> str:
    try:
        number = phonenumbers.parse(value, policy.default_region)
    except phonenumbers.NumberParseException as error:
        raise UnfitIdentity("is not a phone number") from error
    written: str = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    if _ONE_DIGIT_REPEATED.fullmatch(str(number.national_number)) or written in policy.blocked_phones:
        raise UnfitIdentity("is a phone number that names nobody")
    if not phonenumbers.is_valid_number(number):
        raise UnfitIdentity("is not a phone number in use in its country")
    return written


def _external_id(value: str, policy: Policy) -> str:
    trimmed = unicodedata.normalize("NFC", value).strip()
    if not trimmed:
        raise UnfitIdentity("is empty")
    if len(trimmed) > MAX_EXTERNAL_ID:
        raise UnfitIdentity(f"is longer than {MAX_EXTERNAL_ID} characters")
    if not trimmed.isprintable():
        raise UnfitIdentity("holds characters that cannot be printed")
    if _ZEROS.fullmatch(trimmed) or trimmed.lower() in policy.blocked_external_ids:
        raise UnfitIdentity("is an id that names nobody")
    return trimmed


def _source(source: str) -> str:
    if not _SOURCE.fullmatch(source):
        raise UnfitIdentity("needs a source: a letter or digit, then up to 63 letters, digits, _ . -")
    return source
