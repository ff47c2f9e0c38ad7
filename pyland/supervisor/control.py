# SPDX-License-Identifier: GPL-2.0-only
"""The control socket: the server in the running pyland."""

from __future__ import annotations

import fcntl
import os
import socket
import stat
import struct
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from pyland.errors import UsageError
from pyland.host.listener import listen_at
from pyland.supervisor import asking
from pyland.supervisor.asking import ask, encode_line
from pyland.supervisor.protocol import StatusRequest, SwapRequest, parse_request

__all__ = ["PATH", "ControlServer", "Request", "StatusRequest", "SwapRequest", "ask"]

PATH = Path(asking.PATH)

LINE_MAX = 4096
"""The most bytes of a request, without its newline."""
CONNECTIONS_MAX = 16
REQUEST_WITHIN_S = 5.0
"""Seconds from the connection to the end of the request's line."""
ENDS_WITHIN_S = 5.0
"""Seconds to wait for another pyland, which may be about to end."""

_ACCEPT_AT_ONCE = 64


class _Connection:
    def __init__(self, socket: socket.socket, since_s: float) -> None:
        self.socket, self.since_s = socket, since_s
        self.data = b""
        self.asked = False


class Request:
    """A complete and valid request, to be answered once."""

    def __init__(
        self, what: StatusRequest | SwapRequest, connection: _Connection | None = None
    ) -> None:
        """`connection` is where the answer goes; None for a request of pyland's own."""
        self.what, self.connection = what, connection


class ControlServer:
    """The socket of the running pyland, served from the supervisor's loop.

    After the start no method blocks, and no method raises because of a client. A connection
    that breaks a rule gets one line that says so, and is closed.
    """

    def __init__(self, *, owner: int, path: Path = PATH) -> None:
        """Listen at `path`; only root and the user `owner` may connect.

        Raises UsageError if another pyland listens there, or if the folder is not safe.
        """
        self._owner = owner
        self._path = path
        self._connections: dict[int, _Connection] = {}
        self._requests: list[Request] = []
        self._lock = _take_folder(path)
        # A file that is there is of an earlier pyland: this one has the lock.
        given = owner if os.geteuid() == 0 else -1
        try:
            self._listener, _, _ = listen_at(path, mode=0o600, owner=given, backlog=CONNECTIONS_MAX)
        except OSError as error:
            os.close(self._lock)
            raise UsageError(f"the control socket {path}: {error.strerror or error}") from None

    def sources(self) -> list[int]:
        """The descriptors to poll for input; every other method may change them."""
        # A client that has sent its request only waits for the answer: nothing more is read.
        waiting = [fd for fd, one in self._connections.items() if not one.asked]
        return [self._listener.fileno(), *waiting]

    def handle(self, fd: int, now_s: float) -> None:
        """Read what arrived at the descriptor; a closed descriptor is ignored."""
        if fd == self._listener.fileno():
            for _ in range(_ACCEPT_AT_ONCE):
                if not self._accept(now_s):
                    return
        elif (connection := self._connections.get(fd)) and not connection.asked:
            self._read(connection)

    def expire(self, now_s: float) -> None:
        """Refuse the clients that sent no request within `REQUEST_WITHIN_S`."""
        for connection in list(self._connections.values()):
            if not connection.asked and now_s - connection.since_s > REQUEST_WITHIN_S:
                self._refuse(connection, f"no request within {REQUEST_WITHIN_S:g} s")

    def requests(self) -> Iterator[Request]:
        """The requests that have arrived; each is returned once."""
        while self._requests:
            yield self._requests.pop(0)

    def answer(self, request: Request, answer: Mapping[str, Any]) -> None:
        """Send the answer and close the connection; a client that does not read loses it."""
        if request.connection is not None:
            self._finish(request.connection, answer)

    def close(self) -> None:
        """Stop listening, and remove the socket's file."""
        with suppress(OSError):
            self._path.unlink()
        self.abandon()

    def abandon(self) -> None:
        """Close the descriptors, but keep the socket's file."""
        for connection in self._connections.values():
            connection.socket.close()
        self._connections.clear()
        self._listener.close()
        os.close(self._lock)

    def _accept(self, now_s: float) -> bool:
        try:
            client, _ = self._listener.accept()
        except OSError:  # no client waits, or too many files are open
            return False
        client.setblocking(False)
        connection = _Connection(client, now_s)
        if _user_of(client) not in (0, self._owner):
            self._refuse(connection, asking.ONLY)
            return True
        if len(self._connections) >= CONNECTIONS_MAX:
            idle = [one for one in self._connections.values() if not one.asked]
            # The oldest connection without a request makes room for the new one.
            self._refuse(idle[0] if idle else connection, f"more than {CONNECTIONS_MAX} clients")
            if not idle:
                return True
        self._connections[client.fileno()] = connection
        return True

    def _read(self, connection: _Connection) -> None:
        try:
            data = connection.socket.recv(LINE_MAX + 1 - len(connection.data))
        except BlockingIOError:
            return
        except OSError:
            self._close(connection)
            return
        connection.data += data
        line, end, _ = connection.data.partition(b"\n")
        if not end:
            if len(line) > LINE_MAX:
                self._refuse(connection, f"the request is longer than {LINE_MAX} bytes")
            elif not data:
                self._refuse(connection, "the request has no end of line")
            return
        try:
            request = Request(parse_request(line), connection)
        except ValueError as error:
            self._refuse(connection, str(error))
            return
        connection.asked, connection.data = True, b""
        self._requests.append(request)

    def _refuse(self, connection: _Connection, error: str) -> None:
        self._finish(connection, {"ok": False, "error": error})

    def _finish(self, connection: _Connection, answer: Mapping[str, Any]) -> None:
        if connection.socket.fileno() < 0:
            return
        # If the socket's buffer has no room, the answer is cut: pyland waits for no client.
        with suppress(OSError):
            connection.socket.send(encode_line(answer), socket.MSG_NOSIGNAL)
        self._close(connection)

    def _close(self, connection: _Connection) -> None:
        self._connections.pop(connection.socket.fileno(), None)
        connection.socket.close()


def _user_of(client: socket.socket) -> int:
    credentials = client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return int(struct.unpack("3i", credentials)[1])


def _take_folder(path: Path) -> int:
    """The descriptor of a lock in the socket's folder; makes the folder. Raises UsageError.

    This process holds the lock until it ends. Forked children do not inherit the lock, so a
    child that lives longer does not look like a running pyland.
    """
    try:
        with suppress(FileExistsError):
            path.parent.mkdir(mode=0o755)
        # No link is followed, and the descriptor stays at this folder if the path changes.
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            _check_folder(folder, path.parent)
            lock = os.open(
                path.with_suffix(".lock").name,
                os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC,
                0o600,
                dir_fd=folder,
            )
        finally:
            os.close(folder)
    except OSError as error:
        raise UsageError(f"the control socket's folder {path.parent}: {error.strerror}") from None
    until_s = time.monotonic() + ENDS_WITHIN_S
    while True:
        try:
            fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            if time.monotonic() > until_s:
                os.close(lock)
                raise UsageError(f"another pyland runs here, and listens at {path}") from None
            time.sleep(0.02)
        else:
            break
    return lock


def _check_folder(folder: int, path: Path) -> None:
    found = os.fstat(folder)
    if found.st_uid not in (0, os.geteuid()):
        raise UsageError(f"{path} belongs to user {found.st_uid}: it must be root's")
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise UsageError(f"{path} can be changed by others: run `chmod go-w` on it")
    if found.st_uid == os.geteuid():
        os.fchmod(folder, 0o755)  # the umask may have removed bits
