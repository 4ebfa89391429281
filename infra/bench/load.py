"""Load over HTTP from a separate process: wrk where it is installed, otherwise our own loader."""

import asyncio
import shutil
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from infra.bench.beside import last_line, run_beside
from infra.bench.figures import Wrong

REPLAY = Path(__file__).with_name("replay.lua")
START_GRACE_S = 60.0
WARM_UP_S = 0.3  # not measured: lets a part build what it builds at the first request


@dataclass(frozen=True, slots=True)
class Load:
    """What to send and what must come back.

    Args:
        requests: a file of `write_requests`.
        status: of every answer.
        text: in the body of every answer.
        never: in the body of no answer, unless empty.
        repeat: whether the requests may be sent again from the first one on.
    """

    requests: Path
    status: int
    text: str
    never: str = ""
    repeat: bool = True


@dataclass(frozen=True, slots=True)
class Answers:
    """What came back."""

    count: int
    per_s: float
    p50_ms: float
    p99_ms: float


def loader_name() -> str:
    """Which loader runs here."""
    return "wrk" if shutil.which("wrk") else "own asyncio loader"


async def fire(load: Load, port: int, *, connections: int, seconds: float) -> Answers:
    """Keep every connection busy for this long.

    Raises:
        Wrong: an answer was not as it must be, a connection broke, or the requests did not suffice.
    """
    wrk = shutil.which("wrk")
    said = await (
        _wrk(wrk, load, port, connections, seconds) if wrk else _own(load, port, connections, seconds)
    )
    if said["wrong"] or said["broken"] or said["ran_out"] or (not said["answers"] and seconds > WARM_UP_S):
        raise Wrong(
            f"{said['wrong']} of {said['answers']} answers were wrong, {said['broken']} broken, "
            f"{said['ran_out']} beyond the requests made; the first: {said['first_wrong']}"
        )
    return Answers(said["answers"], said["answers"] / said["seconds"], said["p50_ms"], said["p99_ms"])


async def _wrk(wrk: str, load: Load, port: int, connections: int, seconds: float) -> dict[str, Any]:
    command = [
        wrk,
        "-t1",
        f"-c{connections}",
        f"-d{int(seconds) + 1}s",
        "--timeout",
        "10s",
        "-s",
        str(REPLAY),
    ]
    command += [f"http://127.0.0.1:{port}", "--"]
    command += [str(load.requests), str(load.status), load.text, load.never, "yes" if load.repeat else "no"]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=pipe)
    begun = cast(asyncio.StreamReader, process.stderr)
    async with asyncio.timeout(START_GRACE_S + seconds):
        await begun.readline()  # "begins": the requests are read
        await asyncio.sleep(seconds)
        if process.returncode is None:
            process.send_signal(signal.SIGINT)  # wrk knows whole seconds only; it still reports
        output = (await process.communicate())[0].decode()
    return last_line(output, "wrk")


async def _own(load: Load, port: int, connections: int, seconds: float) -> dict[str, Any]:
    arguments = {
        "requests": str(load.requests),
        "status": load.status,
        "text": load.text,
        "never": load.never,
        "repeat": load.repeat,
        "port": port,
        "connections": connections,
        "seconds": seconds,
    }
    return await run_beside("infra.bench.loader", arguments, within_s=START_GRACE_S + seconds)
