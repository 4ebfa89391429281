"""A scoring database of one's own, and settings whose observation date is in the story."""

from collections.abc import AsyncIterator
from datetime import date

import hypothesis
import pytest

from services.scoring.settings import ScoringSettings
from shared.database import Database
from tests.conftest import MakeDatabase

AS_OF = date(2026, 7, 1)

# A busy machine is no bug: how long an example takes is not what these tests are about.
hypothesis.settings.register_profile("patient", deadline=None)
hypothesis.settings.load_profile("patient")


@pytest.fixture
async def settings(fresh: MakeDatabase) -> ScoringSettings:
    made = await fresh(ScoringSettings, "services.scoring", as_of=AS_OF, cuts_quiet_s=0.0, relay_poll_s=0.1)
    assert isinstance(made, ScoringSettings)
    return made


@pytest.fixture
async def database(settings: ScoringSettings) -> AsyncIterator[Database]:
    opened = Database(settings)
    await opened.open()
    yield opened
    await opened.close()
