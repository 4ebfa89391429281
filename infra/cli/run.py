"""`c360 up`, `serve`, `migrate` and `doctor`: running a system and finding what stands in its way."""

import asyncio
import contextlib
import os
import sys
import threading
from dataclasses import asdict, dataclass
from importlib import import_module
from typing import Annotated
from urllib.parse import urlsplit

import typer

from infra.cli.doctor import ledger
from infra.cli.show import JsonOption, console, print_json
from infra.data import DataDirectory, Refused

OLDEST_PYTHON = (3, 11)


def mount(app: typer.Typer) -> None:
    """Add these commands."""
    app.command()(up)
    app.command()(serve)
    app.command()(migrate)
    checks = typer.Typer(invoke_without_command=True)
    checks.callback()(doctor)
    checks.command()(ledger)
    app.add_typer(checks, name="doctor")
    app.command(hidden=True)(probe)


def up(
    split: Annotated[
        bool, typer.Option("--split", help="One process per part under a supervisor; needs C360_AMQP_URL.")
    ] = False,
) -> None:
    """Start everything; prints `ready http://...` when everything answers.

    Environment: C360_PORT (8000), C360_HOST (127.0.0.1), C360_DATA_DIR (.data), C360_DATABASE_URL,
    C360_AMQP_URL, C360_BOOTSTRAP_KEY.

    Examples:

        c360 up

        C360_PORT=9000 C360_DATA_DIR=/var/lib/c360 c360 up

        C360_AMQP_URL=amqp://guest:guest@localhost/ c360 up --split
    """
    from infra.system import address, ground, interrupt_on_sigterm, listen, run_async

    if split and not os.environ.get("C360_AMQP_URL"):
        raise Refused("Separate processes meet through RabbitMQ; set C360_AMQP_URL, or leave --split out.")
    interrupt_on_sigterm()
    host, port = address()
    try:
        with DataDirectory.from_environment() as data:
            if split:
                from infra import split as supervisor

                supervisor.run(data, host, port)
            else:
                with contextlib.closing(listen(host, port)) as listener:
                    # The parts are imported while PostgreSQL starts.
                    threading.Thread(target=import_module, args=("infra.embedded",), daemon=True).start()
                    with ground(data) as found:
                        from infra import embedded

                        run_async(embedded.run(found, listener))
    except KeyboardInterrupt:
        return


def serve(
    name: Annotated[str, typer.Argument(help="profile, feedback, loyalty, scoring or gateway")],
    port: Annotated[
        int | None, typer.Option(help="8000 for the gateway, 8001 to 8004 for the services.")
    ] = None,
    host: Annotated[str, typer.Option(envvar="C360_HOST")] = "127.0.0.1",
) -> None:
    """Run one part in this process, as containers do.

    Examples:

        c360 serve gateway

        C360_HOST=0.0.0.0 c360 serve loyalty --port 8003
    """
    from infra import GATEWAY_PORT
    from infra.embedded import Server, url_of, uvicorn_config
    from infra.parts import GATEWAY, part_named
    from infra.split import end_with_supervisor
    from infra.system import listen, load_secrets, run_async

    end_with_supervisor()
    part = part_named(name)
    if new_key := load_secrets(DataDirectory.from_environment(), for_gateway=part is GATEWAY):
        print(f"operator key, shown once: {new_key}", flush=True)
    listener = listen(host, GATEWAY_PORT + part.offset if port is None else port)

    async def run() -> None:
        server = Server(uvicorn_config(part.create_app(part.settings())))
        await server.serve(sockets=[listener])
        if not server.started:
            raise Refused(f"{part.name} did not start; the log above says why.")

    if not os.environ.get("C360_SUPERVISOR"):
        console.print(f"{part.name} at {url_of(listener)}")
    run_async(run())


def migrate() -> None:
    """Bring every database to its newest revision; creates those that are missing.

    Example:

        C360_DATABASE_URL=postgresql://c360@db/ c360 migrate
    """
    from infra.databases import migrate_all
    from infra.parts import PARTS
    from infra.system import ground, load_secrets, run_async

    if os.environ.get("C360_DATABASE_URL"):
        new_key = load_secrets(DataDirectory.from_environment())
        run_async(migrate_all())
    else:
        with DataDirectory.from_environment() as data, ground(data) as found:
            new_key = found.new_key
            run_async(migrate_all())
    if new_key:
        print(f"operator key, shown once: {new_key}", flush=True)
    console.print(f"{len(PARTS)} databases are at their newest revision")


def probe(port: int) -> None:
    """Exit with 0 when the part on this port lives; what containers ask."""
    import http.client

    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=3)
    try:
        connection.request("GET", "/healthz")
        status = connection.getresponse().status
    except OSError:
        status = 0
    raise typer.Exit(0 if status == 200 else 1)


@dataclass(frozen=True, slots=True)
class Finding:
    """One check of the doctor."""

    check: str
    ok: bool
    says: str


def doctor(context: typer.Context, as_json: JsonOption = False) -> None:
    """Check what a system needs: Python, the database, the broker, the ports, the data directory.

    Exits with 1 when something is in the way.
    """
    if context.invoked_subcommand:
        return
    findings = [_python(), _data_directory(), _postgres(), _broker(), _ports()]
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        for finding in findings:
            mark = "[green]ok[/]  " if finding.ok else "[red]no[/]  "
            console.print(f"{mark}{finding.check:<16}", finding.says, highlight=False)
    if not all(finding.ok for finding in findings):
        raise typer.Exit(1)


def _python() -> Finding:
    version = ".".join(str(number) for number in sys.version_info[:3])
    return Finding("python", sys.version_info >= OLDEST_PYTHON, f"{version} (3.11 or newer is needed)")


def _data_directory() -> Finding:
    data = DataDirectory.from_environment()
    try:
        with data:
            return Finding("data directory", True, f"{data.path} is free")
    except Refused as refused:
        return Finding("data directory", False, str(refused))


def _postgres() -> Finding:
    from infra.databases import check_database
    from infra.servers import Postgres

    try:
        if os.environ.get("C360_DATABASE_URL"):
            version = asyncio.run(check_database())
            return Finding("database", True, f"PostgreSQL {version} at C360_DATABASE_URL; {_migrations()}")
        data = DataDirectory.from_environment()
        with data, Postgres(data.path / "postgres") as server:
            os.environ["C360_DATABASE_URL"] = server.url
            try:
                version = asyncio.run(check_database())
                return Finding("database", True, f"PostgreSQL {version} from the wheel; {_migrations()}")
            finally:
                del os.environ["C360_DATABASE_URL"]
    except Refused as refused:
        return Finding("database", False, str(refused))


def _migrations() -> str:
    from infra.databases import pending_migrations

    os.environ.setdefault("C360_INTERNAL_SECRET", "-" * 32)
    os.environ.setdefault("C360_WEBHOOK_SECRET_KEY", "-" * 32)
    pending = asyncio.run(pending_migrations())
    return (
        "migrations to run: " + ", ".join(pending) if pending else "migrations are at their newest revision"
    )


def _broker() -> Finding:
    from infra.servers import answers_amqp

    url = os.environ.get("C360_AMQP_URL")
    if not url:
        return Finding("broker", True, "in-process delivery (C360_AMQP_URL is not set)")
    parts = urlsplit(url)
    host, port = parts.hostname or "localhost", parts.port or 5672
    answers = answers_amqp(port, host)
    return Finding(
        "broker", answers, f"{host}:{port} {'answers' if answers else 'does not answer AMQP 0-9-1'}"
    )


def _ports() -> Finding:
    from infra.system import address, listen

    try:
        host, port = address()
        listen(host, port).close()
    except Refused as refused:
        return Finding("port", False, str(refused))
    return Finding("port", True, f"{port} on {host} is free")
