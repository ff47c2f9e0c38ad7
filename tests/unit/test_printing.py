# SPDX-License-Identifier: GPL-2.0-only
"""Output is harmless to a terminal, fits its encoding, and waits for no reader."""

from __future__ import annotations

import fcntl
import io
import json
import os
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyland.output import printing
from pyland.output.outlet import Lossy, Outlet

PWNED = "\x1b]0;pwned\x07\n"


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("plain text, ünï 漢字 🙂", "plain text, ünï 漢字 🙂"),
        (PWNED, r"\x1b]0;pwned\x07\n"),
        ("a\rb\tc\x7f\0", r"a\rb\tc\x7f\x00"),
        ("\x9b2J\x85\x90", r"\x9b2J\x85\x90"),  # C1: CSI, NEL, DCS
        ("\u202egnp.exe\u2066\u200f\u200b\ufeff", r"\u202egnp.exe\u2066\u200f\u200b\ufeff"),
        ("\u2028\u2029", r"\u2028\u2029"),
        ("\U000e0041", r"\U000e0041"),
        (os.fsdecode(b"\xff\x9b.py"), r"\xff\x9b.py"),
        ("\ud800", r"\ud800"),
    ],
)
def test_what_could_move_a_cursor_is_written_out(text: str, printed: str) -> None:
    assert printing.escape(text) == printed
    assert printing.escape(printed) == printed


def test_no_character_that_is_kept_is_a_control() -> None:
    every = [*range(0x11000), *range(0xE0000, 0xE0200), sys.maxunicode]
    assert printing.escape("".join(map(chr, every))).isprintable()


def test_lines_of_others_are_not_taken_for_pylands() -> None:
    text = f"policy x: it raised\n  File 'a'\npyland: ended: all is well{PWNED}\n"
    assert printing.block(text) == (
        "policy x: it raised\n  File 'a'\n  pyland: ended: all is well\\x1b]0;pwned\\x07"
    )


def test_json_is_ascii_without_controls() -> None:
    text = printing.as_json({"name": f"{PWNED}\x7f\x9b\u202e"})
    assert text.isascii()
    assert text.isprintable()
    assert json.loads(text) == {"name": f"{PWNED}\x7f\x9b\u202e"}


@pytest.mark.parametrize(
    ("environment", "printed"),
    [
        ({"LC_ALL": "C.UTF-8"}, "ä漢Û".encode()),
        ({"LC_ALL": "C"}, rb"\xe4\u6f22\xdb"),
        ({"LC_ALL": "C", "PYTHONUTF8": "1"}, rb"\xe4\u6f22\xdb"),
        ({"LC_ALL": "C.UTF-8", "PYTHONIOENCODING": "latin-1"}, b"\xe4\\u6f22\xdb"),
        ({"LC_ALL": "C.UTF-8", "PYTHONIOENCODING": "euc-jp"}, b"\x8f\xab\xa3\xb4\xc1\x8f\xaa\xe5"),
    ],
)
def test_every_locale_gets_what_it_can_show(environment: dict[str, str], printed: bytes) -> None:
    """The rest is escaped; in C nothing is left that a terminal of 8 bits takes for a control."""
    code = (
        "from pyland.output.printing import say, show; text = 'ä漢Û\\x1b';"
        "show(text); say(text); say(text, 'stderr')"
    )
    keep = {name: value for name, value in os.environ.items() if name[:2] not in ("LC", "LA")}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**keep, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=True,
    )
    assert done.stdout == (printed + b"\\x1b\n") * 3


def pyland(
    *arguments: str, stdout: int | None = None, stderr: int | None = None
) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "pyland", *arguments]
    return subprocess.Popen(command, stdout=stdout, stderr=stderr)


def test_a_reader_that_leaves_is_no_failure() -> None:
    with pyland("--help", stdout=subprocess.PIPE, stderr=subprocess.PIPE) as command:
        assert command.stdout is not None
        assert command.stderr is not None
        command.stdout.close()
        assert command.stderr.read() == b""
    assert command.returncode == 0


def test_a_full_disk_is_told_by_what_only_shows() -> None:
    with Path("/dev/full").open("wb") as full:
        command = pyland("policies", stdout=full.fileno(), stderr=subprocess.PIPE)
        _, told = command.communicate()
    assert told == b"pyland: standard output: No space left on device\n"
    assert command.returncode == 2


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", "<&- >&- 2>&-"])
def test_a_closed_stream_is_no_other_file(closed: str) -> None:
    """What is opened next would have its number: here, and in every process forked later."""
    code = (
        "import os, sys; from pyland.output import printing; printing.prepare();"
        "a = os.open('/', 0);"
        "printing.say('x'); printing.say('y', 'stderr'); printing.show('z'); sys.exit(a)"
    )
    command = ["sh", "-c", f'"$0" -c "$1" {closed}', sys.executable, code]
    done = subprocess.run(command, capture_output=True, check=False)
    assert done.returncode > 2
    assert done.stdout == (b"" if " >" in f" {closed}" else b"x\nz\n")
    assert done.stderr == (b"" if "2>" in closed else b"y\n")


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    """Both ends of a pseudoterminal."""
    ours, its = os.openpty()
    yield ours, its
    os.close(ours)
    os.close(its)


def filled(writing: int) -> int:
    """The same descriptor, which takes nothing more."""
    os.set_blocking(writing, False)
    try:
        while True:
            os.write(writing, b"x" * 4096)
    except BlockingIOError:
        os.set_blocking(writing, True)
    return writing


def test_a_full_pipe_costs_a_quarter_of_a_second() -> None:
    reading, writing = os.pipe()
    begin_s = time.monotonic()
    with pyland("--polic", stdout=filled(writing), stderr=writing) as command:
        assert command.wait(10) == 2
    assert time.monotonic() - begin_s < 5
    # And its mode, which others share, is what it was.
    assert not fcntl.fcntl(writing, fcntl.F_GETFL) & os.O_NONBLOCK
    os.close(reading)
    os.close(writing)


def test_a_stopped_terminal_costs_a_quarter_of_a_second(terminal: tuple[int, int]) -> None:
    ours, its = terminal
    termios.tcflow(its, termios.TCOOFF)  # what Ctrl-S does
    with pyland("--polic", stderr=its) as command:
        assert command.wait(10) == 2
    termios.tcflow(its, termios.TCOON)
    with pyland("--polic", stderr=its) as command:
        assert command.wait(10) == 2
    assert os.read(ours, 4096).count(b"unrecognized arguments: --polic") == 1


def test_what_waits_is_written_when_there_is_room() -> None:
    reading, writing = os.pipe()
    outlet = Outlet(filled(writing), room=8)
    for text in (b"first\n", b"second\n", b"third\n", b"fourth\n"):
        outlet.offer(text)
    assert (outlet.waits, outlet.dropped) == (True, 2)
    before = 0
    while outlet.waits:
        before += len(os.read(reading, 4096))
        outlet.push()
    os.close(writing)
    outlet.close()
    rest = b""
    while data := os.read(reading, 1 << 16):
        rest += data
    assert rest.endswith(b"xfirst\nsecond\n")
    os.close(reading)


def test_a_file_is_written_to_where_it_ends(tmp_path: Path) -> None:
    file = tmp_path / "output"
    with file.open("wb") as output:
        output.write(b"before\n")
        output.flush()
        Outlet(output.fileno()).offer(b"after\n")
    assert file.read_bytes() == b"before\nafter\n"


def test_a_print_that_finds_no_room_is_lost_and_does_not_raise() -> None:
    reading, writing = os.pipe()
    filled(writing)
    os.set_blocking(writing, False)
    output = io.TextIOWrapper(io.BufferedWriter(Lossy(writing)), line_buffering=True)
    for _ in range(100):
        print("x" * 1000, file=output)
    os.read(reading, 1 << 16)
    print("after", file=output)
    assert os.read(reading, 1 << 16) == b"after\n"
    os.close(reading)
    print("nobody", file=output)
    os.close(writing)
