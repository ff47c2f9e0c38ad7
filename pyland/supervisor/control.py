# SPDX-License-Identifier: GPL-2.0-only
"""The control socket's two ends: the running pyland's, and that of who asks it."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import stat
import struct
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pyland.errors import UsageError
from pyland.supervisor.protocol import StatusRequest, SwapRequest, encode_line, parse_request

__all__ = ["PATH", "ControlServer", "Request", "StatusRequest", "SwapRequest", "ask"]

PATH = Path("/run/pyland/control.sock")

LINE_MAX = 4096
"""Bytes of a request, without the end of the line."""
CONNECTIONS_MAX = 16
REQUEST_WITHIN_S = 5.0
"""From the connection to the end of the line."""
ANSWER_MAX = 1 << 20
"""Bytes of an answer that a client takes."""
ENDS_WITHIN_S = 5.0
"""A pyland that has been told to end is gone by then."""

_ACCEPT_AT_ONCE = 64
_ONLY = "only root and the user who started pyland may ask it"


@dataclass(eq=False)
class _Connection:
    socket: socket.socket
    since_s: float
    data: bytes = b""
    asked: bool = False


@dataclass(frozen=True, eq=False)
class Request:
    """A complete and valid request, to be answered once."""

    what: StatusRequest | SwapRequest
    connection: _Connection = field(repr=False)


class ControlServer:
    """The socket of the running pyland, to be served from a loop that never waits for it.

    Nothing here blocks, and no client's misbehaviour raises: a connection that breaks a
    rule gets one line that says so, and is closed.
    """

    def __init__(self, *, owner: int, path: Path = PATH) -> None:
        """Listen; `owner` is the user who is admitted besides root.

        Raises UsageError when another pyland does, or the folder is not safe.
        """
        self._owner = owner
        self._path = path
        self._connections: dict[int, _Connection] = {}
        self._requests: list[Request] = []
        self._lock = _take_folder(path)
        self._listener = socket.socket(
            socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
        )
        try:
            with suppress(FileNotFoundError):
                path.unlink()  # whoever held the lock before is gone
            self._listener.bind(str(path))
            # Before it listens, nobody can connect.
            path.chmod(0o600)
            if os.geteuid() == 0:
                os.chown(path, owner, -1, follow_symlinks=False)
            self._listener.listen(CONNECTIONS_MAX)
        except OSError as error:
            self.abandon()
            raise UsageError(f"the control socket {path}: {error.strerror or error}") from None

    def sources(self) -> list[int]:
        """The descriptors to poll for input; different after each other call."""
        # Who has asked waits for the answer, and is not listened to.
        waiting = [fd for fd, one in self._connections.items() if not one.asked]
        return [self._listener.fileno(), *waiting]

    def handle(self, fd: int, now_s: float) -> None:
        """Take what arrived at a descriptor; one that is closed by now does no harm."""
        if fd == self._listener.fileno():
            for _ in range(_ACCEPT_AT_ONCE):
                if not self._accept(now_s):
                    return
        elif (connection := self._connections.get(fd)) and not connection.asked:
            self._read(connection)

    def expire(self, now_s: float) -> None:
        """Close the connections that took too long to ask."""
        for connection in list(self._connections.values()):
            if not connection.asked and now_s - connection.since_s > REQUEST_WITHIN_S:
                self._refuse(connection, f"no request within {REQUEST_WITHIN_S:g} s")

    def requests(self) -> Iterator[Request]:
        """The requests that came in, each once."""
        while self._requests:
            yield self._requests.pop(0)

    def answer(self, request: Request, answer: Mapping[str, Any]) -> None:
        """Send the answer and close; a client that is gone or takes nothing loses it."""
        self._finish(request.connection, answer)

    def close(self) -> None:
        """Stop to listen, and remove the socket's file."""
        with suppress(OSError):
            self._path.unlink()
        self.abandon()

    def abandon(self) -> None:
        """Close the descriptors only, as a forked child does."""
        for connection in self._connections.values():
            connection.socket.close()
        self._connections.clear()
        self._listener.close()
        os.close(self._lock)

    def _accept(self, now_s: float) -> bool:
        try:
            client, _ = self._listener.accept()
        except OSError:  # nobody is there, or there are too many open files
            return False
        client.setblocking(False)
        connection = _Connection(client, now_s)
        if _user_of(client) not in (0, self._owner):
            self._refuse(connection, _ONLY)
            return True
        if len(self._connections) >= CONNECTIONS_MAX:
            idle = [one for one in self._connections.values() if not one.asked]
            # The oldest idle one makes room: it has had its time to ask.
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
        # What does not fit into the socket's buffer at once is cut: nobody waits for a reader.
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
    """Make the socket's folder, and hold a lock in it for as long as this process lives.

    The descriptor of the lock; raises UsageError. It is not inherited by forked children,
    so that one of them that lives on is not taken for a running pyland.
    """
    try:
        with suppress(FileExistsError):
            path.parent.mkdir(mode=0o755)
        # Not through a link, and from here on it is this very folder.
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
        os.fchmod(folder, 0o755)  # whatever the umask was


def ask(request: Mapping[str, Any], path: Path = PATH, timeout_s: float = 30.0) -> dict[str, Any]:
    """What the running pyland answers, within `timeout_s`; raises UsageError if nothing."""
    until_s = time.monotonic() + timeout_s
    data = b""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        try:
            server.settimeout(timeout_s)
            server.connect(str(path))
            # Who refuses may do so before it has read everything.
            with suppress(BrokenPipeError, ConnectionResetError):
                server.sendall(encode_line(request))
            while not data.endswith(b"\n") and len(data) < ANSWER_MAX:
                server.settimeout(max(until_s - time.monotonic(), 0.001))
                more = server.recv(1 << 16)
                if not more:
                    break
                data += more
        except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError):
            raise UsageError(f"pyland does not run here: nobody listens at {path}") from None
        except PermissionError:
            raise UsageError(f"not allowed: {_ONLY}") from None
        except TimeoutError:
            raise UsageError(f"pyland gave no answer within {timeout_s:g} s") from None
        except BlockingIOError:
            raise UsageError("pyland has more clients than it serves at once; try again") from None
        except OSError as error:
            raise UsageError(f"the control socket {path}: {error.strerror or error}") from None
    try:
        answer = json.loads(data)
    except ValueError:
        answer = None
    if not isinstance(answer, dict) or not isinstance(answer.get("ok"), bool):
        raise UsageError("pyland ended the connection without an answer") from None
    return answer
