"""Keys: format, where they are looked for, what roles bring."""

import re

import pytest

from gateway.edge.keys import ROLES, SCOPES, digest, given_key, make_key, missing, presented_key


def test_a_key_carries_its_prefix_and_256_random_bits() -> None:
    key = make_key()
    assert re.fullmatch(rf"c360_{key.prefix}_[0-9a-f]{{64}}", key.text)
    assert key.digest == digest(key.text) == digest(key.text.encode())
    assert make_key().text != key.text


@pytest.mark.parametrize("text", ["short", "with space inside", "schlüssel-123", "x" * 201, "tab\tinside"])
def test_a_chosen_key_that_no_header_carries_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="visible ASCII"):
        given_key(text)


def test_a_chosen_key_keeps_its_own_form() -> None:
    assert given_key("c360_ops_0123456789").prefix == "ops"
    assert given_key("my-own-operator-key").prefix == "my-o"


@pytest.mark.parametrize(
    ("headers", "found"),
    [
        ([(b"authorization", b"Bearer abc")], b"abc"),
        ([(b"authorization", b"bearer  abc ")], b"abc"),
        ([(b"x-api-key", b"abc")], b"abc"),
        ([(b"x-api-key", b"abc"), (b"authorization", b"Bearer abc")], b"abc"),
        ([(b"x-api-key", b"abc"), (b"authorization", b"Bearer other")], None),
        ([(b"x-api-key", b"abc"), (b"x-api-key", b"other")], None),
        ([(b"authorization", b"Basic abc")], None),
        ([(b"authorization", b"Bearer")], None),
        ([(b"x-api-key", b"")], None),
        ([(b"x-api-key", b"x" * 201)], None),
        ([], None),
    ],
)
def test_where_a_key_is_found(headers: list[tuple[bytes, bytes]], found: bytes | None) -> None:
    assert presented_key(headers) == found


def test_nobody_hands_out_what_they_lack() -> None:
    assert missing({"*"}, SCOPES) == set()
    assert missing(ROLES["agent"], {"admin", "tickets:read"}) == {"admin"}
    assert missing({"admin"}, {"*"}) == {"*"}


def test_only_operators_administrate_and_analysts_see_no_personal_data() -> None:
    for role, scopes in ROLES.items():
        assert ("*" in scopes or "admin" in scopes) == (role == "operator")
    assert "pii:read" not in ROLES["analyst"] | ROLES["partner"]
