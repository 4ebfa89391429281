"""The data directory of one system: a lock that lets one process use it, and secrets made once.

.data/lock               held while a system runs on the directory
.data/secrets/<name>     mode 0600
.data/postgres/          the embedded PostgreSQL
"""

import fcntl
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

DEFAULT = ".data"


class Refused(Exception):
    """Something stands in the way; the message is one sentence that says what to do."""


class DataDirectory:
    """A data directory that this process alone uses while the context is open.

    Raises:
        Refused: another process uses it, or it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.expanduser().resolve()
        self._lock: int | None = None

    @classmethod
    def from_environment(cls) -> Self:
        """The directory that C360_DATA_DIR names, `.data` when unset."""
        return cls(Path(os.environ.get("C360_DATA_DIR") or DEFAULT))

    def __enter__(self) -> Self:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise Refused(
                f"The data directory {self.path} cannot be used ({error.strerror}); "
                "set C360_DATA_DIR to another one."
            ) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(lock, 32).decode(errors="replace").strip() or "unknown"
            os.close(lock)
            raise Refused(
                f"Customer 360 already runs on {self.path} (process {holder}); "
                "stop it, or set C360_DATA_DIR and C360_PORT for a second one."
            ) from None
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
        self._lock = lock
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._lock is not None:
            os.close(self._lock)  # which gives the lock back
            self._lock = None

    def secret(
        self, variable: str, make: Callable[[], str] = lambda: secrets.token_urlsafe(32)
    ) -> tuple[str, bool]:
        """The secret that an environment variable sets, else the one kept here, made when there is none.

        Returns:
            The secret, and whether it was made just now.
        """
        if given := os.environ.get(variable):
            return given, False
        folder = self.path / "secrets"
        file = folder / variable.removeprefix("C360_").lower()
        if file.exists():
            return file.read_text(encoding="ascii").strip(), False
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        value = make()
        unfinished = folder / f"{file.name}.{os.getpid()}"
        descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as stream:
            stream.write(value + "\n")
            stream.flush()
            os.fsync(stream.fileno())
        try:
            os.link(unfinished, file)  # fails when another process was first, unlike a rename
        except FileExistsError:
            return file.read_text(encoding="ascii").strip(), False
        finally:
            unfinished.unlink()
        return value, True
