"""Processor time: what each part, PostgreSQL and RabbitMQ used. A busy machine moves it less than seconds."""

from collections.abc import Iterable, Mapping
from urllib.parse import urlsplit

import psutil

from infra.bench.figures import Figure
from infra.bench.stage import Stage

OWN_BACKENDS = "c360-"  # what parts call their connections; the others are the benchmark's and yardsticks'
RABBIT = "RabbitMQ"
_BACKENDS = """
    SELECT pid, application_name FROM pg_stat_activity
    WHERE starts_with(application_name, $1) OR backend_type <> 'client backend'
"""

Used = Mapping[str, float]


async def used(stage: Stage) -> Used:
    """Seconds of processor time so far, user and system, by who used them.

    A backend's time is that of the part that it works for; what PostgreSQL's own processes use, writing the
    log and the pages, is PostgreSQL's.
    """
    seconds = {name: _seconds(server.pid) for name, server in stage.running.items()}
    for pid, part in await (await stage.pool("postgres")).fetch(_BACKENDS, OWN_BACKENDS):
        who = part.removeprefix(OWN_BACKENDS)
        name = f"PostgreSQL for {who}" if who else "PostgreSQL itself"
        seconds[name] = seconds.get(name, 0.0) + _seconds(pid)
    if stage.amqp_url is not None:
        seconds[RABBIT] = _seconds(_listener(urlsplit(stage.amqp_url).port or 5672))
    return seconds


def between(before: Used, after: Used) -> Used:
    """What was used from one moment to another."""
    return {who: seconds - before.get(who, 0.0) for who, seconds in after.items()}


def figures(repeats: Iterable[tuple[Used, int]], one: str) -> list[Figure]:
    """Milliseconds of processor time for each `one` of what was done, by who used them and in all."""
    spent = [{who: 1000 * seconds / count for who, seconds in used.items()} for used, count in repeats]
    names = sorted({who for one_repeat in spent for who in one_repeat})
    told = [Figure(f"processor ms a {one}", [sum(one_repeat.values()) for one_repeat in spent])]
    return told + [
        Figure(f"… of which {who}", [one_repeat.get(who, 0.0) for one_repeat in spent]) for who in names
    ]


def _seconds(pid: int) -> float:
    """Of a process; 0 for one that has ended meanwhile."""
    try:
        times = psutil.Process(pid).cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(times.user + times.system)


def _listener(port: int) -> int:
    """The process that listens on a port of this machine; -1, which is nobody, when it is not to be seen."""
    for connection in psutil.net_connections("tcp"):
        if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port and connection.pid:
            return int(connection.pid)
    return -1
