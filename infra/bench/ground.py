"""What every benchmark stands on: the embedded PostgreSQL, durability on, and RabbitMQ when needed."""

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from infra.acquire import some_rabbit
from infra.servers import Postgres

DATA = Path(".data")  # on the disk that a system would use, not on a memory file system


@dataclass(frozen=True, slots=True)
class Ground:
    """A folder of our own and the servers' URLs."""

    folder: Path
    database_url: str
    amqp_url: str | None


@contextlib.contextmanager
def servers(*, broker: bool, say: Callable[[str], None]) -> Iterator[Ground]:
    """Start them side by side; they and the folder are gone when the context ends.

    Raises:
        Refused: one of them does not start.
    """
    DATA.mkdir(exist_ok=True)
    with contextlib.ExitStack() as stack:
        home = stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-", dir=DATA.resolve()))
        folder = Path(home)
        folder.chmod(0o755)  # as root, PostgreSQL is another user
        rabbit = some_rabbit(folder / "rabbit", say=say) if broker else contextlib.nullcontext()
        with ThreadPoolExecutor(1) as beside:
            amqp_url = beside.submit(stack.enter_context, rabbit)
            postgres = stack.enter_context(Postgres(folder / "postgres"))
        yield Ground(folder, postgres.url, amqp_url.result())
