# SPDX-License-Identifier: GPL-2.0-only
"""A program in a terminal: its screen as text, by a terminal emulator on a real pty."""

from __future__ import annotations

import fcntl
import os
import select
import signal
import struct
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import pyte

WITHIN_S = 60.0
"""How long a test waits for what it wants to see: an emulated machine is slow."""


class OnTerminal:
    """A program with a terminal of its own, from the begin of a `with` block to its end."""

    def __init__(
        self,
        program: Sequence[str],
        *,
        columns: int = 80,
        rows: int = 24,
        environment: Mapping[str, str] | None = None,
        user: int = 0,
    ) -> None:
        """The program runs as `user`, if that is not root."""
        self._screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self._screen)
        # pyte knows what the Linux console does, but not all of xterm.
        self._environment = {**os.environ, "TERM": "linux", **(environment or {})}
        self._program, self._user = program, user
        self.received = b""

    def __enter__(self) -> Self:
        self.pid, self._fd = os.forkpty()
        if self.pid == 0:
            try:
                self._resized(0, self._screen.columns, self._screen.lines)
                if self._user:
                    os.setgroups([])
                    os.setgid(self._user)
                    os.setuid(self._user)
                os.execve(self._program[0], [*self._program], self._environment)
            finally:
                os._exit(127)
        self.begin = self.mode
        """The modes of the terminal before the program has changed any."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._fd >= 0:
            os.close(self._fd)
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)

    @property
    def text(self) -> str:
        """The screen's lines, without blanks at their ends."""
        return "\n".join(one.rstrip() for one in self._screen.display)

    @property
    def lines(self) -> list[str]:
        """All lines, as wide as the screen."""
        return list(self._screen.display)

    @property
    def mode(self) -> list[Any]:
        """The modes of the terminal, as termios has them."""
        return termios.tcgetattr(self._fd)

    def press(self, keys: str) -> None:
        """Type the keys."""
        os.write(self._fd, keys.encode())

    def kill(self, number: signal.Signals) -> None:
        """Send a signal to the program."""
        os.kill(self.pid, number)

    def resize(self, columns: int, rows: int) -> None:
        """Give the terminal another size; the kernel tells the program."""
        self._screen.resize(rows, columns)
        self._resized(self._fd, columns, rows)

    def hang_up(self) -> None:
        """Close the terminal, as when its window is closed."""
        os.close(self._fd)
        self._fd = -1

    def until(self, condition: Callable[[str], bool], within_s: float = WITHIN_S) -> bool:
        """Read until the screen's text is as wanted; False if that takes too long."""
        until_s = time.monotonic() + within_s
        while not condition(self.text):
            if time.monotonic() > until_s or not self._read():
                return condition(self.text)
        return True

    def shows(self, *words: str) -> bool:
        """Read until all these words are on the screen."""
        return self.until(lambda text: all(word in text for word in words))

    def has(self, row: int, word: str) -> bool:
        """Read until the word is in this row, counted from 0."""
        return self.until(lambda _: word in self.lines[row])

    def status(self, within_s: float = WITHIN_S) -> int:
        """The exit status of the program when it has ended."""
        until_s = time.monotonic() + within_s
        while time.monotonic() < until_s:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.pid = 0
                while self._fd >= 0 and self._read(0):
                    pass
                return os.waitstatus_to_exitcode(status)
            if self._fd < 0 or not self._read():
                time.sleep(0.02)
        raise AssertionError(f"it did not end:\n{self.text}")

    def is_stopped(self) -> bool:
        """True if the program has stopped within the time."""
        until_s = time.monotonic() + WITHIN_S
        while time.monotonic() < until_s:
            with open(f"/proc/{self.pid}/stat", encoding="utf-8", errors="replace") as stat:
                if stat.read().rpartition(")")[2].split()[0] == "T":
                    return True
            self._read()
        return False

    def _read(self, within_s: float = 0.1) -> bool:
        """Read what the program wrote; False if it writes nothing more."""
        ready, _, _ = select.select([self._fd], [], [], within_s)
        if not ready:
            return within_s > 0
        try:
            data = os.read(self._fd, 1 << 16)
        except OSError:  # the program has closed the terminal
            return False
        self.received += data
        self._stream.feed(data)
        return bool(data)

    @staticmethod
    def _resized(fd: int, columns: int, rows: int) -> None:
        fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("4H", rows, columns, 0, 0))
