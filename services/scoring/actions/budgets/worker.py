"""A programme solved in a process of its own: arrays go in, the plan comes out."""

import asyncio
import io
import sys
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import orjson

from services.scoring.actions.programme import Plan, Programme, solve
from services.scoring.processes import compute


async def run(programme: Programme, *, timeout_s: float) -> Plan:
    """Solve a programme in a process of its own.

    Raises:
        TookTooLong: it was stopped.
    """
    if len(programme.gains) == 0:
        return solve(programme)  # nobody to plan for is no work
    said, chosen = await compute(__name__, await asyncio.to_thread(_pack, programme), {}, timeout_s=timeout_s)
    prices = np.array(said.pop("prices"), dtype=np.float64)
    return Plan(chosen=np.frombuffer(chosen, dtype=np.int64), prices=prices, **said)


def _pack(programme: Programme) -> bytes:
    packed = io.BytesIO()
    arrays: dict[str, Any] = asdict(programme)
    np.savez(packed, **arrays)
    return packed.getvalue()


def _main() -> None:
    arrays = np.load(io.BytesIO(sys.stdin.buffer.read()), allow_pickle=False)
    programme = Programme(arrays["gains"], arrays["costs"], arrays["capacities"], float(arrays["budget"]))
    plan = solve(programme)
    said = asdict(replace(plan, chosen=np.empty(0, dtype=np.int64)))
    del said["chosen"]
    sys.stdout.buffer.write(orjson.dumps(said, option=orjson.OPT_SERIALIZE_NUMPY) + b"\n")
    sys.stdout.buffer.write(plan.chosen.astype(np.int64).tobytes())


if __name__ == "__main__":
    _main()
