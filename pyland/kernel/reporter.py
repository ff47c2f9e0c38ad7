# SPDX-License-Identifier: GPL-2.0-only
"""A second process that prints, so that the one that schedules never waits for a terminal.

It reads the counters from the shared memory. It also outlives a killed scheduler just
long enough to put back what was changed on the machine.
"""

import os
import select
import signal
import sys
import time
from contextlib import suppress
from typing import NoReturn

from pyland.kernel import memory
from pyland.kernel.counters import Counters

_STARTED = b"s"
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
    """The handle that the scheduling process keeps on its reporter."""

    def __init__(self, counters: Counters, started: str, stats_s: float) -> None:
        """Fork the reporter; it prints `started` once scheduling has begun."""
        reading, self._pipe = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self._pipe, False)
        sys.stdout.flush()
        sys.stderr.flush()
        self._pid = os.fork()
        if self._pid == 0:
            os.close(self._pipe)
            _report(reading, counters, started, stats_s)
        os.close(reading)

    def scheduling_started(self) -> None:
        """Say that the scheduler is attached."""
        os.write(self._pipe, _STARTED)

    def close(self) -> None:
        """Let the reporter put everything back and end; wait for it."""
        os.close(self._pipe)
        with suppress(ChildProcessError):
            os.waitpid(self._pid, 0)


def _report(pipe: int, counters: Counters, started: str, stats_s: float) -> NoReturn:
    """The reporter's life: until the other end of the pipe is closed, by whatever means."""
    # A terminal sends Ctrl-C to both; only the scheduler's end ends the reporter.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    compaction = memory.set_compaction("0")
    try:
        if _wait_for_start(pipe):
            with suppress(OSError):  # the reader of the table went away
                # Known only now: the scheduler locks its memory after this process was made.
                locked = memory.locked_mib(os.getppid())
                print(f"{started}, {locked:.0f} MiB locked", flush=True)
                _rows(pipe, counters, stats_s)
            while _readable(pipe, None) and os.read(pipe, 1):
                pass
    finally:
        if compaction is not None:
            memory.set_compaction(compaction)
        os._exit(0)


def _wait_for_start(pipe: int) -> bool:
    return os.read(pipe, 1) == _STARTED


def _readable(pipe: int, timeout_s: float | None) -> bool:
    return bool(select.select([pipe], [], [], timeout_s)[0])


def _rows(pipe: int, counters: Counters, stats_s: float) -> None:
    """A row per interval until the pipe ends; the counters are per interval."""
    if not stats_s:
        return
    before = counters.read()
    due = time.monotonic()
    row = 0
    while True:
        due += stats_s
        if _readable(pipe, max(due - time.monotonic(), 0)):
            return
        now = counters.read()
        if row % _HEADER_EVERY == 0:
            print(" ".join(f"{title:>8}" for title, _ in _COLUMNS) + " delay_us", flush=True)
        values = [now[key] - (0 if key in _GAUGES else before[key]) for _, key in _COLUMNS]
        decided = now["user_dispatched"] - before["user_dispatched"]
        delay_us = (now["delay_ns"] - before["delay_ns"]) / max(decided, 1) / 1000
        print(" ".join(f"{value:8d}" for value in values) + f" {delay_us:8.1f}", flush=True)
        before, row = now, row + 1
