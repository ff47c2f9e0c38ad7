# SPDX-License-Identifier: GPL-2.0-only
"""The process that prints, so that the worker and the supervisor wait for no terminal.

It reads the counters from shared memory and changes nothing there. If it is killed, the
supervisor starts another.
"""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from mmap import mmap
from typing import NoReturn

from pyland._native import lib
from pyland.output import printing
from pyland.output.outlet import Outlet
from pyland.stats import numbers
from pyland.stats.counters import Counters, grown
from pyland.stats.table import Table, notes_line, policy_line
from pyland.supervisor import descendants

_START = "\x01"
_END = b"\0"
_TEXT_MAX = 60_000  # less than the pipe takes at once
_AGAIN_S = 1.0
"""The least time in seconds between two starts, because each reporter may end at once."""
_WAIT_S = 0.4
"""At the end, a reporter that sleeps for this many seconds is killed."""
_DIE_S = 1.0
"""Seconds to wait for a killed reporter: enough on a busy machine; on a dead disk it never ends."""


class Reporter:
    """The supervisor's handle on its reporter."""

    def __init__(self, counters: Counters, stats_s: float, own: mmap | None = None) -> None:
        """Fork the reporter. With `own`, each row also has the policy's numbers in that memory."""
        self._counters, self._stats_s, self._own = counters, stats_s, own
        self._journal = printing.is_journal()
        self._started = False
        self._again_s = 0.0
        self.pid = 0
        self._fork()

    def _fork(self) -> None:
        reading, self._pipe = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._again_s = time.monotonic() + _AGAIN_S
        self._ended = False
        try:
            self.pid = os.fork()
        except OSError:  # there are too many processes; `mend` tries again
            self._ended = True
        if not self._ended:
            if self.pid == 0:
                _live(reading, self._counters, self._stats_s, self._own)
            descendants.started(self.pid)
        os.close(reading)

    def started(self, line: str) -> None:
        """Print that scheduling has begun, and start the table of statistics."""
        self._started = True
        self._send(_START + line)

    def say(self, text: str, level: int = printing.WARNING) -> None:
        """Print a message; if it has several lines, all but the first are indented.

        `level` is for the journal: most messages tell of something that is not as it should be.
        """
        text = printing.block(text)
        self._send(printing.leveled(text, level) if self._journal else text)

    def mend(self, now_s: float) -> None:
        """Start another reporter if this one has ended; the supervisor calls it at each look."""
        if not self._ended and not self._reap():
            return
        if now_s < self._again_s:
            return
        os.close(self._pipe)
        self._fork()
        line = "pyland: the process that prints was killed: another one goes on"
        self._send(_START + line if self._started else line)

    def close(self) -> None:
        """End the reporter; before that it prints what it can print at once."""
        os.close(self._pipe)
        asleep_s, killed = 0.0, False
        while not self._ended and not self._reap():
            begin_s = time.monotonic()
            time.sleep(0.005)
            # A reporter that waits for a CPU is not stuck.
            if killed or _state(self.pid) != "R":
                asleep_s += time.monotonic() - begin_s
            if killed and asleep_s > _DIE_S:
                descendants.ended(self.pid)
                return
            if not killed and asleep_s > _WAIT_S:
                with suppress(ProcessLookupError):
                    os.kill(self.pid, signal.SIGKILL)
                asleep_s, killed = 0.0, True

    def _reap(self) -> bool:
        """True if the reporter has ended."""
        try:
            self._ended = os.waitpid(self.pid, os.WNOHANG)[0] != 0
        except ChildProcessError:
            self._ended = True
        if self._ended:
            descendants.ended(self.pid)
        return self._ended

    def _send(self, text: str) -> None:
        # If the pipe has no room, the text is dropped.
        with suppress(BlockingIOError, BrokenPipeError):
            # An end mark comes first, too, because the text before may have been cut.
            os.write(self._pipe, _END + text.encode(errors="replace")[:_TEXT_MAX] + _END)


def _state(pid: int) -> str:
    """The letter of the process's state, as in /proc; empty if there is no such process."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0]
    except OSError:
        return ""


def _live(pipe: int, counters: Counters, stats_s: float, own: mmap | None) -> NoReturn:
    """Print until the other end of the pipe is closed, also by the supervisor's death."""
    try:
        signal.set_wakeup_fd(-1)
        # A terminal sends Ctrl-C to all processes. The reporter ends only with the supervisor.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        lib.pyland_die_with_parent()
        # An open descriptor could keep a scheduler attached or let a client wait.
        os.closerange(3, pipe)
        os.closerange(pipe + 1, os.sysconf("SC_OPEN_MAX"))
        outlet = Outlet(1)
        _print_all(pipe, outlet, _Rows(counters, stats_s, own, outlet.offer))
        outlet.drain(printing.WITHIN_S)
    finally:
        os._exit(0)


def _print_all(pipe: int, outlet: Outlet, rows: _Rows) -> None:
    unfinished = b""
    while True:
        poll = select.poll()
        poll.register(pipe, select.POLLIN)
        if outlet.waits:
            poll.register(outlet.fileno(), select.POLLOUT)
        poll.poll(rows.due_in_ms())
        if outlet.waits:
            outlet.push()
        if outlet.dropped and not outlet.waits:
            lost, outlet.dropped = outlet.dropped, 0
            outlet.offer(printing.encode(f"pyland: {lost} texts found no room in the output"))
        rows.print_row_if_due()
        try:
            data = os.read(pipe, 1 << 16)
        except BlockingIOError:
            continue
        if not data:
            return
        *texts, unfinished = (unfinished + data).split(_END)
        for text in filter(None, texts):
            line = text.decode(errors="replace")
            outlet.offer(printing.encode(line.removeprefix(_START)))
            if line.startswith(_START):
                rows.start()


class _Rows:
    """Prints a row per interval."""

    def __init__(
        self,
        counters: Counters,
        stats_s: float,
        own: mmap | None,
        write: Callable[[bytes], object],
    ) -> None:
        self._counters = counters
        self._stats_s = stats_s
        self._own = own
        self._write = write
        self._due_s: float | None = None
        self._table = Table()

    def start(self) -> None:
        self._counters.start_counting_faults()
        if self._stats_s:
            self._before = self._read()
            self._due_s = time.monotonic() + self._stats_s

    def due_in_ms(self) -> float | None:
        """Milliseconds until the next row; None if there is no table."""
        return None if self._due_s is None else max(self._due_s - time.monotonic(), 0) * 1000

    def print_row_if_due(self) -> None:
        if self._due_s is not None and time.monotonic() >= self._due_s:
            self._print_row()
            # After a long stop, print one row, not all rows that were due.
            self._due_s = max(self._due_s + self._stats_s, time.monotonic())

    def _read(self) -> tuple[dict[str, int], numbers.Numbers]:
        return self._counters.read(), numbers.read(self._own) if self._own else numbers.NONE

    def _print_row(self) -> None:
        (counts, own), before = self._read(), self._before
        lines = self._table.lines(grown(counts, before[0]))
        if self._own:
            own_grown = own.since(before[1])
            lines.append(policy_line(own_grown.gauges, own_grown.counts))
            if noted := [(n.pid, n.text) for n in numbers.read_notes(self._own) if n.text]:
                lines.append(notes_line(noted))
        self._write(printing.encode("\n".join(lines)))
        self._before = counts, own
