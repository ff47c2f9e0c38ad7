# SPDX-License-Identifier: GPL-2.0-only
"""The signals that pyland takes, for a loop that polls."""

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

    def __init__(self, *, hangup_reloads: bool = False) -> None:
        """Signals are caught only inside the `with` block.

        With `hangup_reloads`, SIGHUP asks for the policy's files and ends nothing: a service has
        no terminal that could hang up.
        """
        self._before: dict[int, Any] = {}
        self._hangup_reloads = hangup_reloads
        self._reload = False
        self.got = 0
        """The last signal that ends pyland; 0 if there was none."""

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
        if number == signal.SIGHUP and self._hangup_reloads:
            self._reload = True
        else:
            self.got = number

    def take_reload(self) -> bool:
        """True if a reload was asked for; once for each time."""
        asked, self._reload = self._reload, False
        return asked

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
