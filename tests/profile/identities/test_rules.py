"""What is an identity, and who is meant."""

from dataclasses import replace
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.profile.customers.service import policy_of
from services.profile.identities.rules import (
    RULES,
    Claim,
    Identity,
    Owner,
    UnfitIdentity,
    choose,
    claim,
    normalise,
    within_limits,
)
from services.profile.settings import ProfileSettings

POLICY = policy_of(ProfileSettings(internal_secret="s" * 32))
KINDS = ("email", "phone", "external_id")


@pytest.mark.parametrize(
    ("given_value", "value"),
    [
        ("LiLei@Example.COM", "lilei@example.com"),
        (" lilei@example.com ", "lilei@example.com"),
        ("用户@例子.广告", "用户@例子.广告"),
        ("a@XN--FSQ.COM", "a@例.com"),
    ],
)
def test_an_email_is_compared_in_lower_case_and_unicode(given_value: str, value: str) -> None:
    assert normalise("email", given_value, "", POLICY) == Identity("email", "", value)


@pytest.mark.parametrize(
    "value", ["", "x", "a@", "@b.c", "a b@c.de", "a@localhost", "a@b@c.de", "a@c.de\n,b@c.de"]
)
def test_what_is_no_email_address_is_refused(value: str) -> None:
    with pytest.raises(UnfitIdentity, match="not an e-mail"):
        normalise("email", value, "", POLICY)


@pytest.mark.parametrize("value", ["test@shop.cn", "NoReply@example.com"])
def test_an_email_address_that_names_nobody_is_refused(value: str) -> None:
    with pytest.raises(UnfitIdentity, match="names nobody"):
        normalise("email", value, "", POLICY)


def test_a_domain_and_a_whole_address_can_be_blocked() -> None:
    policy = replace(POLICY, blocked_emails=frozenset({"@kiosk.cn", "desk@shop.cn"}))
    for value in ("a@kiosk.cn", "Desk@shop.cn"):
        with pytest.raises(UnfitIdentity):
            normalise("email", value, "", policy)
    assert normalise("email", "b@shop.cn", "", policy)


@pytest.mark.parametrize(
    "value", ["13800138000", "+86 138 0013 8000", "0086-138-0013-8000", "１３８００１３８０００"]
)
def test_a_phone_number_is_written_in_e164_with_the_region_of_the_deployment(value: str) -> None:
    assert normalise("phone", value, "", POLICY) == Identity("phone", "", "+8613800138000")


def test_the_region_is_a_setting() -> None:
    policy = policy_of(ProfileSettings(internal_secret="s" * 32, default_region="GB"))
    assert normalise("phone", "020 7946 0958", "", policy).value == "+442079460958"


@pytest.mark.parametrize(
    "value", ["", "phone", "12", "000000", "+8600000000000", "11111111111", "+999123456789"]
)
def test_what_is_no_phone_number_in_use_is_refused(value: str) -> None:
    with pytest.raises(UnfitIdentity):
        normalise("phone", value, "", POLICY)


def test_an_external_id_keeps_its_writing_and_its_system() -> None:
    assert normalise("external_id", " C-17:b ", "shop", POLICY) == Identity("external_id", "shop", "C-17:b")


@pytest.mark.parametrize("value", ["", "  ", "0", "0000", "NULL", "undefined", "a\tb", "x" * 201])
def test_an_external_id_that_names_nobody_is_refused(value: str) -> None:
    with pytest.raises(UnfitIdentity):
        normalise("external_id", value, "shop", POLICY)


@pytest.mark.parametrize("source", ["", "sh op", "shop:1", "-shop", "x" * 65])
def test_an_external_id_needs_the_name_of_a_system(source: str) -> None:
    with pytest.raises(UnfitIdentity, match="source"):
        normalise("external_id", "C-17", source, POLICY)


def test_a_system_vouches_for_its_own_ids_and_nobody_for_an_address() -> None:
    assert claim("external_id", "C-17", "shop", POLICY).verified
    assert not claim("email", "lilei@example.com", "", POLICY).verified
    assert not claim("external_id", "C-17", "shop", POLICY, verified=False).verified


@given(st.sampled_from(KINDS), st.one_of(st.text(max_size=40), st.emails(), st.from_regex(r"\+?[0-9]{5,15}")))
def test_what_is_normalised_stays_as_it_is(kind: str, value: str) -> None:
    try:
        once = normalise(kind, value, "shop", POLICY)  # type: ignore[arg-type]
    except UnfitIdentity:
        return
    assert normalise(once.kind, once.value, once.source, POLICY) == once


identities = st.builds(
    Identity, st.sampled_from(KINDS), st.sampled_from(["", "shop"]), st.text("abc", max_size=2)
)
owners = st.dictionaries(identities, st.builds(Owner, st.uuids(), st.booleans()), max_size=6)


@given(owners)
def test_who_is_meant_does_not_depend_on_the_order_of_the_handles(found: dict[Identity, Owner]) -> None:
    backwards = dict(reversed(list(found.items())))
    assert choose(found) == choose(backwards)


@given(owners)
def test_the_best_rule_that_applies_decides(found: dict[Identity, Owner]) -> None:
    match = choose(found)
    if match is None:
        assert not found
        return
    order = [rule for _, _, rule, _ in RULES]
    best = min(
        order.index(rule)
        for kind, verified, rule, _ in RULES
        for identity, owner in found.items()
        if (identity.kind, owner.verified) == (kind, verified)
    )
    assert order[best] == match.rule
    assert 0 < match.confidence <= 1


def test_a_verified_address_outranks_one_that_was_only_said() -> None:
    said, verified = UUID(int=1), UUID(int=2)
    found = {
        Identity("email", "", "a@b.cn"): Owner(said, False),
        Identity("phone", "", "+86"): Owner(verified, True),
    }
    match = choose(found)
    assert match is not None
    assert (match.customer_id, match.rule) == (verified, "verified_phone")


@given(st.lists(identities, unique=True, max_size=12), st.integers(0, 5), st.integers(1, 5))
def test_nobody_gets_more_identities_of_a_kind_than_may_be(
    wanted: list[Identity], held: int, limit: int
) -> None:
    policy = replace(POLICY, limits=dict.fromkeys(KINDS, limit))
    claims = [Claim(identity, True) for identity in wanted]
    taken, refused = within_limits(claims, dict.fromkeys(KINDS, held), policy)
    assert sorted(c.identity for c in (*taken, *refused)) == sorted(wanted)
    for kind in KINDS:
        count = sum(c.identity.kind == kind for c in taken)
        assert count <= max(0, limit - held)
        assert count == max(0, limit - held) or all(c.identity.kind != kind for c in refused)
