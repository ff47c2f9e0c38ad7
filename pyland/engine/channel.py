# SPDX-License-Identifier: GPL-2.0-only
"""The worker's end of the socket to the supervisor.

The policy's code has this socket, too: it may fill it, take an order out of it, or change its
flags. So no method depends on the flags or waits for room without a limit, and an order that is
repeated is answered again.
"""

from __future__ import annotations

import pickle
import select
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from pyland.supervisor import messages, orders
from pyland.supervisor.messages import Swapped, SwapRefused, WorkerMessage
from pyland.supervisor.orders import SwapOrder

ORDER_MAX = 1 << 20
"""The most bytes of a message to the worker; the topology of 4,000 CPUs takes a fifth."""

_ROOM_S = 2.0
"""Seconds that `deliver` waits for room: the supervisor reads some messages each second."""
_TRY_AGAIN_S = 0.005
"""A poll finds room only if three quarters of the buffer are free: so often try without a poll."""


class Channel:
    """Sends messages to the supervisor, and receives its orders."""

    def __init__(self, socket: socket.socket) -> None:
        """`socket` is a SOCK_SEQPACKET socket to the supervisor."""
        self._socket = socket
        self._answer: Swapped | SwapRefused | None = None

    def fileno(self) -> int:
        """The socket's descriptor."""
        return self._socket.fileno()

    def tell(self, message: WorkerMessage) -> None:
        """Send a message; drop it if there is no room."""
        with suppress(OSError):
            self._socket.send(messages.encode(message), socket.MSG_DONTWAIT)

    def deliver(self, message: WorkerMessage) -> None:
        """Send a message; drop it only if there is no room for `_ROOM_S`."""
        data = messages.encode(message)
        until_s = time.monotonic() + _ROOM_S
        with suppress(OSError):
            while True:
                with suppress(BlockingIOError):
                    self._socket.send(data, socket.MSG_DONTWAIT)
                    return
                if time.monotonic() > until_s:
                    return
                self._wait(select.POLLOUT, _TRY_AGAIN_S)

    def answer(self, answer: Swapped | SwapRefused) -> None:
        """Deliver the answer to an order, and keep it in case the order is repeated."""
        self._answer = answer
        self.deliver(answer)

    def orders(self) -> Iterator[SwapOrder]:
        """The orders that have come and have no answer yet; answers a repeated order again."""
        while True:
            try:
                # The rings of another attachment come with descriptors: `next_rings` takes them.
                if self._socket.recv(1, socket.MSG_DONTWAIT | socket.MSG_PEEK) != b"{":
                    return
                data = self._socket.recv(ORDER_MAX, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            if (order := self._unanswered(data)) is not None:
                yield order

    def next_rings(self) -> tuple[Mapping[str, Any], list[int]] | None:
        """Wait for the next message with descriptors; None if the supervisor is gone.

        Orders that come before it are refused.
        """
        while True:
            self._wait(select.POLLIN)
            data, descriptors, *_ = socket.recv_fds(self._socket, ORDER_MAX, 5)
            if not data:
                return None
            if descriptors:
                # The message is from root, so it can be trusted; messages.py checks the others.
                return pickle.loads(data), descriptors
            if (order := self._unanswered(data)) is not None:
                self.answer(SwapRefused(order.number, "pyland is not scheduling now"))

    def wait_for_go(self) -> bool:
        """Wait until the supervisor has attached the scheduler; False if it is gone."""
        self._wait(select.POLLIN)
        return bool(self._socket.recv(16))

    def _unanswered(self, data: bytes) -> SwapOrder | None:
        """The order in these bytes. If it was answered before, answers it again; returns None."""
        order = orders.decode(data)
        if self._answer is None or self._answer.order != order.number:
            return order
        self.answer(self._answer)
        return None

    def _wait(self, event: int, within_s: float | None = None) -> None:
        """Wait until the socket is ready, or for this time."""
        poll = select.poll()
        poll.register(self._socket, event)
        poll.poll(None if within_s is None else within_s * 1000)
