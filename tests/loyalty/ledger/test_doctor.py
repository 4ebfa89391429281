"""`c360 doctor ledger`, run on a real database."""

import asyncio
import json
import re

import pytest
from typer.testing import CliRunner

from infra.cli import app
from services.loyalty.settings import LoyaltySettings
from tests.loyalty.points import Ledger


async def doctor(*arguments: str) -> tuple[int, str]:
    result = await asyncio.to_thread(CliRunner().invoke, app, ["doctor", "ledger", *arguments])
    failed = result.exception is not None and not isinstance(result.exception, SystemExit)
    return result.exit_code, f"{result.stdout}{result.exception}" if failed else result.stdout


async def test_the_doctor_passes_a_sound_ledger_and_names_the_first_bad_row(
    settings: LoyaltySettings, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("C360_DATABASE_URL", settings.database_url)
    monkeypatch.setenv("C360_LOYALTY_DATABASE_NAME", settings.database)
    member = await ledger.member(100)
    spent = await ledger.spend(member, 30)
    await ledger.seal_all()
    code, said = await doctor("--json")
    report = json.loads(said)
    assert (code, report["sound"], report["difference"], report["head"][0]) == (0, True, None, 2)
    assert report["rows"] == {"accounts": 3, "transfers": 2, "entries": 4, "lots": 1, "seals": 2}

    async with ledger.pool.acquire() as connection, connection.transaction():
        await connection.execute("SET LOCAL session_replication_role = replica")
        await connection.execute("UPDATE transfers SET reason = 'Test' WHERE id = $1", spent.transfer_id)
    code, said = await doctor("--json")
    assert (code, json.loads(said)["difference"]["subject"]) == (1, f"transfer {spent.transfer_id} (seal 2)")
    code, said = await doctor()
    assert code == 1
    assert "newest seal 2:" in said
    assert f"transfer {spent.transfer_id} (seal 2): expected" in said


async def test_the_doctor_finds_a_history_that_was_shortened_by_the_seal_that_was_kept(
    settings: LoyaltySettings, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("C360_DATABASE_URL", settings.database_url)
    monkeypatch.setenv("C360_LOYALTY_DATABASE_NAME", settings.database)
    member = await ledger.member(100)
    newest = await ledger.earn(member, 30)
    await ledger.seal_all()
    _, said = await doctor()
    shown = re.search(r"newest seal (\d+:[0-9a-f]{64});", said)
    assert shown is not None, said
    kept = shown[1]
    code, said = await doctor("--seal", kept)
    assert code == 0, said

    async with ledger.pool.acquire() as connection, connection.transaction():
        await connection.execute("SET LOCAL session_replication_role = replica")
        for change in (
            "DELETE FROM seals WHERE transfer_id = $1",
            "DELETE FROM lots WHERE transfer_id = $1",
            "DELETE FROM entries WHERE transfer_id = $1",
            "DELETE FROM transfers WHERE id = $1",
        ):
            await connection.execute(change, newest.transfer_id)
        await connection.execute("UPDATE accounts SET balance = 100, earned = 100 WHERE owner = $1", member)
    assert (await doctor())[0] == 0
    code, said = await doctor("--seal", kept)
    assert code == 1
    assert "seal 2: expected" in said
    code, said = await doctor("--seal", "2:abc")
    assert code != 0
