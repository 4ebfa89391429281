"""Tables on the command line: whole in a file or a pipe, readable in a terminal of any width."""

import os
import pty
import subprocess
import sys

import pytest

from infra.cli.show import print_table

COLUMNS = ("reason", "arithmetic", "transfer_id")
ROW = {
    "reason": "Purchase O-1 at shop, brought back [half] [/] by 李雷",
    "arithmetic": "floor(129.00 CNY × 1) = 129",
    "transfer_id": "01a20c3c-3d6b-7000-8000-0123456789ab",
}


def test_what_is_no_terminal_gets_whole_lines(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    print_table([ROW, ROW], COLUMNS, empty="nothing")
    header, *lines = capsys.readouterr().out.splitlines()
    assert header.split() == list(COLUMNS)
    assert lines == [f"{ROW['reason']}  {ROW['arithmetic']}  {ROW['transfer_id']}"] * 2


def test_a_cell_is_one_line_and_steers_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    print_table([{"reason": "a\nb\x1b[2Jc", "arithmetic": None}], ("reason", "arithmetic"), empty="nothing")
    assert capsys.readouterr().out.splitlines()[1] == "a\\nb\\x1b[2Jc  –         "


@pytest.mark.parametrize("width", [70, 200])
def test_a_terminal_shows_every_cell_whole(width: int) -> None:
    shown = in_terminal(
        f"from infra.cli.show import print_table; print_table([{ROW}], {COLUMNS}, empty='')", width
    )
    for column, cell in ROW.items():
        assert column in shown
        assert cell in shown
    assert max(map(len, shown.splitlines())) <= width


def in_terminal(program: str, width: int) -> str:
    """What a program writes to a terminal of so many columns."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "COLUMNS": str(width), "LINES": "24", "TERM": "dumb"}
    subprocess.run([sys.executable, "-c", program], stdout=theirs, check=True, env=environment, timeout=60)
    os.close(theirs)
    try:
        return os.read(ours, 100_000).decode()
    finally:
        os.close(ours)
