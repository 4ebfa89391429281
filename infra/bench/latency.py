"""Yardstick of P5: publish to a quorum queue at a steady rate and consume. `python -m … JSON`."""

import asyncio
import time
from typing import Any

import aio_pika
from aio_pika.abc import AbstractIncomingMessage

from infra.bench.beside import answer
from infra.bench.queued import PERSISTENT

GIVE_UP_S = 30.0


async def main(arguments: dict[str, Any]) -> dict[str, Any]:
    """Publish `count` messages like `body` to `queue` at `url`, `rate` a second; the times until consumed."""
    body: bytes = arguments["body"].encode()
    published_at: list[float] = []
    times_ms: list[float] = []
    all_arrived = asyncio.Event()

    async def arrived(message: AbstractIncomingMessage) -> None:
        times_ms.append((time.perf_counter() - published_at[int(message.message_id or 0)]) * 1000)
        await message.ack()
        if len(times_ms) == arguments["count"]:
            all_arrived.set()

    async with await aio_pika.connect(arguments["url"]) as connection, asyncio.TaskGroup() as tasks:
        channel = await connection.channel()
        incoming = await connection.channel(publisher_confirms=False)
        await incoming.set_qos(prefetch_count=200)
        queue = await incoming.get_queue(arguments["queue"], ensure=False)
        tag = await queue.consume(arrived)
        started = time.perf_counter()
        for number in range(arguments["count"]):
            await asyncio.sleep(max(0.0, started + number / arguments["rate"] - time.perf_counter()))
            message = aio_pika.Message(body, delivery_mode=PERSISTENT, message_id=str(number))
            published_at.append(time.perf_counter())
            tasks.create_task(_publish(channel.default_exchange, message, arguments["queue"]))
        async with asyncio.timeout(GIVE_UP_S):
            await all_arrived.wait()
        await queue.cancel(tag)
    return {"times_ms": times_ms}


async def _publish(exchange: aio_pika.abc.AbstractExchange, message: aio_pika.Message, key: str) -> None:
    await exchange.publish(message, key, mandatory=True)


if __name__ == "__main__":
    answer(main)
