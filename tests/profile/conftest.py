"""A running profile service on a database of its own, with everything it tells the others."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from services.profile.app import create_app
from services.profile.settings import ProfileSettings
from shared.contracts import decode
from shared.contracts.envelope import event_types
from shared.messaging.local import LocalBus
from tests.profile.made import Profile
from tests.support.apps import running

Start = Callable[..., Awaitable[Profile]]


@pytest.fixture
async def start(fresh: Any) -> AsyncIterator[Start]:
    """`await start(**settings)`: a running profile service."""
    async with AsyncExitStack() as stack:

        async def make(**overrides: Any) -> Profile:
            settings = await fresh(ProfileSettings, "services.profile", **overrides)
            bus = LocalBus(["profile.reactions"])
            await bus.start()
            stack.push_async_callback(bus.close)
            app = create_app(settings, bus)
            client = await stack.enter_async_context(running(app))
            profile = Profile(app, client, bus)
            bus.listen([m.type for m in event_types()], lambda body: profile.heard.append(decode(body)))
            return profile

        yield make


@pytest.fixture
async def profile(start: Start) -> Profile:
    """A running profile service with default settings."""
    return await start()
