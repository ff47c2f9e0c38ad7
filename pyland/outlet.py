# SPDX-License-Identifier: GPL-2.0-only
"""Writes to a descriptor without ever waiting for who reads it."""

from __future__ import annotations

import io
import os
import select
import socket
import stat
import time
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_CHUNK = 512
"""A blocking descriptor that is ready takes so much at once."""


class Outlet:
    """A terminal, pipe, socket or file, and what it has had no room for yet.

    A pipe or terminal is opened anew without blocking, because the mode of the descriptor
    itself is shared with other programs: the shell's terminal would become non-blocking.
    """

    def __init__(self, fd: int, room: int | None = 1 << 18) -> None:
        """At most `room` bytes wait; a descriptor that is not open takes nothing."""
        self._fd = fd
        self._room = room
        self._waiting = bytearray()
        self._socket: socket.socket | None = None
        self._blocks = self._own = self._begun = False
        self.dropped = 0
        """Texts that were not printed because of those that wait."""
        try:
            mode = os.fstat(fd).st_mode
            terminal = os.isatty(fd)
        except OSError:
            self._fd = -1
            return
        if stat.S_ISSOCK(mode):
            self._socket = socket.socket(fileno=os.dup(fd))
        elif stat.S_ISFIFO(mode) or terminal:
            # Not a file: it would be written to from its beginning.
            try:
                flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
                self._fd = os.open(f"/proc/self/fd/{fd}", flags)
                self._own = True
            except OSError:
                self._blocks = True

    def fileno(self) -> int:
        """What to poll for room."""
        return self._fd

    @property
    def waits(self) -> bool:
        """Whether something waits for room."""
        return bool(self._waiting)

    def offer(self, data: bytes) -> None:
        """Write as much as there is room for; the rest waits, or all of it is dropped."""
        if self._room is not None and self._waiting and len(self._waiting) > self._room:
            self.dropped += 1
            return
        self._waiting += data
        self.push()

    def push(self) -> None:
        """Write of what waits as much as there is room for."""
        while self._waiting:
            try:
                nr = self._write()
            except BlockingIOError:
                return
            except OSError:  # no space, no reader, no terminal: later texts may do better
                self._waiting.clear()
                return
            del self._waiting[:nr]

    def drain(self, seconds: float) -> None:
        """Write what waits, for at most so long after there was no room."""
        self.push()
        until_s = time.monotonic() + seconds
        while self._waiting and (left_s := until_s - time.monotonic()) > 0:
            poll = select.poll()
            poll.register(self._fd, select.POLLOUT)
            poll.poll(left_s * 1000)
            self.push()

    def close(self) -> None:
        """Drop what waits."""
        self._waiting.clear()
        if self._socket is not None:
            self._socket.close()
        elif self._own:
            with suppress(OSError):
                os.close(self._fd)
        self._fd = -1

    def _write(self) -> int:
        if self._socket is not None:
            return self._socket.send(self._waiting, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        if not self._blocks:
            return os.write(self._fd, self._waiting)
        poll = select.poll()
        poll.register(self._fd, select.POLLOUT)
        if not poll.poll(0):
            raise BlockingIOError
        return os.write(self._fd, self._waiting[:_CHUNK])


class Lossy(io.RawIOBase):
    """A non-blocking descriptor as a raw file; what finds no room is lost, and not told.

    Elsewhere, print() would raise BlockingIOError in the middle of what prints.
    """

    def __init__(self, fd: int) -> None:
        """The descriptor stays open when the file is closed."""
        self._fd = fd

    def fileno(self) -> int:
        return self._fd

    def writable(self) -> bool:
        return True

    def write(self, data: ReadableBuffer, /) -> int:
        with suppress(OSError):
            os.write(self._fd, data)
        return memoryview(data).nbytes
