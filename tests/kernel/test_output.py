# SPDX-License-Identifier: GPL-2.0-only
"""With any fault of its output, pyland schedules, swaps, and ends in time with its exit code."""

from __future__ import annotations

import contextlib
import os
import pty
import shutil
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

import pytest

from tests.kernel.harness import Record, Unchanged, ask, folder_for_policies, swap
from tools.load.programs import Hogs
from tools.load.scheduler import PYLAND, START_S, enabled, kernel_state, until

PWNED = "\x1b]0;pwned\x07\n"
CONTROLS = {*range(32), 127, *range(0x80, 0xA0)} - {ord("\n")}

FAILS = """
from pyland import Policy, Task

class Fails(Policy):
    def enqueue(self, task: Task) -> None:
        if "pwned" in task.comm:
            raise ValueError(f"\\x9b2J\\u202e\\u6f22\\xe4 {task.comm}")
        self.dispatch(task)
"""

# A task that computes, with any name.
NAMED = "import sys; open('/proc/self/comm', 'wb').write(eval(sys.argv[1])); exec('while 1: 0')"


class Run:
    """pyland with streams of the test's own."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process

    def children(self) -> list[int]:
        """The worker, the reporter, and the process that serves statistics."""
        pid = self.process.pid
        return [*map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]

    def ends(self, number: signal.Signals = signal.SIGINT) -> tuple[int, float]:
        """The exit code after a signal, and the seconds until the end."""
        begin_s = time.monotonic()
        self.process.send_signal(number)
        code = self.process.wait(30)
        return code, time.monotonic() - begin_s


@contextlib.contextmanager
def pyland(
    *options: str,
    stdin: int | IO[bytes] | None = subprocess.DEVNULL,
    stdout: int | IO[bytes] | None = None,
    stderr: int | IO[bytes] | None = None,
    env: Mapping[str, str] | None = None,
    program: Sequence[str | Path] = (PYLAND,),
) -> Iterator[Run]:
    """A pyland that schedules during the block."""
    assert until(lambda: kernel_state() == "disabled", 10) is not None
    process = subprocess.Popen(
        [*program, *options],
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        env={**os.environ, **(env or {})},
        start_new_session=True,
    )
    run = Run(process)
    try:
        assert until(lambda: enabled() or process.poll() is not None, START_S) is not None
        assert process.poll() is None, f"it ended with {process.returncode}"
        yield run
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def works(run: Run, record: Record) -> None:
    """Assert that it schedules, swaps, and ends as always."""
    unchanged = Unchanged.at("1")
    before = kernel_state("enable_seq")
    with Hogs(600, [0] * 4):
        time.sleep(1)
        for name in ("vtime", "deadline"):
            assert swap(policy=name)["policy"] == name
        decided = ask("status")["counters"]["user_dispatched"]
        assert until(lambda: ask("status")["counters"]["user_dispatched"] > decided, 10) is not None
    assert (enabled(), kernel_state("enable_seq")) == (True, before)
    code, seconds = run.ends()
    record(seconds=seconds)
    assert code == 0
    assert seconds < 3  # promised: 1, where nothing is emulated
    assert kernel_state() == "disabled"
    assert unchanged


def full_pipe() -> tuple[int, int]:
    """Both ends of a full pipe."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writing, b"x" * 4096)
    os.set_blocking(writing, True)
    return reading, writing


@pytest.mark.counted
@pytest.mark.long
def test_a_full_pipe(record: Record) -> None:
    """Both streams are full and rows come all the time; then the process that prints is killed."""
    reading, writing = full_pipe()
    with pyland("--stats", "0.1", "-v", stdout=writing, stderr=writing) as run:
        before = run.children()
        os.kill(before[1], signal.SIGKILL)
        assert until(lambda: len({*run.children()} - {before[1]}) == 3, 10) is not None
        works(run, record)
    os.close(reading)
    os.close(writing)


@pytest.mark.counted
@pytest.mark.long
def test_a_stopped_terminal(record: Record) -> None:
    """Ctrl-S in the session of the terminal; Ctrl-Q shows the output from before."""
    ours, its = pty.openpty()
    with pyland("--stats", "0.1", stdin=its, stdout=its, stderr=its) as run:
        assert b"pyland: scheduling with deadline" in os.read(ours, 4096)
        termios.tcflow(its, termios.TCOOFF)
        works(run, record)
    os.close(ours)
    os.close(its)


@pytest.mark.counted
@pytest.mark.long
@pytest.mark.parametrize("closed", ["<&- >&- 2>&-"])
def test_closed_streams(record: Record, closed: str) -> None:
    """No file, map or socket of pyland's becomes one of them."""
    shell = ["sh", "-c", f'exec "$0" "$@" {closed}', str(PYLAND)]
    with pyland("--stats", "0.1", program=shell) as run:
        for pid in (run.process.pid, run.children()[1]):
            for number in range(3):
                assert os.readlink(f"/proc/{pid}/fd/{number}") == os.devnull
        works(run, record)


@pytest.mark.counted
@pytest.mark.long
def test_a_full_disk(record: Record, tmp_path: Path) -> None:
    """The text that fits is kept, the rest is lost."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4096", "tmpfs", str(disk)]
    subprocess.run(mount, check=True)
    try:
        with (disk / "output").open("wb") as output:
            with pyland("--stats", "0.1", stdout=output, stderr=output) as run:
                works(run, record)
            assert b"pyland: scheduling with" in (disk / "output").read_bytes()
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.counted
@pytest.mark.long
def test_a_reader_that_has_left_and_then_all_is_killed(record: Record) -> None:
    """`| head -1`; then all processes are killed, and the kernel's setting is put back."""
    unchanged = Unchanged.at("1")
    for victims in (lambda run: [], lambda run: [run.children()[1]], lambda run: run.children()):
        reading, writing = os.pipe()
        with pyland("--stats", "0.1", stdout=writing) as run:
            os.close(writing)
            assert os.read(reading, 7) == b"pyland:"
            os.close(reading)
            time.sleep(0.5)
            assert enabled()
            assert not unchanged
            for pid in [*victims(run), run.process.pid]:
                os.kill(pid, signal.SIGKILL)
            restored_s = until(lambda: bool(unchanged), 10)
            assert restored_s is not None, "vm.compact_unevictable_allowed is not what it was"
            assert until(lambda: kernel_state() == "disabled", 10) is not None
    record(restored_s=restored_s)


@pytest.mark.counted
@pytest.mark.long
def test_nohup(record: Record, tmp_path: Path) -> None:
    """The terminal closes, and pyland continues."""
    ours, its = pty.openpty()
    hangs_up = (
        "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0);"
        "os.chdir(sys.argv[1]); os.execvp(sys.argv[2], sys.argv[2:])"
    )
    program = [sys.executable, "-c", hangs_up, str(tmp_path), "nohup", str(PYLAND)]
    with pyland(stdin=its, stdout=its, stderr=its, program=program) as run:
        os.close(its)
        os.close(ours)  # the kernel sends SIGHUP to all that have it as their terminal
        time.sleep(2)
        assert run.process.poll() is None
        works(run, record)
    assert "pyland: ended: stopped by a signal" in (tmp_path / "nohup.out").read_text()


def locales(folder: Path) -> dict[str, dict[str, str]]:
    """Environments by encoding; made here, because few machines have them."""
    found = {"utf-8": {"LC_ALL": "C.UTF-8"}, "ascii": {"LC_ALL": "C"}}
    if shutil.which("localedef") and Path("/usr/share/i18n/charmaps").is_dir():
        for language, charmap, encoding in (
            ("de_DE", "ISO-8859-1", "latin-1"),
            ("ja_JP", "EUC-JP", "euc-jp"),
        ):
            name = f"{language}.{charmap.replace('-', '').lower()}"
            command = ["localedef", "-c", "-i", language, "-f", charmap, str(folder / name)]
            subprocess.run(command, check=False, capture_output=True)
            found[encoding] = {"LC_ALL": name, "LOCPATH": str(folder)}
    return found


@contextlib.contextmanager
def named(name: str, nr: int, *prefix: str) -> Iterator[None]:
    """Tasks of this name that compute."""
    command = [*prefix, sys.executable, "-c", NAMED, repr(name.encode())]
    tasks = [subprocess.Popen(command) for _ in range(nr)]
    try:
        yield
    finally:
        for task in tasks:
            task.kill()
            task.wait()


def harmless(data: bytes, encoding: str) -> str:
    """The text of an output; asserts that it has no control sequences."""
    text = data.decode(encoding)
    assert not CONTROLS.intersection(map(ord, text)), text
    assert "\u202e" not in text
    for line in text.splitlines():
        assert "pwned" not in line or r"\x1b]0;pwned\x07\n" in line, line
    return text


@pytest.mark.counted
@pytest.mark.long
def test_names_of_tasks_in_every_locale(tmp_path: Path, record: Record) -> None:
    """A policy's failure names a task, and that name is an escape sequence and a newline."""
    shown = {"utf-8": "漢ä", "ascii": r"\u6f22\xe4", "latin-1": r"\u6f22ä", "euc-jp": "漢ä"}
    seen = []
    with folder_for_policies() as folder:
        (folder / "fails.py").write_text(FAILS)
        for encoding, environment in locales(tmp_path).items():
            with (tmp_path / encoding).open("w+b") as output:
                with (
                    pyland(
                        *("--policy", f"{folder}/fails.py"),
                        stdout=output,
                        stderr=output,
                        env=environment,
                    ) as run,
                    named(PWNED, 4),
                ):
                    assert until(lambda: ask("status")["policy"] == "deadline", 60) is not None
                    seen.append(run.ends()[0])
                text = harmless((tmp_path / encoding).read_bytes(), encoding)
            wanted = rf"raised ValueError: \x9b2J\u202e{shown[encoding]} \x1b]0;pwned\x07\n, task "
            assert wanted in text, text
            assert "going on with deadline" in text
            assert "pyland: ended: stopped by a signal" in text
    record(codes=seen)
    assert set(seen) == {0}
