"""Several gateways on one database and one broker: each shows what any of them has kept."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from gateway.settings import GatewaySettings
from shared.ids import new_id
from shared.messaging.rabbit import RabbitBus
from tests.gateway.view.made import profile_body, purchases, section
from tests.gateway.view.serving import Gateway, outgoing, running_gateway
from tests.gateway.view.test_stream import reading
from tests.support.apps import eventually
from tests.support.broker import own_prefix, rabbit

pytestmark = pytest.mark.broker


@asynccontextmanager
async def connected(url: str, prefix: str) -> AsyncIterator[RabbitBus]:
    bus = RabbitBus(url, prefix=prefix)
    await bus.start()
    await eventually(lambda: bus.connected)
    try:
        yield bus
    finally:
        await bus.close()


async def test_a_change_reaches_the_streams_of_every_gateway(settings: GatewaySettings) -> None:
    url, prefix = rabbit(), own_prefix()
    customer = new_id()
    async with AsyncExitStack() as stack:
        gateways: list[Gateway] = []
        for _ in range(2):
            bus = await stack.enter_async_context(connected(url, prefix))
            gateways.append(await stack.enter_async_context(running_gateway(settings, bus=bus)))
        publisher = await stack.enter_async_context(connected(url, prefix))
        await publisher.publish([outgoing(section("profile", customer, 1, profile_body()))])

        async def is_known() -> bool:
            return (await gateways[0].client.get(f"/v1/customers/{customer}/360")).status_code == 200

        await eventually(is_known)
        readers = [await stack.enter_async_context(reading(gateway, customer)) for gateway in gateways]
        assert [await reader.next() for reader in readers] == [("ready", {})] * 2
        for version in range(2, 12):
            await publisher.publish([outgoing(section("loyalty", customer, version, {"balance": version}))])
            for reader in readers:
                assert (await reader.next())[1]["version"] == version
        await publisher.publish([outgoing(purchases(customer))])
        lines = [await reader.next() for reader in readers]
        assert lines[0] == lines[1]
        assert lines[0][0] == "timeline"
