# SPDX-License-Identifier: GPL-2.0-only
"""The process that prints delays no other: not if it is killed, and not without a reader."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from pyland.stats.counters import TOTALS

# A supervisor that only does what the lines of its input say.
PROGRAM = f"""
import os, signal, sys, time
from pyland.supervisor.reporter import Reporter

class Counters:
    def start_counting_faults(self): pass
    def read(self): return dict.fromkeys({TOTALS!r}, 0)

reporter = Reporter(Counters(), float(sys.argv[1]))
for line in sys.stdin:
    begin_s = time.monotonic()
    exec(line)
    print(time.monotonic() - begin_s, reporter.pid, file=sys.stderr, flush=True)
"""


class Supervisor:
    def __init__(self, process: subprocess.Popen[str], reading: int) -> None:
        self._process, self._reading = process, reading
        self._read = b""

    def do(self, code: str) -> tuple[float, int]:
        """Run a line of code; how long it took, and the reporter's process after it."""
        assert self._process.stdin is not None
        assert self._process.stderr is not None
        print(code, file=self._process.stdin, flush=True)
        seconds, pid = self._process.stderr.readline().split()
        return float(seconds), int(pid)

    def printed(self, end: str) -> str:
        """The output up to this text."""
        while end.encode() not in self._read:
            data = os.read(self._reading, 4096)
            assert data, self._read
            self._read += data
        text, _, self._read = self._read.partition(end.encode())
        return text.decode() + end


@contextmanager
def supervisor(stats_s: float = 0, fill: int = 0) -> Iterator[Supervisor]:
    reading, writing = os.pipe()
    os.write(writing, b"x" * fill)
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(stats_s)],
        stdin=subprocess.PIPE, stdout=writing, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        os.close(writing)
        yield Supervisor(process, reading)
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(10) == 0
    os.close(reading)


def test_messages_are_escaped_and_those_of_others_indented() -> None:
    with supervisor() as running:
        running.do(r"reporter.say('policy x: \x1b[2J\r\npyland: ended: fine\n\x9b')")
        assert running.printed("\\x9b\n") == (
            "policy x: \\x1b[2J\\r\n  pyland: ended: fine\n  \\x9b\n"
        )
        running.do("reporter.close()")


def test_a_killed_one_is_replaced_and_goes_on_with_the_table() -> None:
    with supervisor(stats_s=0.05) as running:
        _, pid = running.do("reporter.started('pyland: scheduling')")
        running.printed("delay_us\n")
        os.kill(pid, signal.SIGKILL)
        mend = "time.sleep(1.2); reporter.mend(time.monotonic()); reporter.mend(time.monotonic())"
        _, another = running.do(mend)
        assert another != pid
        running.printed("pyland: the process that prints was killed: another one goes on\n")
        running.printed("delay_us\n")
        seconds, _ = running.do("reporter.close()")
        assert seconds < 2


def test_a_full_pipe_delays_no_process() -> None:
    with supervisor(fill=65536) as running:
        seconds, _ = running.do("for n in range(10000): reporter.say(f'line {n}' * 20)")
        assert seconds < 5
        seconds, _ = running.do("reporter.close()")
        assert seconds < 2


def test_what_found_no_room_is_told() -> None:
    with supervisor(fill=65536) as running:
        running.do("for n in range(2000): reporter.say('x' * 500); time.sleep(0.0005)")
        running.printed("texts found no room in the output\n")
        running.do("reporter.close()")


@pytest.mark.parametrize("number", [signal.SIGSTOP, signal.SIGKILL])
def test_it_ends_whatever_was_done_to_it(number: signal.Signals) -> None:
    with supervisor() as running:
        _, pid = running.do("reporter.say('pyland: here')")
        running.printed("here\n")
        os.kill(pid, number)
        seconds, _ = running.do("reporter.say('more'); reporter.close()")
        assert seconds < 2
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
