"""`c360 dead`, `jobs`, `keys` and `partners`: the gateway's administration, through its own API."""

import asyncio
from typing import Annotated, Any
from urllib.parse import quote

import typer

from infra.cli.client import Gateway
from infra.cli.show import JsonOption, console, print_json, print_table

PAGE = 200
Id = Annotated[str, typer.Argument(metavar="ID")]
Service = Annotated[str, typer.Argument(help="Whose it is, as the list says.")]

dead = typer.Typer(no_args_is_help=True, help="Events that a part gave up on.")
keys = typer.Typer(no_args_is_help=True, help="API keys of the gateway.")
partners = typer.Typer(no_args_is_help=True, help="Partners that send feedback by webhook.")


def mount(app: typer.Typer) -> None:
    """Add these groups of commands."""
    app.add_typer(dead, name="dead")
    app.add_typer(keys, name="keys")
    app.add_typer(partners, name="partners")
    app.command()(jobs)


@dead.command("list")
def dead_list(
    limit: Annotated[int, typer.Option(min=1, max=PAGE, help="How many, newest first.")] = 50,
    as_json: JsonOption = False,
) -> None:
    """List dead letters, newest first.

    Example: c360 dead list --limit 20
    """
    found = _get("/v1/admin/dead-letters", limit=limit)
    columns = ("id", "service", "consumer", "type", "status", "attempts", "error", "failed_at")
    _show_items(found, columns, as_json, empty="no dead letters")


@dead.command("show")
def dead_show(service: Service, dead_letter_id: Id) -> None:
    """Show a dead letter with its event and traceback, as JSON.

    Example: c360 dead show loyalty 0198c5b2-...
    """
    print_json(_get(f"/v1/admin/dead-letters/{_segment(service)}/{_segment(dead_letter_id)}"))


@dead.command("replay")
def dead_replay(service: Service, dead_letter_id: Id, as_json: JsonOption = False) -> None:
    """Try a dead letter again, from its first attempt.

    Example: c360 dead replay loyalty 0198c5b2-...
    """
    answer = _post(f"/v1/admin/dead-letters/{_segment(service)}/{_segment(dead_letter_id)}/replay")
    if as_json:
        print_json(answer)
    else:
        console.print(f"{dead_letter_id} is tried again")


def jobs(as_json: JsonOption = False) -> None:
    """What all parts do by the clock: the last run, the next one, and what went wrong.

    Example: c360 jobs
    """
    columns = ("service", "name", "last_run_at", "next_run_at", "last_error")
    _show_items(_get("/v1/admin/jobs"), columns, as_json, empty="no jobs")


@keys.command("list")
def keys_list(as_json: JsonOption = False) -> None:
    """List the keys; their secrets are not kept anywhere.

    Example: c360 keys list --json
    """
    columns = ("id", "prefix", "name", "role", "scopes", "expires_at", "revoked_at", "last_used_at")
    _show_items(_get("/v1/admin/keys", limit=PAGE), columns, as_json, empty="no keys")


@keys.command("create")
def keys_create(
    name: Annotated[str, typer.Argument(help="What the key is for.")],
    role: Annotated[str, typer.Option(help="frontend, agent, analyst, partner or operator")] = "frontend",
    scope: Annotated[list[str] | None, typer.Option(help="Instead of the role's scopes; repeatable.")] = None,
    expires_at: Annotated[str | None, typer.Option(help="RFC 3339, such as 2027-01-01T00:00:00Z")] = None,
    as_json: JsonOption = False,
) -> None:
    """Make a key; its text is shown once.

    Examples:

        c360 keys create "web shop"

        c360 keys create reports --role analyst --expires-at 2027-01-01T00:00:00Z
    """
    body: dict[str, Any] = {"name": name, "role": role}
    if scope:
        body["scopes"] = scope
    if expires_at:
        body["expires_at"] = expires_at
    made = _post("/v1/admin/keys", json=body)
    if as_json:
        print_json(made)
    else:
        console.print(f"{made['key']}\nshown once; its id is {made['id']}", highlight=False)


@keys.command("revoke")
def keys_revoke(key_id: Id) -> None:
    """Revoke a key.

    Example: c360 keys revoke 0198c5b2-...
    """
    _send("DELETE", f"/v1/admin/keys/{_segment(key_id)}")
    console.print(f"{key_id} is revoked")


@partners.command("list")
def partners_list(as_json: JsonOption = False) -> None:
    """List the partners.

    Example: c360 partners list
    """
    columns = ("name", "scheme", "created_at", "disabled_at")
    _show_items(_get("/v1/admin/partners", limit=PAGE), columns, as_json, empty="no partners")


@partners.command("create")
def partners_create(
    name: Annotated[str, typer.Argument(help="As it will stand in /webhooks/NAME.")],
    scheme: Annotated[str, typer.Option(help="How they sign.")] = "standard-webhooks",
    as_json: JsonOption = False,
) -> None:
    """Register a partner; the secret to sign with is shown once.

    Example: c360 partners create taobao
    """
    made = _post("/v1/admin/partners", json={"name": name, "scheme": scheme})
    if as_json:
        print_json(made)
    else:
        console.print(f"{made['secret']}\nshown once; they post to /webhooks/{made['name']}", highlight=False)


def _show_items(found: Any, columns: tuple[str, ...], as_json: bool, *, empty: str) -> None:
    if as_json:
        print_json(found)
    else:
        print_table(found["items"], columns, empty=empty)


def _get(path: str, **query: Any) -> Any:
    return _send("GET", path, params=query)


def _post(path: str, **options: Any) -> Any:
    return _send("POST", path, **options)


def _send(method: str, path: str, **options: Any) -> Any:
    async def send() -> Any:
        async with Gateway() as gateway:
            response = await gateway.send(method, path, **options)
            return response.json() if response.content else None

    return asyncio.run(send())


def _segment(value: str) -> str:
    return quote(value, safe="")
