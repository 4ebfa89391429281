"""Numbers from the database as columns, without a Python object for each: millions of rows cost no loop."""

import asyncio

import asyncpg
import numpy as np

from services.scoring.facts.histories import Floats

_HEADER_BYTES = 19
_TRAILER_BYTES = 2


async def fetch_columns(
    connection: asyncpg.Connection, query: str, *args: object, count: int
) -> list[Floats]:
    """The rows of a query whose `count` columns are all float8 and not null, as arrays of shape (n,).

    Read in PostgreSQL's binary COPY format, in which such rows have a fixed length.
    """
    parts: list[bytes] = []

    async def keep(part: bytes) -> None:
        parts.append(bytes(part))

    await connection.copy_from_query(query, *args, output=keep, format="binary")
    return await asyncio.to_thread(_columns, parts, count)


def _columns(parts: list[bytes], count: int) -> list[Floats]:
    body = b"".join(parts)[_HEADER_BYTES:-_TRAILER_BYTES]
    fields = [field for n in range(count) for field in ((f"length{n}", ">i4"), (f"value{n}", ">f8"))]
    rows = np.frombuffer(body, dtype=np.dtype([("fields", ">i2"), *fields]))
    return [rows[f"value{n}"].astype(np.float64) for n in range(count)]
