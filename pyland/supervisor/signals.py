# SPDX-License-Identifier: GPL-2.0-only
"""The signals that end pyland, for a loop that polls."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from types import FrameType
from typing import Any, Self


class Signals:
    """SIGINT, SIGTERM and SIGHUP, to be polled for together with everything else.

    SIGHUP stays ignored where it was, as nohup leaves it: the terminal's end is not pyland's.
    """

    def __init__(self) -> None:
        """Nothing is caught before the `with` block."""
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
        """Readable after a signal."""
        return self._reading

    def drain(self) -> None:
        """Make it unreadable again."""
        with suppress(BlockingIOError):
            os.read(self._reading, 512)

    def abandon(self) -> None:
        """Close the descriptors, here or in a forked child."""
        signal.set_wakeup_fd(-1)
        with suppress(OSError):
            os.close(self._reading)
            os.close(self._writing)
