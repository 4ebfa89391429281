"""Yardstick of P6: take messages off a quorum queue and acknowledge them. `python -m … JSON`.

In the manner of our own consumer: prefetch PREFETCH, one acknowledgement for all that have arrived.
"""

import asyncio
import time
from typing import Any

import aio_pika
from aio_pika.abc import AbstractIncomingMessage

from infra.bench.beside import answer

PREFETCH = 200  # the parts' default, C360_CONSUMER_BATCH


async def main(arguments: dict[str, Any]) -> dict[str, Any]:
    """Consume `count` messages of `queue` at `url`; messages a second up to the last ack."""
    async with await aio_pika.connect(arguments["url"]) as connection:
        channel = await connection.channel(publisher_confirms=False)
        await channel.set_qos(prefetch_count=PREFETCH)
        queue = await channel.get_queue(arguments["queue"], ensure=False)
        arrived: asyncio.Queue[AbstractIncomingMessage] = asyncio.Queue()
        started = time.perf_counter()
        tag = await queue.consume(arrived.put)
        done, size = 0, 0
        while done < arguments["count"]:
            messages = [await arrived.get()]
            while len(messages) < PREFETCH and not arrived.empty():
                messages.append(arrived.get_nowait())
            size += sum(len(message.body) for message in messages)
            await messages[-1].ack(multiple=True)
            done += len(messages)
        took_s = time.perf_counter() - started
        await queue.cancel(tag)
    return {"per_s": done / took_s, "messages": done, "bytes": size}


if __name__ == "__main__":
    answer(main)
