# SPDX-License-Identifier: GPL-2.0-only
"""The signals that end pyland, for a loop that polls."""

from __future__ import annotations

import os
import select
import signal
from contextlib import suppress
from types import FrameType
from typing import Any, Self


class Signals:
    """Makes a descriptor readable on SIGINT, SIGTERM and SIGHUP, so that a loop can poll it.

    If SIGHUP is ignored, for example by nohup, it stays ignored: pyland outlives the terminal.
    """

    def __init__(self) -> None:
        """Signals are caught only inside the `with` block."""
        self._before: dict[int, Any] = {}
        self.got = 0

    def __enter__(self) -> Self:
        self._reading, self._writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(self._writing, warn_on_full_buffer=False)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        self.abandon()
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, _: FrameType | None) -> None:
        self.got = number

    def fileno(self) -> int:
        """The descriptor to poll: readable after a signal."""
        return self._reading

    def drain(self) -> None:
        """Read all, so that the descriptor is readable only after the next signal."""
        with suppress(BlockingIOError):
            os.read(self._reading, 512)

    def come_within(self, seconds: float) -> bool:
        """True if a signal has come, or comes in this time."""
        if not self.got:
            select.select([self._reading], [], [], seconds)
        return bool(self.got)

    def abandon(self) -> None:
        """Close the descriptors, here or in a forked child."""
        signal.set_wakeup_fd(-1)
        with suppress(OSError):
            os.close(self._reading)
            os.close(self._writing)
