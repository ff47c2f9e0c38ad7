# SPDX-License-Identifier: GPL-2.0-only
"""`pyland top` as a user runs it, on a real terminal, against a real server."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.support.screens import OnTerminal
from tests.support.statistics import Kernel, serving

ROOT = Path(__file__).parents[2]
PROGRAM = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
from pyland.cli import main
sys.exit(main.main(sys.argv[1:]))
"""
COMMAND = (
    sys.executable,
    "-c",
    PROGRAM,
    "top",
)
SLOW_PROGRAM = f"""
import sys, time
sys.path.insert(0, {str(ROOT)!r})
from pyland.cli import main
from pyland.top import tasks
read = tasks.Tasks._text
def slowly(self, name):
    until_s = time.thread_time() + 0.001
    while time.thread_time() < until_s:
        pass
    return read(self, name)
tasks.Tasks._text = slowly
sys.exit(main.main(sys.argv[1:]))
"""
"""A machine on which the budget of a look is over after four tasks."""
LEAVES = b"\x1b[?25h"
"""What the Linux console is told when curses gives it back: show the cursor."""


@contextmanager
def top(*arguments: str, columns: int = 80, rows: int = 24) -> Iterator[OnTerminal]:
    with OnTerminal((*COMMAND, *arguments), columns=columns, rows=rows) as screen:
        yield screen


def is_given_back(screen: OnTerminal) -> bool:
    """True if the terminal has its modes of the start, and shows its cursor."""
    return screen.mode == screen.begin and LEAVES in screen.received


def test_a_slow_machine_has_a_list_of_the_busiest_and_says_that_it_is_partial(stats: str) -> None:
    busy = "open('/proc/self/comm', 'w').write('busy_one')\nwhile True: pass"
    threads = "import threading, time\nfor _ in range(60): threading.Thread(target=time.sleep, "
    threads += "args=(100,), daemon=True).start()\nprint('begun', flush=True)\ntime.sleep(100)"
    programs = [
        subprocess.Popen(["nice", sys.executable, "-c", text], stdout=subprocess.PIPE)
        for text in (busy, threads)
    ]
    try:
        assert programs[1].stdout is not None
        assert programs[1].stdout.readline() == b"begun\n"
        slow = (sys.executable, "-c", SLOW_PROGRAM, "top", "--sort", "cpu", "--interval", "0.5")
        with OnTerminal((*slow, "--stats-socket", stats)) as screen:
            assert screen.shows("busy_one", "python", "partial: "), screen.text
            assert screen.shows(" read in this interval"), screen.text
            assert "busy_one" in screen.text
            screen.press("q")
            assert screen.status() == 0
    finally:
        for program in programs:
            program.kill()
            program.communicate()


@pytest.fixture
def stats(tmp_path: Path) -> Iterator[str]:
    path = tmp_path / "stats"
    kernel = Kernel()
    kernel.own.gauge("waiting", 3)
    with serving(kernel, path):
        yield str(path)


@pytest.mark.parametrize(("columns", "rows"), [(80, 24), (200, 60)])
def test_it_fills_the_screen(
    columns: int, rows: int, stats: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "90")
    monkeypatch.setenv("LINES", "30")
    with top("--stats-socket", stats, columns=columns, rows=rows) as screen:
        assert screen.shows("pyland deadline", "decisions", "waiting 3", "[1 tasks] 2 counters")
        assert screen.shows("python")  # this very program runs
        assert len(screen.lines) == rows
        # The list of tasks comes with the first figures.
        assert screen.shows("CGROUP") if columns == 200 else "CGROUP" not in screen.text
        screen.press("2")
        assert screen.shows("user_dispatched", "tasks queued as the policy decided")
        screen.press("3")
        assert screen.shows("this pyland keeps no histograms")
        screen.press("h")
        assert screen.shows("swap the policy: asks which")
        screen.press("\x1b1/nothing has this name\n")
        assert screen.shows("0 tasks of process 'nothing has this name'")
        screen.press("q")
        assert screen.status() == 0
        assert is_given_back(screen)


def test_it_follows_the_size(stats: str) -> None:
    with top("--stats-socket", stats) as screen:
        assert screen.shows("[1 tasks]")
        for columns, rows, row, word in (
            (120, 40, 39, "[1 tasks]"),
            (40, 10, 0, "is too small"),
            (90, 30, 29, "[1 tasks]"),
        ):
            screen.resize(columns, rows)
            assert screen.has(row, word)
        screen.press("q")
        assert screen.status() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_it_and_the_terminal_is_as_before(number: signal.Signals, stats: str) -> None:
    with top("--stats-socket", stats) as screen:
        assert screen.shows("[1 tasks]")
        assert not is_given_back(screen)
        screen.kill(number)
        assert screen.status() == 0
        assert is_given_back(screen)


SHELL = """
"$@"; echo "status $?"; read line; fg >/dev/null; echo "then $?"
"""


@pytest.mark.parametrize("by_keys", [True, False])
def test_it_stops_and_goes_on(by_keys: bool, stats: str) -> None:
    """By Ctrl-Z or a signal: the shell has a terminal as before."""
    with OnTerminal(("/bin/sh", "-mc", SHELL, "sh", *COMMAND, "--stats-socket", stats)) as screen:
        assert screen.shows("[1 tasks]")
        during = screen.mode
        if by_keys:
            screen.press("\x1a")
        else:
            (child,) = psutil.Process(screen.pid).children()
            child.send_signal(signal.SIGTSTP)
        assert screen.shows(f"status {128 + signal.SIGTSTP}")
        assert screen.mode == screen.begin
        assert LEAVES in screen.received
        screen.press("\n")
        assert screen.until(lambda text: "[1 tasks]" in text and "status" not in text)
        assert screen.mode == during
        screen.press("q")
        assert screen.shows("then 0")
        assert screen.status() == 0
        assert screen.mode == screen.begin


def test_it_draws_anew_after_a_stop_that_no_program_sees(stats: str) -> None:
    with top("--stats-socket", stats) as screen:
        assert screen.shows("[1 tasks]")
        screen.kill(signal.SIGSTOP)
        assert screen.is_stopped()
        screen.received = b""
        screen.kill(signal.SIGCONT)
        assert screen.until(lambda _: b"[1 tasks]" in screen.received)
        screen.press("q")
        assert screen.status() == 0
        assert is_given_back(screen)


def test_a_terminal_that_is_gone_ends_it(stats: str) -> None:
    with top("--stats-socket", stats) as screen:
        assert screen.shows("[1 tasks]")
        screen.hang_up()
        assert screen.status() == 0


def test_it_waits_for_pyland_and_survives_its_restart(tmp_path: Path) -> None:
    path = tmp_path / "stats"
    with top("--stats-socket", str(path), "--interval", "0.5") as screen:
        for _ in range(2):
            assert screen.shows("no pyland", f"no server listens at {path}"[:60])
            with serving(Kernel(), path):
                assert screen.shows("pyland deadline", "decisions")
        assert screen.shows("no pyland")
        screen.press("q")
        assert screen.status() == 0


def test_a_swap_without_pyland_is_refused(stats: str) -> None:
    with top("--stats-socket", stats) as screen:
        assert screen.shows("[1 tasks]")
        screen.press("p")
        assert screen.shows("status: pyland does not run here")
        screen.press("q")
        assert screen.status() == 0


@pytest.mark.parametrize(
    ("term", "words"),
    [
        ("dumb", "the terminal TERM=dumb cannot move its cursor"),
        ("", "no TERM"),
        ("nosuch\x1b[2J", r"the terminal TERM=nosuch\x1b[2J is not known to this machine"),
    ],
)
def test_a_terminal_that_cannot_is_refused(term: str, words: str, stats: str) -> None:
    program = (*COMMAND, "--stats-socket", stats)
    with OnTerminal(program, columns=200, environment={"TERM": term}) as screen:
        assert screen.status() == 2
        (told,) = screen.text.split("\n", 1)[:1]
        assert told == f"pyland: top: {words}; `pyland monitor` prints rows anywhere"
        assert b"\x1b" not in screen.received


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "top: standard input is no terminal"),
        (["--interval", "0.1"], "--interval 0.1: it takes 0.5 to 60 seconds"),
        (["--interval", "nan"], "--interval nan: it takes 0.5 to 60 seconds"),
        (["--sort", "x"], "argument --sort: invalid choice: 'x'"),
        (["--stats-socket", "x"], "--stats-socket x: it takes the path of a socket"),
    ],
)
def test_no_terminal_and_bad_values_are_refused(arguments: list[str], words: str) -> None:
    found = subprocess.run(
        [*COMMAND, *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 2
    assert found.stdout == ""
    (line,) = found.stderr.splitlines()
    assert line.startswith(f"pyland: {words}")


def test_a_plain_user_needs_the_sockets_mode(stats: str, readable: None, plain_user: int) -> None:
    program = (*COMMAND, "--stats-socket", stats)
    with OnTerminal(program, columns=200, user=plain_user) as screen:
        assert screen.status() == 2
        assert "--stats-group and --stats-mode set which users may connect" in screen.text
    Path(stats).chmod(0o666)
    with OnTerminal(program, user=plain_user) as screen:
        assert screen.shows("pyland deadline")
        screen.press("q")
        assert screen.status() == 0
