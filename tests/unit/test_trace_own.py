# SPDX-License-Identifier: GPL-2.0-only
"""What a trace has besides the kernel's events: the policy's own numbers, and commands."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from pyland.trace.commands import read_commands
from pyland.trace.own import INTERVAL_S, Own, OwnNumbers
from tests.support.statistics import Kernel, serving

SECOND_NS = 1_000_000_000


def until(own: OwnNumbers, is_wanted: Callable[[Own], object]) -> Own:
    """Look as the recorder does, until an answer is as wanted; no look takes long."""
    end_s = time.monotonic() + 30
    while time.monotonic() < end_s:
        begin_s = time.thread_time()
        found = own.look()
        assert time.thread_time() - begin_s < 0.5
        if found is not None and is_wanted(found):
            return found
        time.sleep(0.02)
    raise AssertionError("no such answer")


def test_numbers_and_notes_come_from_the_server(tmp_path: Path) -> None:
    kernel, path = Kernel(), tmp_path / "stats"
    begin_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    with closing(OwnNumbers(path)) as own:
        assert own.look() is None
        kernel.own.gauge("waiting", 2.5)
        kernel.own.note(5, "before \x1b[2J", 1)
        with serving(kernel, path):
            first = until(own, lambda found: found.notes)
            assert first.gauges == {"waiting": 2.5}
            (note,) = first.notes
            assert (note.pid, note.text) == (5, b"before \\x1b[2J")
            assert begin_ns <= note.time_ns <= first.time_ns
            at_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
            kernel.own.note(6, "new", at_ns)
            kernel.own.note(7, "of the future", 1 << 62)
            second = until(own, lambda found: found.notes)
            assert [(one.pid, one.text) for one in second.notes] == [
                (6, b"new"),
                (7, b"of the future"),
            ]
            assert second.notes[0].time_ns == at_ns
            assert second.notes[1].time_ns == second.time_ns
            kernel.own.count("boosts", 1000)
            third = until(own, lambda found: found.rates.get("boosts", 0))
            assert not third.notes, "each note comes once"
            assert 0 < third.rates["boosts"] < 2 * 1000 / INTERVAL_S
            # Another policy numbers its notes from 1 on.
            kernel.own.clear()
            kernel.own.note(8, "of another", time.clock_gettime_ns(time.CLOCK_BOOTTIME))
            assert [one.pid for one in until(own, lambda found: found.notes).notes] == [8]
        # The server ends, and another one follows.
        kernel.own.note(9, "again", 1)
        with serving(kernel, path):
            assert 9 in {one.pid for one in until(own, lambda found: found.notes).notes}


def test_a_policy_that_says_nothing_is_asked_less_often(tmp_path: Path) -> None:
    kernel, path, now_ns = Kernel(), tmp_path / "stats", SECOND_NS

    def asked_after(passed_ns: int) -> bool:
        """Whether a question is sent when this time has passed since the last one."""
        nonlocal now_ns
        now_ns += passed_ns
        own.look()
        asked = bool(own._asked_ns)
        if asked:
            until(own, lambda _: True)
        return asked

    with serving(kernel, path), closing(OwnNumbers(path, lambda: now_ns)) as own:
        assert asked_after(SECOND_NS)
        assert not asked_after(int(0.9 * SECOND_NS))
        kernel.own.gauge("waiting", 1)
        assert asked_after(int(0.2 * SECOND_NS))
        assert asked_after(int(INTERVAL_S * SECOND_NS))
        kernel.own.clear()
        assert asked_after(int(INTERVAL_S * SECOND_NS))
        assert not asked_after(int(0.9 * SECOND_NS))
        kernel.own.note(5, "noted", 1)
        assert asked_after(int(0.2 * SECOND_NS))
        assert asked_after(int(INTERVAL_S * SECOND_NS))


def test_a_server_that_says_nonsense(tmp_path: Path) -> None:
    path = tmp_path / "stats"
    program = f"""
import socket
listener = socket.socket(socket.AF_UNIX)
listener.bind({str(path)!r})
listener.listen()
print("ready", flush=True)
for answer in (b"[]\\n" * 2, b'{{"errno": 0, "args": {{"resp": {{"policy_gauges": 5, "notes": '
               b'[5, {{"number": "x"}}, {{"number": 1, "task": -1, "time_ns": 1, "note": ""}}'
               b']}}}}}}\\n' * 2,
               b"x" * (3 << 20)):
    connection, _ = listener.accept()
    connection.recv(4096)
    connection.sendall(answer)
    connection.close() if answer[0] == 120 else connection.recv(1)
    connection.close()
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        server.stdout.readline()
        try:
            with closing(OwnNumbers(path)) as own:
                empty = until(own, lambda _: True)
                assert (empty.gauges, empty.notes) == ({}, ())
                end_s = time.monotonic() + 15
                while server.poll() is None and time.monotonic() < end_s:
                    found = own.look()
                    assert found is None or (found.gauges, found.notes) == ({}, ())
                    time.sleep(0.01)
        finally:
            server.kill()


def test_a_stuck_process_does_not_hold_the_others_up(tmp_path: Path) -> None:
    """To open a FIFO takes until it has a writer, as a read of memory until its disk answers."""
    for pid in (5, 6, 7, 8, 9):
        (tmp_path / str(pid)).mkdir()
        file = tmp_path / str(pid) / "cmdline"
        if pid in (6, 8):
            os.mkfifo(file)
        else:
            file.write_bytes(b"/bin/program%d\0--option\0" % pid)
    begin_s = time.monotonic()
    found = read_commands(tmp_path)
    assert found == {5: b"/bin/program5", 7: b"/bin/program7", 9: b"/bin/program9"}
    assert time.monotonic() - begin_s < 5
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)  # no child is left


def test_commands_of_this_machine() -> None:
    found = read_commands()
    assert (
        found[os.getpid()] == Path(f"/proc/{os.getpid()}/cmdline").read_bytes().split(b"\0")[0][:64]
    )
