"""Fixtures of the whole suite."""

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from hypothesis import settings as hypothesis_settings

from shared.settings import ServiceSettings
from tests.support.databases import drop_database, make_database

# Machines are noisy: an example that is slow once is no failure.
hypothesis_settings.register_profile("noisy", deadline=None)
hypothesis_settings.load_profile("noisy")

MakeDatabase = Callable[..., Awaitable[ServiceSettings]]


@pytest.fixture
async def fresh() -> AsyncIterator[MakeDatabase]:
    """`await fresh(LoyaltySettings, "services.loyalty", **overrides)`: settings with an own database."""
    made: list[ServiceSettings] = []

    async def make(
        settings_type: type[ServiceSettings], package: str, **overrides: object
    ) -> ServiceSettings:
        settings = await make_database(settings_type, package, **overrides)
        made.append(settings)
        return settings

    yield make
    for settings in made:
        await drop_database(settings)
