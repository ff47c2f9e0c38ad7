# SPDX-License-Identifier: GPL-2.0-only
"""The supervisor's handle on the worker: a process that it starts, hears, asks and ends."""

from __future__ import annotations

import json
import os
import pickle
import select
import signal
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any, NoReturn

from pyland.engine import guard
from pyland.supervisor import descendants, messages
from pyland.supervisor.descendants import reap
from pyland.supervisor.loader import LoadedScheduler
from pyland.topology import Topology

_HEARD_AT_ONCE = 32
"""Messages, and blocks of output, that are taken before other things get their turn."""
_KILLED_WITHIN_S = 1.0
"""Longer takes only what the kernel does not let go (a disk, a freezer); it ends when it does."""
_OUTPUT_BLOCK = 4096
_LINE_MAX = 500


class WorkerProcess:
    """A worker that runs; `live` is what the child does, and never returns."""

    def __init__(self, live: Callable[[socket.socket, int], NoReturn]) -> None:
        """Fork. `live` gets its end of the channel, and a pipe for what policies print."""
        self.channel, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.output, output = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self.channel.setblocking(False)
        self.channel.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * messages.MESSAGE_MAX)
        # Until the child has a handler of its own: an interrupt that comes early ends nothing.
        before = signal.signal(guard.INTERRUPT, signal.SIG_IGN)
        self.pid = os.fork()
        if self.pid == 0:
            live(other, output)
        signal.signal(guard.INTERRUPT, before)
        other.close()
        os.close(output)
        self.pidfd = os.pidfd_open(self.pid)
        self._scheduler: LoadedScheduler | None = None
        self._line = b""
        self.prints = True
        """Whether its output is open: there is nothing to poll for where it is not."""
        self._reaped = False

    def give_rings(self, scheduler: LoadedScheduler, topology: Topology) -> bool:
        """Send the maps of a loaded scheduler; False when the worker is gone."""
        self._scheduler = scheduler
        sizes, fds = scheduler.ring_maps()
        order = pickle.dumps({"sizes": sizes, "topology": topology})
        return self._send(lambda: socket.send_fds(self.channel, [order], fds))

    def go(self) -> bool:
        """Tell it that the scheduler is attached."""
        return self._send(lambda: self.channel.send(b"go"))

    def ask_for_swap(self, order: Mapping[str, Any]) -> bool:
        """Send what a swap takes; it looks when `request` in its memory has changed."""
        return self._send(lambda: self.channel.send(json.dumps(order).encode()))

    def hear(self) -> Iterator[messages.WorkerMessage | None]:
        """What it has said, a bounded number at once; None for what is no message."""
        for _ in range(_HEARD_AT_ONCE):
            try:
                data = self.channel.recv(messages.MESSAGE_MAX + 1)
            except OSError:
                return
            if not data and self._has_hung_up():
                self.signal(signal.SIGKILL)  # a worker that cannot be told of is none
                return
            try:
                yield messages.decode(data)
            except ValueError:
                yield None

    def printed(self) -> Iterator[str]:
        """The lines that the policy has printed, a bounded number at once."""
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
        """Send a signal; nothing when it is gone."""
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.pidfd, number)
        self.hurry()

    def hurry(self) -> None:
        """Let it run at the next occasion: while no task waits, it has its turn once a second."""
        if self._scheduler is not None and self._scheduler.state:
            self._scheduler.state.shared.due_ns = 0

    def kill(self, spare: tuple[int, ...] = ()) -> None:
        """End it, and all that it has started but the children in `spare`."""
        if self._reaped:
            return
        self._reaped = True
        self.signal(signal.SIGKILL)
        if not reap(self.pid, self.pidfd, _KILLED_WITHIN_S):
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
