# SPDX-License-Identifier: GPL-2.0-only
"""A process that prints, so that neither scheduling nor watching waits for a terminal.

It reads the counters from the shared memory. It also outlives a killed scheduler just
long enough to put back what was changed on the machine.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from typing import NoReturn

from pyland.kernel import memory
from pyland.kernel.counters import Counters

_START = "\x01"
_END = b"\0"
_TEXT_MAX = 60_000  # less than the pipe takes at once
_HEADER_EVERY = 20
_COLUMNS = (
    ("run", "running"),
    ("held", "held"),
    ("direct", "direct"),
    ("forward", "forwarded"),
    ("python", "user_dispatched"),
    ("full", "fallback_full"),
    ("lag", "fallback_lag"),
    ("idle", "fallback_idle"),
    ("late", "late"),
    ("bounce", "bounced"),
    ("fail", "failed"),
    ("faults", "page_faults"),
)
_GAUGES = ("running", "held")


class Reporter:
    """The handle that the supervising process keeps on its reporter."""

    def __init__(self, counters: Counters, stats_s: float, close: Iterable[int] = ()) -> None:
        """Fork the reporter, which closes the descriptors that are not its business."""
        reading, self._pipe = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self._pipe, False)
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self._pipe)
            for descriptor in close:
                os.close(descriptor)
            _report(reading, counters, stats_s)
        os.close(reading)

    def started(self, line: str) -> None:
        """Print that scheduling has begun, and the table of statistics from then on."""
        self._send(_START + line)

    def say(self, text: str) -> None:
        """Print a message, of one line or several."""
        self._send(text)

    def close(self) -> None:
        """Let the reporter put everything back and end; wait for it."""
        os.close(self._pipe)
        with suppress(ChildProcessError):
            os.waitpid(self.pid, 0)

    def _send(self, text: str) -> None:
        # Nobody waits for a terminal that is stopped: what finds no room is not printed.
        with suppress(BlockingIOError, BrokenPipeError):
            os.write(self._pipe, text.encode(errors="replace")[:_TEXT_MAX] + _END)


def _report(pipe: int, counters: Counters, stats_s: float) -> NoReturn:
    """The reporter's life: until the other end of the pipe is closed, by whatever means."""
    # A terminal sends Ctrl-C to all; only the supervisor's end ends the reporter.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    compaction = memory.set_compaction("0")
    try:
        _print_all(pipe, _Table(counters, stats_s))
    finally:
        if compaction is not None:
            memory.set_compaction(compaction)
        os._exit(0)


def _print_all(pipe: int, table: _Table) -> None:
    unfinished = b""
    while True:
        if not select.select([pipe], [], [], table.due_in_s())[0]:
            table.print_row()
            continue
        data = os.read(pipe, 1 << 16)
        if not data:
            return
        *texts, unfinished = (unfinished + data).split(_END)
        for text in texts:
            line = text.decode(errors="replace")
            with suppress(OSError):  # who read it went away
                print(line.removeprefix(_START), flush=True)
            if line.startswith(_START):
                table.start()


class _Table:
    """A row per interval; the counters are per interval."""

    def __init__(self, counters: Counters, stats_s: float) -> None:
        self._counters = counters
        self._stats_s = stats_s
        self._due_s: float | None = None
        self._row = 0

    def start(self) -> None:
        self._counters.start_counting_faults()
        if self._stats_s:
            self._before = self._counters.read()
            self._due_s = time.monotonic() + self._stats_s

    def due_in_s(self) -> float | None:
        return None if self._due_s is None else max(self._due_s - time.monotonic(), 0)

    def print_row(self) -> None:
        now, before = self._counters.read(), self._before
        values = [now[key] - (0 if key in _GAUGES else before[key]) for _, key in _COLUMNS]
        decided = now["user_dispatched"] - before["user_dispatched"]
        delay_us = (now["delay_ns"] - before["delay_ns"]) / max(decided, 1) / 1000
        with suppress(OSError):
            if self._row % _HEADER_EVERY == 0:
                print(" ".join(f"{title:>8}" for title, _ in _COLUMNS) + " delay_us", flush=True)
            print(" ".join(f"{value:8d}" for value in values) + f" {delay_us:8.1f}", flush=True)
        self._before, self._row = now, self._row + 1
        assert self._due_s is not None
        self._due_s += self._stats_s
