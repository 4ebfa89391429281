"""The five parts of a system and how each is made: the one place that knows them all."""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx
from fastapi import FastAPI

from infra.data import Refused
from shared.messaging.bus import Bus
from shared.migrations import migrate
from shared.settings import ServiceSettings


@dataclass(frozen=True, slots=True)
class Part:
    """A service or the gateway.

    Args:
        package: where its `app.py`, `settings.py` and `migrations/` are.
        offset: its port is the gateway's plus this.
    """

    name: str
    package: str
    offset: int

    def settings(self, **values: Any) -> ServiceSettings:
        """Its settings from the environment; `values` win."""
        module = importlib.import_module(f"{self.package}.settings")
        made: ServiceSettings = getattr(module, f"{self.name.capitalize()}Settings")(**values)
        return made

    def create_app(self, settings: ServiceSettings | None = None, bus: Bus | None = None) -> FastAPI:
        """Its app; the services' URLs come from the settings when it is the gateway."""
        module = importlib.import_module(f"{self.package}.app")
        app: FastAPI = module.create_app(settings, bus)
        return app

    async def migrate(self) -> None:
        """Bring its database to the newest revision; quick when it is there."""
        await migrate(self.settings(), self.package)


GATEWAY = Part("gateway", "gateway", 0)
SERVICES = (
    Part("profile", "services.profile", 1),
    Part("feedback", "services.feedback", 2),
    Part("loyalty", "services.loyalty", 3),
    Part("scoring", "services.scoring", 4),
)
PARTS = (*SERVICES, GATEWAY)
BY_NAME = {part.name: part for part in PARTS}


def part_named(name: str) -> Part:
    """The part.

    Raises:
        Refused: there is none of this name.
    """
    if name not in BY_NAME:
        raise Refused(f"There is no part {name!r}; choose one of {', '.join(BY_NAME)}.")
    return BY_NAME[name]


def create_gateway(
    settings: ServiceSettings, bus: Bus | None, upstreams: Mapping[str, httpx.AsyncBaseTransport]
) -> FastAPI:
    """The gateway for services in the same process."""
    app: FastAPI = importlib.import_module("gateway.app").create_app(settings, bus, upstreams)
    return app
