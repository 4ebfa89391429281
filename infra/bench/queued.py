"""Messages put into queues before the clock runs."""

import asyncio
from collections.abc import Sequence

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractExchange, AbstractQueue

IN_FLIGHT = 500  # publishes whose confirms are awaited together
PERSISTENT = aio_pika.DeliveryMode.PERSISTENT


async def quorum_queue(channel: AbstractChannel, name: str) -> AbstractQueue:
    """A queue of a yardstick's own, of the kind that the parts use."""
    return await channel.declare_queue(name, durable=True, arguments={"x-queue-type": "quorum"})


async def publish_all(exchange: AbstractExchange, messages: Sequence[tuple[str, bytes]]) -> None:
    """Publish (routing key, body) in this order, persistent and confirmed."""
    for start in range(0, len(messages), IN_FLIGHT):
        await asyncio.gather(
            *(
                exchange.publish(aio_pika.Message(body, delivery_mode=PERSISTENT), key, mandatory=True)
                for key, body in messages[start : start + IN_FLIGHT]
            )
        )
