"""Work in a process of its own: JSON arguments in, a line of JSON out. Imports little, so it starts fast."""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import uvloop

from infra.bench.figures import Wrong


async def run_beside(module: str, arguments: dict[str, Any], *, within_s: float) -> dict[str, Any]:
    """Run a module in a process of its own: arguments as JSON in, one line of JSON out.

    Raises:
        Wrong: it failed, or said nothing in time.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", module, json.dumps(arguments), stdout=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(within_s):
            output = (await process.communicate())[0].decode()
    except TimeoutError:
        process.kill()
        await process.wait()
        raise Wrong(f"{module} said nothing within {within_s:.0f} s") from None
    if process.returncode:
        raise Wrong(f"{module} ended with {process.returncode}")
    return last_line(output, module)


def answer(main: Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]) -> None:
    """The other side: run the module's work on uvloop and print what it returns."""

    async def run() -> None:
        print(json.dumps(await main(json.loads(sys.argv[1]))), flush=True)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run())


def last_line(output: str, who: str) -> dict[str, Any]:
    """The JSON that a program printed last.

    Raises:
        Wrong: it is none.
    """
    line = output.strip().rsplit("\n", 1)[-1]
    try:
        said: dict[str, Any] = json.loads(line)
    except ValueError:
        raise Wrong(f"{who} said {line[:300]!r}") from None
    return said
