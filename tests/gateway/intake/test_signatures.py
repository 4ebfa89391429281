"""Signatures: what the official library signs passes, whatever else is refused and raises nothing else."""

from base64 import b64encode
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook

from gateway.intake.signatures import make_secret, verify
from shared.problems import Unauthenticated

BODY = '{"type": "feedback.created", "data": {"text": "快递丢了"}}'
SECRET = make_secret()
Headers = list[tuple[bytes, bytes]]


def signed(
    secret: str = SECRET, *, msg_id: str = "msg_1", body: str = BODY, age: timedelta = timedelta()
) -> Headers:
    moment = datetime.now(UTC) - age
    return [
        (b"content-type", b"application/json"),
        (b"webhook-id", msg_id.encode()),
        (b"webhook-timestamp", str(int(moment.timestamp())).encode()),
        (b"webhook-signature", Webhook(secret).sign(msg_id, moment, body).encode()),
    ]


def replace(headers: Headers, name: bytes, value: bytes | None) -> Headers:
    return [
        (n, value if n == name and value is not None else v)
        for n, v in headers
        if n != name or value is not None
    ]


def check(headers: Headers, body: bytes = BODY.encode(), *secrets: str) -> str:
    return verify([Webhook(secret) for secret in secrets or (SECRET,)], headers, body)


def test_the_official_librarys_signature_passes() -> None:
    assert check(signed()) == "msg_1"
    assert check(signed(age=timedelta(minutes=4, seconds=50))) == "msg_1"
    assert check(signed(age=-timedelta(minutes=4, seconds=50))) == "msg_1"


def test_several_signatures_and_several_secrets_are_tried() -> None:
    other = make_secret()
    headers = signed()
    good = dict(headers)[b"webhook-signature"]
    assert check(replace(headers, b"webhook-signature", b"v1a,abcd v1,AAAA " + good)) == "msg_1"
    assert check(headers, BODY.encode(), other, SECRET) == "msg_1"
    with pytest.raises(Unauthenticated):
        check(headers, BODY.encode(), other)


@pytest.mark.parametrize("name", [b"webhook-id", b"webhook-timestamp", b"webhook-signature"])
def test_each_header_must_be_there_exactly_once(name: bytes) -> None:
    for bad in (
        replace(signed(), name, None),
        replace(signed(), name, b""),
        [*signed(), (name, dict(signed())[name])],
    ):
        with pytest.raises(Unauthenticated):
            check(bad)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (b"webhook-signature", b"v1"),
        (b"webhook-signature", b"v1,"),
        (b"webhook-signature", b"v1,not base64!"),
        (b"webhook-signature", b"v1,abc"),
        (b"webhook-signature", b"v1,a,b"),
        (b"webhook-signature", b"v1,\xff\xfe"),
        (b"webhook-signature", b" "),
        (b"webhook-signature", b"v2,AAAA"),
        (b"webhook-signature", b"v1," + b64encode(b"x" * 32)),
        (b"webhook-timestamp", b"yesterday"),
        (b"webhook-timestamp", b"nan"),
        (b"webhook-timestamp", b"inf"),
        (b"webhook-timestamp", b"1e400"),
        (b"webhook-timestamp", b"-1"),
        (b"webhook-timestamp", b"0"),
        (b"webhook-timestamp", b"9" * 400),
        (b"webhook-timestamp", "１２３".encode()),
        (b"webhook-id", b"msg_2"),
        (b"webhook-id", b"x" * 257),
        (b"webhook-id", b"msg\x001"),
        (b"webhook-id", "消息".encode()),
    ],
)
def test_odd_headers_are_refused(name: bytes, value: bytes) -> None:
    with pytest.raises(Unauthenticated):
        check(replace(signed(), name, value))


@pytest.mark.parametrize(
    "body", [BODY.encode() + b" ", BODY.encode()[:-1], b"", b"\xff\xfe", BODY.encode("gb18030"), b"\x00"]
)
def test_any_other_body_is_refused(body: bytes) -> None:
    with pytest.raises(Unauthenticated):
        check(signed(), body)


@pytest.mark.parametrize("age", [timedelta(minutes=5, seconds=5), -timedelta(minutes=5, seconds=5)])
def test_old_and_future_ones_are_refused(age: timedelta) -> None:
    with pytest.raises(Unauthenticated):
        check(signed(age=age))


def test_a_partner_without_secrets_is_refused_like_any_other() -> None:
    with pytest.raises(Unauthenticated) as unknown:
        verify([], signed(), BODY.encode())
    with pytest.raises(Unauthenticated) as wrong:
        check(signed(), b"{}")
    assert unknown.value.document() == wrong.value.document()


@given(st.binary(max_size=60), st.binary(max_size=60), st.binary(max_size=60), st.binary(max_size=60))
def test_no_bytes_raise_anything_else(id_: bytes, timestamp: bytes, signature: bytes, body: bytes) -> None:
    recent = str(int(datetime.now(UTC).timestamp())).encode()
    for given_id, given_timestamp in ((id_, timestamp), (b"msg_1", recent)):
        headers = [
            (b"webhook-id", given_id),
            (b"webhook-timestamp", given_timestamp),
            (b"webhook-signature", signature),
        ]
        with pytest.raises(Unauthenticated):
            check(headers, body)
