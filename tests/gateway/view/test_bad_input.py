"""Whatever is sent to the view, it is refused or answered, never failed at."""

from itertools import product
from urllib.parse import quote

import pytest

from shared.ids import new_id
from shared.web.paging import encode_cursor
from tests.gateway.view.made import profile_body, purchases, section
from tests.gateway.view.serving import Gateway

pytestmark = pytest.mark.asyncio(loop_scope="module")

STRANGE = [
    "",
    " ",
    "\x00",
    "a\x00b",
    "\ud800".encode("utf-8", "surrogatepass"),
    b"\xff\xfe",
    "%",
    "'; DROP TABLE timeline; --",
    "٣",
    "9" * 400,
    "-1",
    "1e400",
    "NaN",
    "null",
    "[]",
    "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59-14:00",
    "2026-01-01",
    encode_cursor("0001-01-01T00:00:00+14:00", str(new_id()), 0),
    encode_cursor("2026-01-01T00:00:00", str(new_id()), 2**62),
    encode_cursor("2026-01-01T00:00:00Z", str(new_id()), "x"),
    encode_cursor(None, None, None),
    encode_cursor([], {}, 1.5),
    "W10",
]
PARAMETERS = {
    "360": ["sections", "required", "fresh"],
    "timeline": ["type", "from", "to", "limit", "cursor"],
}


async def expect_no_failure(gateway: Gateway, path: str) -> None:
    answer = await gateway.client.get(path)
    assert answer.status_code < 500, f"{path} gave {answer.status_code}"
    if answer.status_code >= 400:
        assert answer.headers["content-type"] == "application/problem+json"


async def test_strange_parameters(gateway: Gateway) -> None:
    customer = new_id()
    await gateway.tell(section("profile", customer, 1, profile_body()), purchases(customer))
    for page, parameters in PARAMETERS.items():
        for parameter, value in product(parameters, STRANGE):
            await expect_no_failure(
                gateway, f"/v1/customers/{customer}/{page}?{parameter}={quote(value, safe='')}"
            )
    for parameter, value in product(("email", "phone", "external_id"), STRANGE):
        await expect_no_failure(gateway, f"/v1/customers/360?{parameter}={quote(value, safe='')}")


async def test_strange_ids(gateway: Gateway) -> None:
    for page, value in product(("360", "timeline", "stream"), STRANGE):
        await expect_no_failure(gateway, f"/v1/customers/{quote(value, safe='')}/{page}")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"{",
        b'{"ids": null}',
        b'{"ids": ["\\ud800"]}',
        b'{"ids": [1]}',
        b'{"ids": ["x"], "more": 1}',
        b'{"ids":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'\xff{"ids": []}',
    ],
)
async def test_strange_batches(gateway: Gateway, body: bytes) -> None:
    answer = await gateway.client.post(
        "/v1/customers/360:batch", content=body, headers={"content-type": "application/json"}
    )
    assert answer.status_code in (400, 422)
    assert answer.headers["content-type"] == "application/problem+json"


async def test_strange_verification_cursors(gateway: Gateway) -> None:
    for value in STRANGE:
        answer = await gateway.client.post(f"/v1/admin/view:verify?cursor={quote(value, safe='')}")
        assert answer.status_code < 500
