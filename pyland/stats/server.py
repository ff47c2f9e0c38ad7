# SPDX-License-Identifier: GPL-2.0-only
"""Serves many clients from one thread, whatever they do.

A client costs a bounded amount of memory: one request, and one answer that it has not read. While
it does not read its answer, nothing more is read from it. All clients together have a share of one
CPU; if they want more, they wait.
"""

from __future__ import annotations

import select
import socket
import struct
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

CLIENTS_MAX = 1024
"""The most clients at once; then the user with most of them loses the one that waits longest."""
CPU_SHARE = 0.2
"""The part of one CPU that the clients have in the long run."""

_BURST_S = 0.05
"""Seconds of CPU time that they can have at once."""
_ACCEPT_AT_ONCE = 64
_BLOCK = 1 << 16


class Session(Protocol):
    """The protocol of one connection."""

    @property
    def ends(self) -> bool:
        """True after a request after which the connection is to be closed."""

    @property
    def received_max(self) -> int:
        """The most bytes that `take` needs at once."""

    def take(self, received: bytearray) -> bytes | None:
        """Take one request from the bytes, and return the answer; None if none is complete."""

    def close(self) -> None:
        """The connection has ended."""


class _Client:
    def __init__(self, socket: socket.socket, session: Session, user: int) -> None:
        self.socket, self.session, self.user = socket, session, user
        self.received = bytearray()
        self.unsent = b""
        self.events: int = select.EPOLLIN
        self.has_left = False
        """True if it sends nothing more; it may still read answers."""


class Server:
    """Answers the clients of several listening sockets."""

    def __init__(self, *, clients_max: int = CLIENTS_MAX, cpu_share: float = CPU_SHARE) -> None:
        """No socket yet."""
        self._clients_max = clients_max
        self._cpu_share = cpu_share
        self._poll = select.epoll()
        self._listeners: dict[int, tuple[socket.socket, Callable[[], Session]]] = {}
        # In the order in which they were last active: the one that waits longest is first.
        self._clients: dict[int, _Client] = {}
        self._complete: set[int] = set()
        self._wake = -1
        self._have_s, self._paid_s = _BURST_S, time.process_time()
        self._filled_s = time.monotonic()

    def listen(self, listener: socket.socket, make: Callable[[], Session]) -> None:
        """Serve this non-blocking socket too; `make` makes the protocol of a connection."""
        self._listeners[listener.fileno()] = listener, make
        self._poll.register(listener.fileno(), select.EPOLLIN)

    def wake_at(self, fd: int) -> None:
        """Let `turn` return True when this descriptor is readable."""
        self._wake = fd
        self._poll.register(fd, select.EPOLLIN)

    def turn(self, within_s: float | None = None) -> bool:
        """Wait for clients, at most this long, and serve each once; True if it was woken."""
        timeout_s = 0.0 if self._complete else -1 if within_s is None else within_s
        ready = self._poll.poll(timeout_s)
        waiting, self._complete = self._complete, set()
        woken = False
        for fd, events in ready:
            if fd == self._wake:
                woken = True
            elif fd in self._listeners:
                self._accept(*self._listeners[fd])
            elif client := self._clients.get(fd):
                waiting.discard(fd)
                self._serve(client, events)
        for fd in waiting:
            if client := self._clients.get(fd):
                self._serve(client, 0)
        self._pay()
        return woken

    def close(self) -> None:
        """Close all connections, but not the listening sockets."""
        for client in [*self._clients.values()]:
            self._close(client)
        self._poll.close()

    def _pay(self) -> None:
        """Sleep if the clients have had more than their share."""
        now_s, used_s = time.monotonic(), time.process_time()
        self._have_s += (now_s - self._filled_s) * self._cpu_share - (used_s - self._paid_s)
        self._have_s = min(self._have_s, _BURST_S)
        self._filled_s, self._paid_s = now_s, used_s
        if self._have_s < 0:
            time.sleep(-self._have_s / self._cpu_share)

    def _accept(self, listener: socket.socket, make: Callable[[], Session]) -> None:
        for _ in range(_ACCEPT_AT_ONCE):
            try:
                connection, _ = listener.accept()
            except BlockingIOError:
                return
            except OSError:  # the client has left, or too many files are open
                time.sleep(0.01)
                return
            connection.setblocking(False)
            if len(self._clients) >= self._clients_max:
                self._make_room()
            client = _Client(connection, make(), _user_of(connection))
            self._clients[connection.fileno()] = client
            self._poll.register(connection.fileno(), client.events)

    def _make_room(self) -> None:
        clients = self._clients.values()
        ((most, _),) = Counter(client.user for client in clients).most_common(1)
        self._close(next(client for client in clients if client.user == most))

    def _serve(self, client: _Client, events: int) -> None:
        fd = client.socket.fileno()
        self._clients[fd] = self._clients.pop(fd)
        try:
            if client.unsent:
                self._send(client)
            if not client.unsent and not client.session.ends:
                self._answer(client, events)
            if not client.unsent and client.session.ends:
                self._close(client)
        except OSError:  # the client has left
            self._close(client)

    def _answer(self, client: _Client, events: int) -> None:
        """Read what came, and answer the first request; raises OSError if the client has left."""
        if events & ~select.EPOLLOUT and not client.has_left:
            client.has_left = not self._receive(client)
        answer = client.session.take(client.received)
        if answer is not None:
            client.unsent = answer
            self._send(client)
            if not client.unsent and (client.received or client.has_left):
                self._complete.add(client.socket.fileno())
        elif client.has_left:
            self._close(client)

    def _receive(self, client: _Client) -> bool:
        """Read what came, as far as there is room; False if nothing more will come."""
        room = client.session.received_max - len(client.received)
        if room <= 0:
            return True
        try:
            data = client.socket.recv(min(room, _BLOCK))
        except BlockingIOError:
            return True
        client.received += data
        return bool(data)

    def _send(self, client: _Client) -> None:
        """Send what the client takes now; raises OSError if it has left."""
        with suppress(BlockingIOError):
            while client.unsent:
                sent = client.socket.send(client.unsent, socket.MSG_NOSIGNAL)
                client.unsent = client.unsent[sent:]
        events = select.EPOLLOUT if client.unsent else select.EPOLLIN
        if events != client.events:
            client.events = events
            self._poll.modify(client.socket.fileno(), events)

    def _close(self, client: _Client) -> None:
        fd = client.socket.fileno()
        if self._clients.pop(fd, None):
            client.session.close()
        self._complete.discard(fd)
        with suppress(OSError):
            self._poll.unregister(fd)
        client.socket.close()


def _user_of(connection: socket.socket) -> int:
    """The user of the client; -1 for all clients over TCP."""
    if connection.family != socket.AF_UNIX:
        return -1
    size = struct.calcsize("3i")
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
    return int(struct.unpack("3i", credentials)[1])
