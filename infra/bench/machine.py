"""What the figures were measured on."""

import os
import platform
from pathlib import Path

import aio_pika
import asyncpg
import psutil

from infra.bench.load import loader_name


async def machine(server: asyncpg.Pool, amqp_url: str | None) -> dict[str, str]:
    """Cores, memory and versions, in words."""
    said = {
        "cores": f"{os.cpu_count()} × {_processor()}",
        "memory": f"{psutil.virtual_memory().total / 2**30:.0f} GB",
        "load before": f"{os.getloadavg()[0]:.2f}",
        "system": f"{platform.system()} {platform.release()}",
        "Python": platform.python_version(),
        "PostgreSQL": str(await server.fetchval("SHOW server_version")),
        "loader": loader_name(),
    }
    if amqp_url is not None:
        async with await aio_pika.connect(amqp_url) as connection:
            properties = connection.transport.connection.server_properties if connection.transport else {}
            said["RabbitMQ"] = str(properties.get("version", "unknown"))
    return said


def _processor() -> str:
    """The processor's name where Linux tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
