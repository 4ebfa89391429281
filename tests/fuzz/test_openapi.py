"""No input gives a 500: schemathesis over the gateway's whole document, against the running system."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.broker import rabbit
from tests.support.system import KEY, System

pytestmark = [pytest.mark.processes, pytest.mark.broker]

LONG = bool(os.environ.get("C360_LONG"))
SECONDS = 1800 if LONG else 30


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with System(tmp_path_factory.mktemp("fuzz"), rabbit()) as running:
        yield running


def test_no_request_that_the_document_allows_or_forbids_gives_a_500(system: System, tmp_path: Path) -> None:
    asyncio.run(_seed(system))
    run = subprocess.run(
        [
            str(Path(sys.executable).with_name("st")),
            "run",
            f"{system.url}/openapi.json",
            "--url",
            system.url,
            "--header",
            f"Authorization: Bearer {KEY}",
            "--checks",
            "not_a_server_error",
            "--phases",
            "examples,coverage,fuzzing,stateful" if LONG else "examples,fuzzing",
            "--max-examples",
            "200" if LONG else "4",
            "--max-time",
            str(SECONDS),
            "--workers",
            "1",  # several race in ast.parse up to Python 3.11.7 (python/cpython#106905)
            "--continue-on-failure",
            "--suppress-health-check",
            "all",
            "--warnings",
            "off",
            "--seed",
            os.environ.get("C360_SEED", "360"),
            "--no-color",
        ],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=SECONDS * 2 + 120,
        check=False,
    )
    assert run.returncode == 0, run.stdout[-8000:] + run.stderr[-2000:]


async def _seed(system: System) -> None:
    """Something for the requests to meet."""
    async with system.client() as client:
        answer = await client.post("/v1/customers", json={"name": "李雷", "email": "fuzz@example.com"})
        assert answer.status_code == 201, answer.text
