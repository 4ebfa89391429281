"""Fits run in a process of their own: the event loop never waits for them, and their memory goes with them.

`run` starts `python -m services.scoring.models.worker`, which reads arrays from its standard input and
answers with the estimate or the refusal as JSON.
"""

import asyncio
import io
import os
import sys
from pathlib import Path
from typing import Any, Literal

import numpy as np
import orjson

from services.scoring.facts.histories import Histories, Spending
from services.scoring.models import bg_nbd, gamma_gamma, purchasing
from services.scoring.models.estimation import (
    Estimate,
    NoRepeatBuyers,
    NotConverged,
    NoVariance,
    TooFewCustomers,
)
from shared.problems import Conflict, Unavailable

ModelKind = Literal["bg_nbd", "gamma_gamma"]

ROOT = Path(__file__).resolve().parents[3]
REFUSALS: dict[str, type[Conflict]] = {
    refusal.slug: refusal for refusal in (TooFewCustomers, NoRepeatBuyers, NoVariance, NotConverged)
}


class FitTookTooLong(Unavailable):
    slug, title = "fit-took-too-long", "The fit did not finish in time"


async def run(
    kind: ModelKind, data: Histories | Spending, *, minimum_customers: int, timeout_s: float
) -> Estimate:
    """Fit a model in a process of its own.

    Raises:
        TooFewCustomers, NoRepeatBuyers, NoVariance, NotConverged: the model refuses these customers.
        FitTookTooLong: it was stopped after `timeout_s`.
    """
    if isinstance(data, Histories):
        purchasing.check(data, minimum_customers)
    else:
        gamma_gamma.check(data, minimum_customers)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        __name__,
        kind,
        str(minimum_customers),
        cwd=ROOT,
        env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},  # the vectors are short; threads only cost memory
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,  # an interrupt of the service is the service's to pass on
    )
    try:
        async with asyncio.timeout(timeout_s):
            output, _ = await process.communicate(_pack(data))
    except TimeoutError as error:
        raise FitTookTooLong(f"It was stopped after {timeout_s:g} s.") from error
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        raise RuntimeError(f"the fit's process ended with {process.returncode}")
    answer: dict[str, Any] = orjson.loads(output)
    if "refused" in answer:
        raise REFUSALS[answer["refused"]](answer["detail"])
    return Estimate(**answer)


def fit(kind: ModelKind, data: Histories | Spending, minimum_customers: int) -> Estimate:
    """Fit a model here and now."""
    if isinstance(data, Histories):
        return bg_nbd.fit(data, minimum_customers=minimum_customers)
    return gamma_gamma.fit(data, minimum_customers=minimum_customers)


def _pack(data: Histories | Spending) -> bytes:
    packed = io.BytesIO()
    np.savez(packed, **{name: getattr(data, name) for name in data.__dataclass_fields__})
    return packed.getvalue()


def _unpack(kind: ModelKind, packed: bytes) -> Histories | Spending:
    arrays = np.load(io.BytesIO(packed), allow_pickle=False)
    return (Histories if kind == "bg_nbd" else Spending)(**arrays)


def _main(kind: ModelKind, minimum_customers: int) -> None:
    try:
        answer: object = fit(kind, _unpack(kind, sys.stdin.buffer.read()), minimum_customers)
    except Conflict as refusal:
        answer = {"refused": refusal.slug, "detail": refusal.detail}
    sys.stdout.buffer.write(orjson.dumps(answer))


if __name__ == "__main__":
    _main("gamma_gamma" if sys.argv[1] == "gamma_gamma" else "bg_nbd", int(sys.argv[2]))
