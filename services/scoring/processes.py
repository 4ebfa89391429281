"""Heavy computing in a process of its own: the event loop never waits, and its memory goes with it.

The module is run with `python -m`, reads its task from the standard input and answers on the standard
output: a line of JSON, then bytes of its own. `{"refused": slug, "detail": …}` is a refusal, with `errors`
that name fields where there are any.
"""

import asyncio
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import orjson

from shared.problems import FieldError, Problem, Unavailable

ROOT = Path(__file__).resolve().parents[2]


class TookTooLong(Unavailable):
    slug, title = "computing-took-too-long", "The computing did not finish in time"


@contextmanager
def one_thread(*libraries: str) -> Iterator[None]:
    """Let these libraries compute on one thread.

    Threads of small work that share their cores with others mostly wait for each other, and they add up in
    any order, which shows in the last digits. The libraries are loaded first: a limit that is set before
    theirs are there limits nothing.
    """
    from threadpoolctl import threadpool_limits

    for library in libraries:
        import_module(library)
    with threadpool_limits(1):
        yield


async def compute(
    module: str, task: bytes, refusals: Mapping[str, type[Problem]], *, timeout_s: float
) -> tuple[dict[str, Any], bytes]:
    """The answer of a module's process: what its first line says, and the bytes after it.

    Raises:
        Problem: one of `refusals`, by its slug.
        TookTooLong: it was stopped after `timeout_s`.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        module,
        cwd=ROOT,
        env=os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "2"},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,  # an interrupt of the service is the service's to pass on
    )
    try:
        async with asyncio.timeout(timeout_s):
            output, _ = await process.communicate(task)
    except TimeoutError as error:
        raise TookTooLong(f"It was stopped after {timeout_s:g} s.") from error
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        raise RuntimeError(f"the process of {module} ended with {process.returncode}")
    head, _, body = output.partition(b"\n")
    answer: dict[str, Any] = orjson.loads(head)
    if "refused" in answer:
        wrong = [FieldError(**one) for one in answer.get("errors", [])]
        raise refusals[answer["refused"]](answer["detail"], errors=wrong)
    return answer, body
