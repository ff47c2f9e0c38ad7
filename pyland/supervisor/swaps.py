# SPDX-License-Identifier: GPL-2.0-only
"""Requested swaps, one after the other: each is tried in another process, then the worker swaps.

Policy code runs in the worker and can send anything, take orders away, and write the number that
tells the worker of an order. So only an answer with the number of the present order counts, and an
order without an answer is repeated. A worker that goes on without an answer is of no use.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from pyland.errors import UsageError
from pyland.loading.wanted import Wanted
from pyland.supervisor import messages
from pyland.supervisor.confined import ConfinedCall
from pyland.supervisor.control import Request, SwapRequest
from pyland.supervisor.orders import SwapOrder, new_number
from pyland.supervisor.trial import needs_trial
from pyland.supervisor.worker_process import WorkerProcess

WAITING_MAX = 16
REPEAT_AFTER_S = 1.0
"""Seconds without an answer until an order is repeated, if the worker has gone on meanwhile."""
REPEATED_MAX = 10
_UINT_MAX = (1 << 32) - 1


class _Swap:
    def __init__(self, request: Request, asked: SwapRequest) -> None:
        self.request, self.asked = request, asked
        self.wanted: Wanted | None = None
        self.trial: ConfinedCall | None = None
        self.order: SwapOrder | None = None
        """The order that the worker has; None before it was sent."""

    @property
    def reload(self) -> bool:
        """True if the same policy is imported again."""
        return self.asked.wanted is None


class Swaps:
    """The requested swaps of one attachment."""

    def __init__(
        self,
        worker: WorkerProcess,
        user_memory: Any,
        start_trial: Callable[[Wanted, bool], ConfinedCall],
        answer: Callable[[Request, Mapping[str, Any]], None],
    ) -> None:
        """`start_trial` begins to try a policy; `answer` sends a client the result of its swap."""
        self.done = 0
        self._worker = worker
        self._user_memory = user_memory
        self._start_trial = start_trial
        self._answer = answer
        self._swaps: list[_Swap] = []
        self.sent_s = 0.0
        """When the present order was last sent, on the monotonic clock."""
        self._sent_cycles = self._repeated = 0

    @property
    def is_at_worker(self) -> bool:
        """True if the worker has the order for a swap and has not answered yet."""
        return bool(self._swaps) and self._swaps[0].order is not None

    @property
    def wanted(self) -> Wanted | None:
        """The policy of the first swap; None if there is no swap."""
        return self._swaps[0].wanted if self._swaps else None

    def sources(self) -> list[int]:
        """The descriptors to poll for input."""
        trial = self._swaps[0].trial if self._swaps else None
        return [trial.fileno()] if trial else []

    def add(self, request: Request, asked: SwapRequest, present: Wanted) -> None:
        """Add a request; `present` is the policy that schedules."""
        if len(self._swaps) >= WAITING_MAX:
            self._answer(request, {"ok": False, "error": "too many swaps at once"})
            return
        self._swaps.append(_Swap(request, asked))
        self.go_on(present)

    def go_on(self, present: Wanted) -> None:
        """Take the first swap as far as possible without waiting."""
        while self._swaps:
            swap = self._swaps[0]
            try:
                if not self._step(swap, present):
                    return
            except UsageError as error:
                name = swap.wanted.spec if swap.wanted else present.spec
                self._refuse(str(error) if name in str(error) else f"--policy {name}: {error}")

    def _step(self, swap: _Swap, present: Wanted) -> bool:
        """Take the swap one step on; False if it has to wait. Raises UsageError if it fails."""
        if swap.order is not None:
            return False
        if swap.wanted is None:
            swap.wanted = swap.asked.wanted or present
            if needs_trial(swap.wanted):
                swap.trial = self._start_trial(swap.wanted, swap.reload)
        if swap.trial:
            if swap.trial.answer() is None:
                return False
            swap.trial = None
        order = SwapOrder(swap.wanted, new_number(), reload=swap.reload, layer=swap.asked.layer)
        if not self._send(order):
            raise UsageError("the process that schedules takes no message")
        swap.order, self._repeated = order, 0
        return False

    def _send(self, order: SwapOrder) -> bool:
        """Send the order, and tell the worker of it; False if that is not possible."""
        memory = self._user_memory
        self.sent_s, self._sent_cycles = time.monotonic(), memory.cycles
        sent = self._worker.order(order)
        # Cut to 32 bits: the policy can write any value there.
        memory.request = (memory.request + 1) & _UINT_MAX
        self._worker.hurry()
        return sent

    def look(self, now_s: float) -> bool:
        """Repeat an order without an answer; False if the worker goes on and never answers.

        A worker that is held, or that imports a policy, begins no cycle and needs no repetition.
        """
        order = self._swaps[0].order if self._swaps else None
        goes_on = self._user_memory.cycles != self._sent_cycles
        if order is None or not goes_on or now_s - self.sent_s < REPEAT_AFTER_S:
            return True
        self._repeated += 1
        self._send(order)
        return self._repeated <= REPEATED_MAX

    def swapped(self, message: messages.Swapped) -> SwapRequest | None:
        """Note that the worker has swapped; returns the new policy, None if that is not so."""
        if not self._is_answer(message):
            return None
        swap = self._swaps.pop(0)
        self.done += 1
        self._answer(
            swap.request,
            {
                "ok": True,
                "previous": message.previous,
                "policy": message.policy,
                "options": message.options,
                "pause_us": message.pause_us,
            },
        )
        return SwapRequest(swap.wanted, swap.asked.layer)

    def refused(self, message: messages.SwapRefused) -> None:
        """Note that the worker has refused the swap."""
        if self._is_answer(message):
            self._refuse(message.error)

    def _is_answer(self, message: messages.Swapped | messages.SwapRefused) -> bool:
        order = self._swaps[0].order if self._swaps else None
        return order is not None and order.number == message.order

    def close(self) -> None:
        """Refuse all swaps that still wait."""
        while self._swaps:
            self._refuse("pyland is not scheduling now")

    def _refuse(self, error: str) -> None:
        swap = self._swaps.pop(0)
        if swap.trial:
            swap.trial.close()
        self._answer(swap.request, {"ok": False, "error": error})
