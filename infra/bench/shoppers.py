"""Made customers for the benchmarks of models, and the two programs that compute on the same file of them.

Our side is `infra.bench.modelling` under this Python. The other is `lifetimes_side.py` under a virtual
environment of its own beside the run's folder, with lifetimes 0.11.3 and what it needs: nothing of it enters
the project. Each is a fresh process on one BLAS thread that loads the file, computes and tells its seconds.
"""

import asyncio
import json
import os
import sys
import venv
from pathlib import Path
from typing import Any

import numpy as np

from infra.bench.figures import Wrong
from infra.bench.stage import Stage

YARDSTICK = "lifetimes==0.11.3"
INSTALL_S, COMPUTE_S = 600.0, 900.0
PARAMS = {"r": 0.243, "alpha": 4.414, "a": 0.793, "b": 2.426}  # CDNOW's, weeks
SPEND = {"p": 6.25, "q": 3.74, "gamma": 15.44}
MONTHS, WEEKS_PER_MONTH, DISCOUNT = 12, 4.345, 0.01  # per month, as lifetimes counts them
FIRST_DAYS, LAST_DAYS = 27 * 7, 39 * 7  # ages, as CDNOW's


def make(file: Path, customers: int) -> None:
    """Customers who follow the BG/NBD, seen in whole days: x, recency, age (weeks), mean spend."""
    rng = np.random.default_rng(7)
    rate = rng.gamma(PARAMS["r"], 1 / PARAMS["alpha"], customers)
    leaves = rng.beta(PARAMS["a"], PARAMS["b"], customers)
    age = rng.integers(FIRST_DAYS, LAST_DAYS + 1, customers) / 7.0
    x, last, at = np.zeros((3, customers))
    buying = np.arange(customers)
    while buying.size:
        at[buying] += rng.exponential(1 / rate[buying])
        buying = buying[at[buying] <= age[buying]]
        x[buying] += 1
        last[buying] = np.minimum(np.ceil(at[buying] * 7) / 7, age[buying])
        buying = buying[rng.random(buying.size) >= leaves[buying]]
    repeats = np.maximum(x, 1)
    spent = rng.gamma(SPEND["p"] * repeats) * rng.gamma(SPEND["q"], 1 / SPEND["gamma"], customers) ** -1
    np.savez(file, x=x, recency=last, age=age, mean=np.where(x > 0, spent / repeats, 0.0))


async def ours(job: str, file: Path) -> dict[str, Any]:
    """Our answers to a job: `seconds`, and what it computed."""
    return await _compute([sys.executable, "-m", "infra.bench.modelling"], job, file)


async def theirs(stage: Stage, job: str, file: Path) -> dict[str, Any]:
    """The answers of lifetimes; installs it first.

    Raises:
        Wrong: it cannot be installed, or does not answer.
    """
    python = stage.folder.parent / "lifetimes" / "bin" / "python"  # kept for the next run
    if not python.exists():
        await asyncio.to_thread(venv.create, python.parents[1], with_pip=True)
        install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", YARDSTICK]
        await _run(install, INSTALL_S, f"{YARDSTICK} cannot be installed")
    return await _compute([str(python), str(Path(__file__).with_name("lifetimes_side.py"))], job, file)


async def _compute(program: list[str], job: str, file: Path) -> dict[str, Any]:
    terms = {"params": PARAMS, "spend": SPEND, "months": MONTHS, "discount": DISCOUNT}
    output = await _run([*program, job, str(file), json.dumps(terms)], COMPUTE_S, f"{job} failed")
    answer: dict[str, Any] = json.loads(output.splitlines()[-1])
    return answer


async def _run(command: list[str], within_s: float, what: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *command,
        env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(within_s):
            output, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        raise Wrong(f"{what}: {errors.decode(errors='replace')[-400:]}")
    return output.decode()
