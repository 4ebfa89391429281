"""P2: the 360 view with `?fresh=true`, beside a bare aiohttp fan-out to the same four running services."""

import random
from collections.abc import Sequence

import aiohttp

from infra.bench.benchmark import Benchmark, Effort, take_turns
from infra.bench.figures import Figure, Reach, Wrong
from infra.bench.load import Answers, Load, fire
from infra.bench.population import SERVICES, populate
from infra.bench.processes import Server
from infra.bench.requests import http_request, write_requests
from infra.bench.stage import Person, Stage

CONNECTIONS = 16
COMPARED = 50
COMPLETE = '"meta":{"complete":true,'
FROM_THE_VIEW = '"source":"view"'
ALL_FOUR = '"scoring":{'


async def run(stage: Stage, effort: Effort) -> list[Figure]:
    parts = await stage.have("gateway", *SERVICES)
    gateway = parts["gateway"]
    people = list(await populate(stage, gateway, effort.active))
    random.Random(2).shuffle(people)
    headers = {"Authorization": f"Bearer {stage.key}", "Accept": "application/json"}
    ours = Load(stage.folder / "p2.views", 200, COMPLETE, FROM_THE_VIEW)
    bare = Load(stage.folder / "p2.composed", 200, ALL_FOUR, ":null,")
    paths = [f"/v1/customers/{person.id}/360?fresh=true" for person in people]
    write_requests(ours.requests, (http_request("GET", path, headers=headers) for path in paths))
    paths = [f"/composed/{person.id}" for person in people]
    write_requests(bare.requests, (http_request("GET", path, headers=headers) for path in paths))
    services = {name: parts[name].url for name in SERVICES}
    async with stage.serve("fan_out", token=stage.token, services=services) as yardstick:
        await _compare(gateway, yardstick, headers, people[:COMPARED])

        async def read(load: Load, server: Server) -> Answers:
            return await fire(load, server.port, connections=CONNECTIONS, seconds=effort.seconds)

        live, composed = await take_turns(
            effort.repeats, lambda: read(ours, gateway), lambda: read(bare, yardstick)
        )
    return [
        Figure("fresh views/s", [a.per_s for a in live], [a.per_s for a in composed], Reach("≥", 0.75)),
        Figure("p99 ms", [a.p99_ms for a in live], [a.p99_ms for a in composed]),
    ]


async def _compare(
    gateway: Server, yardstick: Server, headers: dict[str, str], people: Sequence[Person]
) -> None:
    """Both sides show the same four sections, and ours says that each is live."""
    async with aiohttp.ClientSession(headers=headers) as session:
        for person in people:
            path = f"{gateway.url}/v1/customers/{person.id}/360?fresh=true"
            async with (
                session.get(path) as ours,
                session.get(f"{yardstick.url}/composed/{person.id}") as bare,
            ):
                view, composed = await ours.json(), await bare.json()
            sources = {section["source"] for section in view["meta"]["sections"].values()}
            if sources != {"live"} or any(view[name] != composed[name] for name in SERVICES):
                raise Wrong(f"the fresh view and the yardstick differ; sources {sources}")


BENCHMARK = Benchmark(
    "P2",
    "360 view with ?fresh=true, four live services",
    "bare FastAPI route with an aiohttp fan-out to the same four services",
    parts=("gateway", *SERVICES),
    broker=True,
    run=run,
)
