"""How handles lead to customers, and how names are made findable. Pure."""

import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

import phonenumbers

from services.profile.identities.rules import (
    NEW_CUSTOMER,
    Claim,
    Identity,
    Match,
    Owner,
    Policy,
    choose,
    within_limits,
)
from shared.contracts.handles import HandleKind

MAX_KEY = 200
MAX_NAME_WORDS = 12
MAX_HAN_SUFFIXES = 6
LAST_CHARACTER = "\U0010ffff"


@dataclass(frozen=True, slots=True)
class Resolution:
    """What handles led to.

    `taken` are identities that the customer gains, `elsewhere` those that belong to somebody else, `refused`
    those beyond the customer's limit.
    """

    customer_id: UUID
    rule: str
    confidence: float
    created: bool
    taken: tuple[Claim, ...] = ()
    elsewhere: tuple[tuple[Identity, UUID], ...] = ()
    refused: tuple[Identity, ...] = ()


def resolve(
    asks: Sequence[Sequence[Claim]],
    owners: Mapping[Identity, Owner],
    held: Mapping[UUID, Mapping[HandleKind, int]],
    policy: Policy,
    *,
    new_id: Callable[[], UUID] | None,
) -> list[Resolution | None]:
    """Find or invent the customer of each ask, one after the other, so that asks find each other too.

    Args:
        asks: the claimed identities of each; an ask without any leads to nobody.
        owners: whose the identities are so far.
        held: how many identities of each kind those owners hold.
        new_id: gives the id of a new customer; None to find only.
    """
    known = dict(owners)
    count: dict[UUID, dict[HandleKind, int]] = {customer: dict(kinds) for customer, kinds in held.items()}
    answers: list[Resolution | None] = []
    for ask in asks:
        found = {c.identity: known[c.identity] for c in ask if c.identity in known}
        match, created = choose(found), False
        if match is None:
            if new_id is None or not ask:
                answers.append(None)
                continue
            match, created = Match(new_id(), NEW_CUSTOMER, 1.0), True
        free = {c.identity: c for c in ask if c.identity not in known} if new_id else {}
        taken, refused = within_limits(free.values(), count.get(match.customer_id, {}), policy)
        for wanted in taken:
            known[wanted.identity] = Owner(match.customer_id, wanted.verified)
            kinds = count.setdefault(match.customer_id, {})
            kinds[wanted.identity.kind] = kinds.get(wanted.identity.kind, 0) + 1
        others = {i: o.customer_id for i, o in found.items() if o.customer_id != match.customer_id}
        answers.append(
            Resolution(
                match.customer_id,
                match.rule,
                match.confidence,
                created,
                tuple(taken),
                tuple(sorted(others.items())),
                tuple(c.identity for c in refused),
            )
        )
    return answers


def fold(text: str) -> str:
    """Text as the search compares it: width, case and runs of spaces make no difference."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())[:MAX_KEY]


def search_keys(name: str | None, identities: Iterable[Identity]) -> set[str]:
    """What a customer is found by when a search is the beginning of it.

    A name from each of its words on ("anna lee" and "lee"), a Chinese name also from each character on, an
    identity as it is, and a phone number without its country code too.
    """
    keys = set(_name_keys(fold(name))) if name else set()
    for identity in identities:
        keys.add(fold(identity.value))
        if identity.kind == "phone":
            keys.add(str(phonenumbers.parse(identity.value).national_number))
    return keys - {""}


def search_range(query: str) -> tuple[str, str]:
    """The first and last key, in byte order, that begin with a folded query."""
    return query, query + LAST_CHARACTER


def _name_keys(name: str) -> Iterable[str]:
    words = name.split(" ")
    for start in range(min(len(words), MAX_NAME_WORDS)):
        yield " ".join(words[start:])
    for word in words[:MAX_NAME_WORDS]:
        if any("\u4e00" <= character <= "\u9fff" for character in word):
            for start in range(1, min(len(word), MAX_HAN_SUFFIXES)):
                yield word[start:]
