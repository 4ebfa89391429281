"""`python -m infra.bench`: runs benchmarks, prints the table, writes results/latest.json and latest.md."""

import argparse
import asyncio
import contextlib
import json
import os
import signal
import sys
import time
import traceback
from pathlib import Path
from types import FrameType

from infra.bench import (
    p01_view,
    p02_fresh,
    p03_intake,
    p04a_postings,
    p04b_redemptions,
    p04c_earnings,
    p05_visible,
    p06_projection,
    p07a_fit,
    p07b_predict,
    p07c_walk,
    p09_growth,
    p10_footprint,
    report,
)
from infra.bench.benchmark import Benchmark, Effort
from infra.bench.figures import Wrong
from infra.bench.ground import Ground, servers
from infra.bench.machine import machine
from infra.bench.profiles import Profiler, py_spy
from infra.bench.report import Outcome, Report
from infra.bench.stage import Stage
from infra.data import Refused
from shared.clock import utc_now

# In this order, so that neighbours can use the same running parts.
MODULES = (
    p01_view,
    p03_intake,
    p06_projection,
    p04a_postings,
    p04b_redemptions,
    p04c_earnings,
    p09_growth,
    p05_visible,
    p02_fresh,
    p07a_fit,
    p07b_predict,
    p07c_walk,
    p10_footprint,
)
PROFILES = Path(".data/profiles")
ALL = tuple(module.BENCHMARK for module in MODULES)


def main() -> int:
    """0 when everything could be measured and every answer was right, reached or not."""
    arguments = _arguments()
    signal.signal(signal.SIGTERM, _interrupt)
    chosen = [one for one in ALL if not arguments.only or one.name in arguments.only]
    effort = Effort.quick() if arguments.quick else Effort.full()
    try:
        if arguments.profile:
            py_spy()
        with servers(broker=any(one.broker for one in chosen), say=say) as ground:
            done = asyncio.run(_run(chosen, ground, effort, arguments))
    except Refused as refused:
        say(str(refused))
        return 1
    report.write(done)
    as_json = json.dumps(report.as_json(done), ensure_ascii=False)
    print(as_json if arguments.json else report.as_markdown(done))
    return int(any(outcome.failed for outcome in done.outcomes))


async def _run(
    chosen: list[Benchmark], ground: Ground, effort: Effort, arguments: argparse.Namespace
) -> Report:
    started = time.monotonic()
    async with Stage(ground) as made:
        await made.migrate({part for one in chosen for part in one.parts})
        facts = await machine(await made.pool("postgres"), made.amqp_url)
        say(f"ready after {time.monotonic() - started:.1f} s")
        done = Report(utc_now(), "quick" if arguments.quick else "full", facts)
        for benchmark in chosen:
            made.profiler = Profiler(PROFILES, benchmark.name) if arguments.profile else None
            done.outcomes.append(await _measure(benchmark, made, effort))
            for file in await made.profiler.finish() if made.profiler else ():
                say(f"profile: {file}")
    say(f"done after {time.monotonic() - started:.1f} s")
    return done


async def _measure(benchmark: Benchmark, made: Stage, effort: Effort) -> Outcome:
    title = benchmark.title.format(customers=effort.customers)
    say(f"{benchmark.name}: {title}")
    started = time.monotonic()
    try:
        figures = await benchmark.run(made, effort)
    except Exception as error:  # the others are measured all the same
        if not isinstance(error, Wrong):
            traceback.print_exc()
        why = str(error) or type(error).__name__
        say(f"{benchmark.name} failed: {why}\n{made.last_words()}")
        return Outcome(benchmark.name, title, benchmark.against, time.monotonic() - started, failed=why)
    return Outcome(benchmark.name, title, benchmark.against, time.monotonic() - started, figures)


def _arguments() -> argparse.Namespace:
    names = [one.name for one in ALL]
    parser = argparse.ArgumentParser(prog="python -m infra.bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="about two minutes over all; figures are rough")
    listed = f"one of {', '.join(names)}; repeatable"
    parser.add_argument("--only", action="append", choices=names, metavar="NAME", help=listed)
    parser.add_argument(
        "--profile", action="store_true", help=f"py-spy the parts meanwhile, into {PROFILES}/"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")
    return parser.parse_args()


def say(message: str) -> None:
    """Progress, to standard error."""
    print(f"[bench] {message}", file=sys.stderr, flush=True)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(main())
    os._exit(130)
