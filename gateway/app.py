"""The gateway's assembly: routers, reactions, background jobs and the edge in front of them."""

from collections.abc import Mapping

import httpx
from fastapi import FastAPI

from gateway.settings import GatewaySettings
from shared.messaging.bus import Bus
from shared.web.app import create_service_app


def create_app(
    settings: GatewaySettings | None = None,
    bus: Bus | None = None,
    upstreams: Mapping[str, httpx.AsyncBaseTransport] | None = None,
) -> FastAPI:
    """The gateway.

    Args:
        settings: from the environment when left out.
        bus: the transport of events; made from the settings when left out.
        upstreams: transports per service, for services in the same process; otherwise their URLs are used.
    """
    settings = settings or GatewaySettings()
    return create_service_app(settings, routers=[], reactions=[], bus=bus)
