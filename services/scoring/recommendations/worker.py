"""Learning what goes with what in a process of its own: columns go in, rows for the database come out."""

import asyncio
import hashlib
import io
import struct
import sys
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import orjson

from services.scoring.facts.histories import Floats
from services.scoring.models.estimation import TooFewCustomers
from services.scoring.processes import compute
from services.scoring.recommendations.evaluation import evaluate, split
from services.scoring.recommendations.neighbours import Ints, Neighbours, Pairs, Terms, learn
from shared.problems import Conflict

FEWEST = 2  # customers and items: with one of either nothing goes with anything


class NoLines(Conflict):
    slug, title = "no-lines", "No purchase names an item"


class TooFewItems(Conflict):
    slug, title = "too-few-items", "Too few items to recommend from"


NOTHING_TO_LEARN = (NoLines, TooFewItems, TooFewCustomers)


@dataclass(frozen=True, slots=True)
class Task:
    """What to learn from.

    `numbers` are the database's numbers of the items in `traits`; `item` holds such numbers. `seen_age_days`
    of a pair is how long ago, as of the observation date, it was last bought until `split_days` before
    that; negative: not by then. `grouping` is the group of the pair's customer, 0 for none.
    """

    customer: Floats
    item: Floats
    age_days: Floats
    seen_age_days: Floats
    grouping: Floats
    numbers: Sequence[int]
    traits: Sequence[Sequence[str]]
    groups: int
    split_days: int
    terms: Terms
    version: int


@dataclass(frozen=True, slots=True)
class Learnt:
    """What came out: rows in PostgreSQL's binary COPY format, and what they were made from.

    `quality` is null when nobody bought both before and after the split.
    """

    customers: int
    items: int
    pairs: int
    neighbours: int
    data_hash: str
    quality: dict[str, Any] | None
    neighbour_rows: bytes
    popularity_rows: bytes


async def run(task: Task, *, timeout_s: float) -> Learnt:
    """Learn in a process of its own.

    Raises:
        NoLines, TooFewItems, TooFewCustomers: there is nothing to learn from.
        TookTooLong: it was stopped after `timeout_s`.
    """
    check(task)
    answer, packed = await compute(__name__, await asyncio.to_thread(_pack, task), {}, timeout_s=timeout_s)
    rows = await asyncio.to_thread(zlib.decompress, packed)
    ends = answer.pop("ends")
    return Learnt(**answer, neighbour_rows=rows[:ends], popularity_rows=rows[ends:])


def work(task: Task) -> Learnt:
    """Learn and judge here and now."""
    pairs, seen_age, group_of = numbered(task)
    numbers = np.array(task.numbers, dtype=np.int64)
    seen, later = split(pairs, seen_age, task.split_days)
    quality = None
    if later.item.size and seen.item.size:
        before = learn(seen, task.traits, group_of, task.groups, task.terms)
        quality = evaluate(before, seen, later, group_of, task.terms)
    learnt = learn(pairs, task.traits, group_of, task.groups, task.terms)
    return Learnt(
        customers=int(group_of.size),
        items=int(numbers.size),
        pairs=int(pairs.item.size),
        neighbours=int(learnt.item.size),
        data_hash=_hash(task),
        quality=asdict(quality) | {"better": quality.better} if quality else None,
        neighbour_rows=_neighbour_rows(learnt, numbers, task.version),
        popularity_rows=_popularity_rows(learnt, numbers, task.version),
    )


def check(task: Task) -> None:
    """Refuse, without trying, purchases that nothing can be learnt from.

    Raises:
        NoLines, TooFewItems, TooFewCustomers: as they say, with what to do.
    """
    if task.item.size == 0:
        raise NoLines("Send purchases with lines that name a sku: they tell what goes with what.")
    if len(task.numbers) < FEWEST:
        raise TooFewItems(
            f"Items: {len(task.numbers)}. Tell of more by purchases' lines or PUT /v1/items/{{sku}}."
        )
    if (task.customer == task.customer[0]).all():
        raise TooFewCustomers(f"Customers who bought items: 1. At least {FEWEST} are needed.")


def numbered(task: Task) -> tuple[Pairs, Floats, Ints]:
    """Pairs of known items, customers and items numbered from 0; their `seen_age_days`; and of each customer
    the group."""
    numbers = np.array(task.numbers, dtype=np.int64)
    known = np.isin(task.item, numbers)
    _, customer = np.unique(task.customer[known], return_inverse=True)
    item = np.searchsorted(numbers, task.item[known].astype(np.int64))
    order = np.lexsort((item, customer))
    group_of = np.zeros(int(customer.max(initial=-1)) + 1, dtype=np.int64)
    group_of[customer] = task.grouping[known].astype(np.int64)
    pairs = Pairs(customer[order], item[order], task.age_days[known][order])
    return pairs, task.seen_age_days[known][order], group_of


def _hash(task: Task) -> str:
    """Of what was learnt from, whatever order it was read in, and without who the customers are."""
    columns = np.array([task.item, task.age_days, task.seen_age_days, task.grouping])
    found = hashlib.sha256(columns[:, np.lexsort(columns)].tobytes())
    found.update(orjson.dumps([list(task.numbers), [sorted(item) for item in task.traits]]))
    return found.hexdigest()


def _neighbour_rows(learnt: Neighbours, numbers: Ints, version: int) -> bytes:
    return _copy_rows(
        np.full(learnt.item.size, version, dtype=">i4"),
        numbers[learnt.item].astype(">i4"),
        numbers[learnt.neighbour].astype(">i4"),
        learnt.together.astype(">f4"),
        learnt.alike.astype(">f4"),
        learnt.customers.astype(">i4"),
    )


def _popularity_rows(learnt: Neighbours, numbers: Ints, version: int) -> bytes:
    group, item = np.nonzero(learnt.popularity)
    return _copy_rows(
        np.full(item.size, version, dtype=">i4"),
        group.astype(">i4"),
        numbers[item].astype(">i4"),
        learnt.popularity[group, item].astype(">f4"),
    )


def _copy_rows(*columns: Any) -> bytes:
    """Columns of four-byte numbers as rows of PostgreSQL's binary COPY format (its manual, COPY, "Binary
    Format"): for each row the number of fields, then each field's length and value."""
    fields = [f for n, c in enumerate(columns) for f in ((f"length{n}", ">i4"), (f"value{n}", c.dtype))]
    rows = np.empty(columns[0].size, dtype=np.dtype([("fields", ">i2"), *fields]))
    rows["fields"] = len(columns)
    for n, column in enumerate(columns):
        rows[f"length{n}"], rows[f"value{n}"] = 4, column
    return b"PGCOPY\n\xff\r\n\0" + struct.pack(">ii", 0, 0) + rows.tobytes() + struct.pack(">h", -1)


_COLUMNS = ("customer", "item", "age_days", "seen_age_days", "grouping")


def _pack(task: Task) -> bytes:
    said = {
        "numbers": list(task.numbers),
        "traits": task.traits,
        "groups": task.groups,
        "split_days": task.split_days,
        "terms": asdict(task.terms),
        "version": task.version,
    }
    packed = io.BytesIO()
    columns = {name: getattr(task, name) for name in _COLUMNS}
    np.savez(packed, said=np.frombuffer(orjson.dumps(said), dtype=np.uint8), **columns)
    return packed.getvalue()


def _unpack(packed: bytes) -> Task:
    arrays = np.load(io.BytesIO(packed), allow_pickle=False)
    said = orjson.loads(arrays["said"].tobytes())
    terms = Terms(**said.pop("terms"))
    return Task(**{name: arrays[name] for name in _COLUMNS}, **said, terms=terms)


def _main() -> None:
    learnt = work(_unpack(sys.stdin.buffer.read()))
    said = asdict(learnt)
    rows = (said.pop("neighbour_rows"), said.pop("popularity_rows"))
    packed = zlib.compress(b"".join(rows), level=1)  # small, so that reading it holds up nobody
    sys.stdout.buffer.write(orjson.dumps(said | {"ends": len(rows[0])}) + b"\n" + packed)


if __name__ == "__main__":
    _main()
