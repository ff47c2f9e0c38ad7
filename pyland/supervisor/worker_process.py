# SPDX-License-Identifier: GPL-2.0-only
"""The supervisor's handle on the worker: starts it, talks to it and ends it."""

from __future__ import annotations

import os
import pickle
import select
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import NoReturn

from pyland.engine import guard
from pyland.supervisor import descendants, messages
from pyland.supervisor.loader import LoadedScheduler
from pyland.supervisor.orders import SwapOrder, new_number
from pyland.topology import Topology

_HEARD_AT_ONCE = 32
"""The most messages that are read before the supervisor does other work."""
_KILLED_WITHIN_S = 1.0
"""Seconds to wait for a killed worker; the kernel may hold it longer (a disk, a freezer)."""
_OUTPUT_BLOCK = 4096
_LINE_MAX = 500


class WorkerProcess:
    """A running worker."""

    def __init__(self, live: Callable[[socket.socket, int], NoReturn]) -> None:
        """Fork. The child calls `live` with its end of the channel and a pipe for its output."""
        self.channel, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.output, output = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self.channel.setblocking(False)
        self.channel.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * messages.MESSAGE_MAX)
        # Ignored until the child sets its own handler: an early interrupt must not end the child.
        before = signal.signal(guard.INTERRUPT, signal.SIG_IGN)
        self.pid = os.fork()
        if self.pid == 0:
            live(other, output)
        signal.signal(guard.INTERRUPT, before)
        other.close()
        os.close(output)
        descendants.started(self.pid)
        self.pidfd = os.pidfd_open(self.pid)
        self.rings_order = ""
        """The number of the last rings; the worker's `Ready` carries it back."""
        self._scheduler: LoadedScheduler | None = None
        self._line = b""
        self.prints = True
        """True while the pipe of the policy's output is open; a closed pipe must not be polled."""
        self._reaped = False

    def give_rings(self, scheduler: LoadedScheduler, topology: Topology) -> bool:
        """Send the maps of a loaded scheduler; False if the worker is gone."""
        self._scheduler = scheduler
        sizes, fds = scheduler.ring_maps()
        self.rings_order = new_number()
        values = {"sizes": sizes, "topology": topology, "number": self.rings_order}
        order = pickle.dumps(values)
        return self._send(lambda: socket.send_fds(self.channel, [order], fds))

    def go(self) -> bool:
        """Tell the worker that the scheduler is attached; False if the worker is gone."""
        return self._send(lambda: self.channel.send(b"go"))

    def order(self, order: SwapOrder) -> bool:
        """Send an order; the worker reads it when `request` in its memory has changed."""
        return self._send(lambda: self.channel.send(order.encode()))

    def sources(self) -> list[int]:
        """The descriptors to poll for messages and output."""
        return [self.channel.fileno(), self.output] if self.prints else [self.channel.fileno()]

    def hear(self) -> Iterator[messages.WorkerMessage | None]:
        """The worker's messages, at most `_HEARD_AT_ONCE`; None for data that is no message."""
        for _ in range(_HEARD_AT_ONCE):
            try:
                data = self.channel.recv(messages.MESSAGE_MAX + 1)
            except OSError:
                return
            if not data and self._has_hung_up():
                self.signal(signal.SIGKILL)  # a worker that cannot send messages is of no use
                return
            try:
                yield messages.decode(data)
            except ValueError:
                yield None

    def printed(self) -> Iterator[str]:
        """Lines that the policy has printed, at most one block of them."""
        with suppress(OSError):
            data = os.read(self.output, _OUTPUT_BLOCK)
            self.prints = bool(data)
            *lines, self._line = (self._line + data).split(b"\n")
            if len(self._line) > _LINE_MAX or not data:
                lines, self._line = [*lines, self._line], b""
            for line in lines:
                if line:
                    yield line[:_LINE_MAX].decode(errors="replace")

    def signal(self, number: int) -> None:
        """Send a signal; no effect if the worker is gone."""
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.pidfd, number)
        self.hurry()

    def hurry(self) -> None:
        """Let the worker run as soon as possible: while no task waits, it runs once a second."""
        if self._scheduler is not None and self._scheduler.state:
            self._scheduler.state.shared.due_ns = 0

    def kill(self, spare: tuple[int, ...] = ()) -> None:
        """Kill the worker and all descendants of this process except the children in `spare`."""
        if self._reaped:
            return
        self._reaped = True
        self.signal(signal.SIGKILL)
        if not descendants.reap(self.pid, self.pidfd, _KILLED_WITHIN_S):
            spare = (*spare, self.pid)
        descendants.end_descendants(spare)
        os.close(self.pidfd)
        os.close(self.output)
        self.channel.close()

    def _has_hung_up(self) -> bool:
        poll = select.poll()
        poll.register(self.channel, 0)
        return bool(poll.poll(0))

    def _send(self, send: Callable[[], object]) -> bool:
        try:
            send()
        except OSError:
            return False
        return True
