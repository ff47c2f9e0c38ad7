# SPDX-License-Identifier: GPL-2.0-only
"""Writes to a descriptor without waiting for its reader."""

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
"""Bytes that a blocking descriptor takes at once when poll says that it is ready."""


class Outlet:
    """A terminal, pipe, socket or file, with the bytes for which it has no room yet.

    A pipe or terminal is opened anew as non-blocking. The mode of the descriptor itself is
    shared with other programs: the shell's terminal would become non-blocking, too.
    """

    def __init__(self, fd: int, room: int | None = 1 << 18) -> None:
        """At most `room` bytes wait. A descriptor that is not open takes no bytes."""
        self._fd = fd
        self._room = room
        self._waiting = bytearray()
        self._socket: socket.socket | None = None
        self._blocks = self._own = self._begun = False
        self.dropped = 0
        """Texts that were dropped because too many bytes waited."""
        try:
            mode = os.fstat(fd).st_mode
            terminal = os.isatty(fd)
        except OSError:
            self._fd = -1
            return
        if stat.S_ISSOCK(mode):
            self._socket = socket.socket(fileno=os.dup(fd))
        elif stat.S_ISFIFO(mode) or terminal:
            # Not for a file: the new descriptor would write at its beginning.
            try:
                flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
                self._fd = os.open(f"/proc/self/fd/{fd}", flags)
                self._own = True
            except OSError:
                self._blocks = True

    def fileno(self) -> int:
        """The descriptor to poll for room."""
        return self._fd

    @property
    def waits(self) -> bool:
        """True if bytes wait for room."""
        return bool(self._waiting)

    def offer(self, data: bytes) -> None:
        """Write as much as there is room for. The rest waits; if too much waits, drop all of it."""
        if self._room is not None and self._waiting and len(self._waiting) > self._room:
            self.dropped += 1
            return
        self._waiting += data
        self.push()

    def push(self) -> None:
        """Write as many of the waiting bytes as there is room for."""
        while self._waiting:
            try:
                nr = self._write()
            except BlockingIOError:
                return
            except OSError:  # no space, reader or terminal now; a later text may have them
                self._waiting.clear()
                return
            del self._waiting[:nr]

    def drain(self, seconds: float) -> None:
        """Write the waiting bytes; once there is no room, wait for it this long at most."""
        self.push()
        until_s = time.monotonic() + seconds
        while self._waiting and (left_s := until_s - time.monotonic()) > 0:
            poll = select.poll()
            poll.register(self._fd, select.POLLOUT)
            poll.poll(left_s * 1000)
            self.push()

    def close(self) -> None:
        """Drop the waiting bytes."""
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
    """A non-blocking descriptor as a raw file that silently drops bytes without room.

    With an ordinary file, print() would raise BlockingIOError inside the caller.
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


def lossy_text(fd: int) -> io.TextIOWrapper:
    """A non-blocking descriptor as a text file: each line is written at once, or in part lost."""
    return io.TextIOWrapper(
        io.BufferedWriter(Lossy(fd)),
        encoding="utf-8",
        errors="backslashreplace",
        line_buffering=True,
    )
