# SPDX-License-Identifier: GPL-2.0-only
"""The terminal: lines go there, keys come from there, and it is as before at every end.

curses of the standard library draws: it costs 1 ms to import and 0.3 ms a frame, it writes only
the cells that have changed, and it knows all terminals that the machine knows.
"""

from __future__ import annotations

import locale
import os
import select
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Self

from pyland.errors import UsageError
from pyland.output.printing import encoding
from pyland.top import text
from pyland.top.screen import Screen

try:
    import curses
except ImportError:  # a Python that was built without it
    curses = None  # type: ignore[assignment]

_NEEDED = ("cup", "clear", "el")
_ESCAPE_MS = 25
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_HANDLED = (*_ENDING, signal.SIGTSTP, signal.SIGCONT, signal.SIGWINCH)


def check(term: str) -> None:
    """Raise UsageError if the standard streams are no terminal that can be drawn on."""
    other = "`pyland monitor` prints rows anywhere"
    for fd, name in ((0, "standard input"), (1, "standard output")):
        if not os.isatty(fd):
            raise UsageError(f"top: {name} is no terminal; {other}")
    if curses is None:
        raise UsageError(f"top: this Python has no curses; {other}")
    try:
        curses.setupterm(term or "unknown", 1)
        able = all(curses.tigetstr(name) for name in _NEEDED)
    except curses.error:
        told = f"the terminal TERM={term} is not known to this machine" if term else "no TERM"
        raise UsageError(f"top: {text.clean(told)}; {other}") from None
    if not able:
        raise UsageError(
            f"top: the terminal TERM={text.clean(term)} cannot move its cursor; {other}"
        )


class Terminal:
    """The screen, from the begin of a `with` block to its end."""

    def __enter__(self) -> Self:
        self.ends = False
        """True when the program has to end: a signal, or the terminal is gone."""
        self._signals: set[int] = set()
        self._drawn: list[text.Line] = []
        self._wake_in, self._wake_out = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        # curses leaves signals that have a handler alone: it would draw in the middle of a frame.
        self._before = {one: signal.signal(one, self._noted) for one in _HANDLED}
        self._wakeup_before = signal.set_wakeup_fd(self._wake_out, warn_on_full_buffer=False)
        with suppress(locale.Error):
            locale.setlocale(locale.LC_CTYPE, "")
        # curses believes an exported size more than the terminal, which may have another by now.
        for name in ("LINES", "COLUMNS"):
            os.environ.pop(name, None)
        try:
            self._window = curses.initscr()
            curses.noecho()
            curses.cbreak()
            self._window.keypad(True)
            self._window.nodelay(True)
            curses.set_escdelay(_ESCAPE_MS)
            with suppress(curses.error):
                curses.curs_set(0)
            self._styles = _styles()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with suppress(curses.error):
            curses.endwin()
        signal.set_wakeup_fd(self._wakeup_before)
        for one, handler in self._before.items():
            signal.signal(one, handler)
        os.close(self._wake_in)
        os.close(self._wake_out)

    @property
    def screen(self) -> Screen:
        """The size and the encoding."""
        rows, columns = self._window.getmaxyx()
        return Screen(columns, rows, encoding())

    def wake(self) -> None:
        """Let `keys` return, from any thread."""
        with suppress(OSError):
            os.write(self._wake_out, b"w")

    def keys(self, until_s: float) -> list[str]:
        """The keys that were pressed; waits for one, for a signal or for the time."""
        poll = select.poll()
        poll.register(0, select.POLLIN)
        poll.register(self._wake_in, select.POLLIN)
        for fd, events in poll.poll(max(until_s - time.monotonic(), 0) * 1000):
            if fd == self._wake_in:
                with suppress(OSError):
                    os.read(fd, 4096)
            elif events & ~select.POLLIN:
                self.ends = True  # the terminal is gone
        self._serve_signals()
        found = []
        while not self.ends and (key := self._key()):
            found.append(key)
        return found

    def draw(self, lines: Sequence[text.Line]) -> None:
        """Show these lines from the top; lines that are there already cost nothing."""
        rows = self._window.getmaxyx()[0]
        for row, one in enumerate(lines[:rows]):
            if row < len(self._drawn) and self._drawn[row] == one:
                continue
            # curses writes the last cell of the screen and then fails, as no cell follows it.
            with suppress(curses.error):
                self._window.move(row, 0)
                self._window.clrtoeol()
                for piece in one:
                    self._window.addstr(piece.text, self._styles[piece.style])
        self._drawn = list(lines)
        self._window.refresh()

    def _key(self) -> str:
        """A key, empty if there is none; a key that means nothing is `unknown`."""
        try:
            key = self._window.get_wch()
        except curses.error:
            return ""
        if isinstance(key, str):
            return _CHARACTERS.get(key, key)
        return {
            curses.KEY_UP: "up",
            curses.KEY_DOWN: "down",
            curses.KEY_PPAGE: "page up",
            curses.KEY_NPAGE: "page down",
            curses.KEY_BACKSPACE: "backspace",
            curses.KEY_ENTER: "enter",
        }.get(key, "unknown")

    def _noted(self, number: int, _: FrameType | None) -> None:
        self._signals.add(number)

    def _serve_signals(self) -> None:
        signals, self._signals = self._signals, set()
        if signals.intersection(_ENDING):
            self.ends = True
        elif signal.SIGTSTP in signals:
            self._stop()
        elif signal.SIGCONT in signals:  # of a SIGSTOP: another program had the terminal
            self._go_on()
        elif signal.SIGWINCH in signals:
            self._resize()

    def _stop(self) -> None:
        """Give the terminal back, stop, and take it again when it goes on."""
        curses.endwin()
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        signal.raise_signal(signal.SIGTSTP)
        signal.signal(signal.SIGTSTP, self._noted)
        self._signals.discard(signal.SIGCONT)
        self._go_on()

    def _go_on(self) -> None:
        curses.reset_prog_mode()
        self._resize()

    def _resize(self) -> None:
        with suppress(OSError, curses.error):
            size = os.get_terminal_size(1)
            if size.lines > 0 and size.columns > 0:
                curses.resizeterm(size.lines, size.columns)
        self._drawn = []
        self._window.clear()  # the next refresh draws all cells


_CHARACTERS = {
    "\n": "enter",
    "\r": "enter",
    "\t": "tab",
    "\x1b": "escape",
    "\x7f": "backspace",
    "\b": "backspace",
}


def _styles() -> dict[str, int]:
    """The attributes of each style; colours where the terminal has them."""
    styles = {
        text.PLAIN: curses.A_NORMAL,
        text.BOLD: curses.A_BOLD,
        text.DIM: curses.A_DIM,
        text.REVERSED: curses.A_REVERSE,
        text.GOOD: curses.A_NORMAL,
        text.WARN: curses.A_BOLD,
        text.BAD: curses.A_BOLD,
    }
    with suppress(curses.error):
        curses.start_color()
        curses.use_default_colors()
        colours = {
            text.GOOD: curses.COLOR_GREEN,
            text.WARN: curses.COLOR_YELLOW,
            text.BAD: curses.COLOR_RED,
        }
        for pair, (style, colour) in enumerate(colours.items(), 1):
            curses.init_pair(pair, colour, -1)
            styles[style] = curses.color_pair(pair)
    return styles
