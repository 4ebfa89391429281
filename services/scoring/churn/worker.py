"""Learning runs in its own process: a table goes in, a report and a classifier come out, or a refusal."""

import hashlib
import sys
from dataclasses import asdict, dataclass
from typing import Any

import orjson

from services.scoring.churn import preparation, table
from services.scoring.churn.preparation import Options
from services.scoring.churn.rules import Terms
from services.scoring.churn.table import Body
from services.scoring.processes import compute
from shared.problems import FieldError, Malformed, Problem

REFUSALS: dict[str, type[Problem]] = {
    refusal.slug: refusal
    for refusal in (
        Malformed,
        table.NotATable,
        table.NoSuchColumn,
        table.LabelNotBinary,
        preparation.TooFewRows,
        preparation.OneClass,
        preparation.NoUsableColumn,
        preparation.TimeDoesNotSplit,
    )
}


@dataclass(frozen=True, slots=True)
class Task:
    """A table, what its columns mean, and how many customers the report names."""

    body: bytes
    kind: Body
    options: Options
    customers: int


@dataclass(frozen=True, slots=True)
class Learnt:
    """A classifier as JSON-able values, the report as JSON, and the hash of the rows."""

    classifier: dict[str, Any]
    report: bytes
    data_hash: str


async def run(task: Task, *, timeout_s: float, pointer: str) -> Learnt:
    """Learn from a table in a process of its own; `pointer` is where the caller's options are.

    Raises:
        Problem: one of REFUSALS.
        TookTooLong: it was stopped after `timeout_s`.
    """
    said = orjson.dumps(asdict(task) | {"body": None})
    try:
        answer, report = await compute(__name__, said + b"\n" + task.body, REFUSALS, timeout_s=timeout_s)
    except Problem as refusal:
        refusal.errors = tuple(
            one if one.pointer.startswith("/") else FieldError(pointer + one.pointer, one.detail)
            for one in refusal.errors
        )
        raise
    return Learnt(answer["classifier"], report, answer["data_hash"])


def learn(task: Task) -> Learnt:
    """Learn from a table here and now."""
    from services.scoring.churn import fitting
    from services.scoring.churn.report import report_of

    read = table.read_table(task.body, task.kind)
    outcome = fitting.learn(read, task.options)
    report = report_of(read, task.options, outcome, task.customers)
    marks = sorted(table.fingerprints(read))
    return Learnt(
        outcome.classifier.as_json(),
        report.model_dump_json().encode(),
        hashlib.sha256(b"".join(marks)).hexdigest(),
    )


def _main() -> None:
    head, _, body = sys.stdin.buffer.read().partition(b"\n")
    said = orjson.loads(head)
    options = Options(**said["options"] | {"terms": Terms(**said["options"]["terms"])})
    try:
        learnt = learn(Task(body, said["kind"], options, said["customers"]))
    except Problem as refusal:
        refused = {
            "refused": refusal.slug,
            "detail": refusal.detail,
            "errors": [asdict(one) for one in refusal.errors],
        }
        sys.stdout.buffer.write(orjson.dumps(refused))
        return
    answer = {"classifier": learnt.classifier, "data_hash": learnt.data_hash}
    sys.stdout.buffer.write(orjson.dumps(answer) + b"\n" + learnt.report)


if __name__ == "__main__":
    _main()
