"""Apps in one process: answers are passed on while they are made, whole or seen to be broken off."""

import asyncio
from typing import Any

import httpx
import pytest

from infra.inprocess import WAITING_CHUNKS, InProcess

LIMIT = 1000  # chunks; more than anybody takes here


def client_of(app: Any) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=InProcess(app), base_url="http://part", timeout=10)


async def started(send: Any, status: int = 200) -> None:
    await send({"type": "http.response.start", "status": status, "headers": [(b"x-part", b"loyalty")]})


async def test_a_request_and_its_answer_pass_whole() -> None:
    async def echo(scope: Any, receive: Any, send: Any) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message["body"], message["more_body"]
        await started(send, 201)
        told = f"{scope['method']} {scope['path']} {scope['query_string'].decode()} ".encode()
        await send({"type": "http.response.body", "body": told + body})

    async with client_of(echo) as client:
        answer = await client.post("/v1/客", params={"q": "a b"}, content=b"x" * 100_000)
    assert (answer.status_code, answer.headers["x-part"]) == (201, "loyalty")
    assert answer.content == "POST /v1/客 q=a+b ".encode() + b"x" * 100_000


async def test_an_answer_is_taken_while_it_is_made_and_never_far_ahead() -> None:
    made, gone = 0, asyncio.Event()

    async def endless(_scope: Any, _receive: Any, send: Any) -> None:
        nonlocal made
        await started(send)
        try:
            for made in range(1, LIMIT):  # noqa: B007 - it is looked at from outside
                await send({"type": "http.response.body", "body": b"line\n", "more_body": True})
        except asyncio.CancelledError:
            gone.set()
            raise

    async with client_of(endless) as client, client.stream("GET", "/") as answer:
        lines = answer.aiter_lines()
        for _ in range(10):
            assert await anext(lines) == "line"
        assert made < 30
    assert gone.is_set()  # who stops listening ends the work


async def test_an_answer_that_breaks_off_is_not_taken_for_a_whole_one() -> None:
    async def broken(_scope: Any, _receive: Any, send: Any) -> None:
        await started(send)
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        raise ValueError

    async def failing(_scope: Any, _receive: Any, _send: Any) -> None:
        raise ValueError

    async with client_of(broken) as client:
        with pytest.raises(httpx.ReadError):
            await client.get("/")
    async with client_of(failing) as client:
        assert (await client.get("/")).status_code == 500


async def test_what_an_app_does_after_its_answer_is_done() -> None:
    done = asyncio.Event()

    async def later(_scope: Any, receive: Any, send: Any) -> None:
        await started(send)
        await send({"type": "http.response.body", "body": b"now"})
        while (await receive())["type"] != "http.disconnect":
            pass
        done.set()

    async with client_of(later) as client:
        assert (await client.get("/")).text == "now"
    await asyncio.wait_for(done.wait(), 5)


async def test_an_answer_that_nobody_reads_holds_up_nothing() -> None:
    done = asyncio.Event()

    async def whole(_scope: Any, _receive: Any, send: Any) -> None:
        await started(send)
        for left in reversed(range(WAITING_CHUNKS)):
            await send({"type": "http.response.body", "body": b"x", "more_body": left > 0})
        done.set()

    async with client_of(whole) as client, client.stream("GET", "/"):
        await asyncio.sleep(0)
    await asyncio.wait_for(done.wait(), 5)


async def test_a_caller_who_gives_up_ends_the_work() -> None:
    ended = asyncio.Event()

    async def slow(_scope: Any, _receive: Any, _send: Any) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with client_of(slow) as client:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await client.get("/")
    assert ended.is_set()
