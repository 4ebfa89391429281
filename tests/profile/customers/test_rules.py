"""How handles lead to customers, and how names are found."""

from collections import Counter
from itertools import count
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.profile.customers.rules import fold, resolve, search_keys, search_range
from services.profile.customers.service import policy_of
from services.profile.identities.rules import NEW_CUSTOMER, Claim, Identity, Owner
from services.profile.settings import ProfileSettings

POLICY = policy_of(ProfileSettings(internal_secret="s" * 32))


def email(name: str) -> Identity:
    return Identity("email", "", f"{name}@example.com")


handles = st.builds(email, st.sampled_from("abcdef"))
asks = st.lists(
    st.lists(st.builds(Claim, handles, st.booleans()), max_size=3, unique_by=lambda c: c.identity), max_size=6
)
owned = st.dictionaries(
    handles, st.builds(Owner, st.sampled_from([UUID(int=n) for n in (1, 2)]), st.booleans())
)


def run(wanted: list[list[Claim]], known: dict[Identity, Owner], *, create: bool = True) -> list[object]:
    fresh = count(100)
    held: dict[UUID, dict[str, int]] = {}
    for owner in known.values():
        held.setdefault(owner.customer_id, Counter())["email"] += 1
    new_id = (lambda: UUID(int=next(fresh))) if create else None
    return list(resolve(wanted, known, held, POLICY, new_id=new_id))  # type: ignore[arg-type]


@given(asks, owned)
def test_every_ask_with_a_handle_leads_to_somebody_and_takes_only_what_is_free(
    wanted: list[list[Claim]], known: dict[Identity, Owner]
) -> None:
    owner_of = {identity: owner.customer_id for identity, owner in known.items()}
    for ask, answer in zip(wanted, run(wanted, known), strict=True):
        if not ask:
            assert answer is None
            continue
        for claim in answer.taken:  # type: ignore[attr-defined]
            assert claim.identity not in owner_of
            owner_of[claim.identity] = answer.customer_id  # type: ignore[attr-defined]
        owners = {owner_of.get(claim.identity) for claim in ask}
        assert answer.customer_id in owners  # type: ignore[attr-defined]
        assert answer.created == (answer.rule == NEW_CUSTOMER)  # type: ignore[attr-defined]


@given(asks, owned)
def test_without_creating_nothing_is_made_and_nothing_is_taken(
    wanted: list[list[Claim]], known: dict[Identity, Owner]
) -> None:
    for ask, answer in zip(wanted, run(wanted, known, create=False), strict=True):
        assert (answer is None) == all(claim.identity not in known for claim in ask)
        assert answer is None or not (answer.created or answer.taken)  # type: ignore[attr-defined]


@given(asks, owned)
def test_asking_again_leads_to_the_same_customers(
    wanted: list[list[Claim]], known: dict[Identity, Owner]
) -> None:
    first = run(wanted, known)
    for answer in first:
        for claim in answer.taken if answer else ():  # type: ignore[attr-defined]
            known = known | {claim.identity: Owner(answer.customer_id, claim.verified)}  # type: ignore[attr-defined]
    again = run(wanted, known)
    assert all(answer is None or not answer.created for answer in again)  # type: ignore[attr-defined]


def test_asks_of_one_batch_that_share_a_handle_find_each_other() -> None:
    one, two, three = Claim(email("a"), False), Claim(email("b"), False), Claim(email("c"), False)
    first, second, third = run([[one], [one, two], [two, three]], {})
    assert first.customer_id == second.customer_id == third.customer_id  # type: ignore[attr-defined]
    assert first.created  # type: ignore[attr-defined]
    assert not second.created  # type: ignore[attr-defined]


def test_a_handle_of_somebody_else_is_told_and_left_alone() -> None:
    known = {email("a"): Owner(UUID(int=1), True), email("b"): Owner(UUID(int=2), False)}
    (answer,) = run([[Claim(email("b"), False), Claim(email("a"), False)]], known)
    assert answer.customer_id == UUID(int=1)  # type: ignore[attr-defined]
    assert answer.elsewhere == ((email("b"), UUID(int=2)),)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("ANNA", "Anna Lee"),
        ("lee", "Anna  Lee"),
        ("anna l", "Anna Lee"),
        ("李", "李雷"),
        ("雷", "李雷"),
        ("ａnna", "anna"),
    ],
)
def test_a_name_is_found_by_how_it_or_one_of_its_words_begins(query: str, name: str) -> None:
    assert any(key.startswith(fold(query)) for key in search_keys(name, []))


def test_a_phone_number_is_found_with_and_without_its_country_code() -> None:
    assert search_keys(None, [Identity("phone", "", "+8613800138000")]) == {"+8613800138000", "13800138000"}


@given(st.text(max_size=300))
def test_keys_are_bounded_and_begin_with_what_was_typed(name: str) -> None:
    keys = search_keys(name, [])
    assert all(0 < len(key) <= 200 for key in keys)
    assert len(keys) <= 12 + 12 * 5
    if fold(name):
        assert fold(name) in keys


@given(st.text(max_size=20), st.text(max_size=20))
def test_the_range_of_a_search_holds_what_begins_with_it_and_nothing_else(query: str, rest: str) -> None:
    query, rest = (text.encode("utf-8", "ignore").decode() for text in (query, rest))
    first, last = search_range(query)
    assert first.encode() <= (query + rest).encode()
    if not rest.startswith("\U0010ffff"):
        assert (query + rest).encode() <= last.encode()
    if query and not rest.startswith(query):
        inside = first.encode() <= rest.encode() <= last.encode()
        assert not inside
