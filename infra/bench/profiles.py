"""Where a part spends its time while it is measured: py-spy beside every running part, and what it saw.

Switched on by `--profile`; figures of such a run are a little lower. Needs `pip install py-spy` and the right
to look into other processes.
"""

import asyncio
import collections
import re
import shutil
import signal
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from infra.bench.processes import Server
from infra.data import Refused

SAMPLES_PER_S = 200
LONGEST_S = 3600
SHOWN = 40
_PLACE = re.compile(r":\d+\)")


def py_spy() -> str:
    """Where it is installed.

    Raises:
        Refused: it is not.
    """
    beside = Path(sys.executable).with_name("py-spy")
    found = str(beside) if beside.exists() else shutil.which("py-spy")
    if found is None:
        raise Refused("--profile needs py-spy; install it with `.venv/bin/python -m pip install py-spy`.")
    return found


@dataclass(slots=True)
class Profiler:
    """Watches parts, each once, from the moment it is told of them until `finish`."""

    folder: Path
    name: str
    _watching: dict[str, asyncio.subprocess.Process] = field(default_factory=dict)

    async def watch(self, parts: Mapping[str, Server]) -> None:
        """Begin with those that are not watched yet."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for name in parts.keys() - self._watching.keys():
            command = [py_spy(), "record", "--pid", str(parts[name].pid), "--format", "raw", "--nonblocking"]
            command += ["--rate", str(SAMPLES_PER_S), "--duration", str(LONGEST_S)]
            silent = asyncio.subprocess.DEVNULL
            self._watching[name] = await asyncio.create_subprocess_exec(
                *command, "--output", str(self._stacks(name)), stdout=silent, stderr=silent
            )

    async def finish(self) -> list[Path]:
        """End, and write what was seen of each part; returns the files."""
        files = []
        for name, process in self._watching.items():
            if process.returncode is None:
                process.send_signal(signal.SIGINT)
            await process.wait()
            stacks = self._stacks(name)
            if stacks.exists():
                files.append(stacks.with_suffix(".txt"))
                files[-1].write_text(
                    summary(stacks.read_text(encoding="utf-8").splitlines()), encoding="utf-8"
                )
        return files

    def _stacks(self, part: str) -> Path:
        return self.folder / f"{self.name}-{part}.stacks"


def summary(stacks: Iterable[str]) -> str:
    """Collapsed stacks (`outer;…;inner count`) as two lists of functions: by their own time, and by all time
    spent below them, in percent.
    """
    own: collections.Counter[str] = collections.Counter()
    below: collections.Counter[str] = collections.Counter()
    for line in stacks:
        stack, _, count = line.rpartition(" ")
        functions = [_PLACE.sub(")", function) for function in stack.split(";")]
        own[functions[-1]] += int(count)
        below.update(dict.fromkeys(functions, int(count)))
    total = own.total() or 1
    lines = [f"{own.total()} samples", "", "own time:"]
    lines += [f"{count / total:7.1%}  {name}" for name, count in own.most_common(SHOWN)]
    lines += ["", "with all they call:"]
    lines += [f"{count / total:7.1%}  {name}" for name, count in below.most_common(2 * SHOWN)]
    return "\n".join(lines) + "\n"
