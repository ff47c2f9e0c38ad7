# SPDX-License-Identifier: GPL-2.0-only
"""Swaps that were asked for: each is tried aside, then made by the worker, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from pyland.errors import UsageError
from pyland.loading.wanted import Wanted
from pyland.supervisor import messages
from pyland.supervisor.confined import ConfinedCall
from pyland.supervisor.control import Request, SwapRequest
from pyland.supervisor.trial import needs_trial
from pyland.supervisor.worker_process import WorkerProcess

WAITING_MAX = 16


@dataclass(eq=False)
class _Swap:
    request: Request
    asked: SwapRequest
    wanted: Wanted | None = None
    trial: ConfinedCall | None = None
    is_at_worker: bool = False

    @property
    def reload(self) -> bool:
        """Is the same policy imported anew?"""
        return self.asked.wanted is None


class Swaps:
    """The swaps of one attachment."""

    def __init__(
        self,
        worker: WorkerProcess,
        user_memory: Any,
        start_trial: Callable[[Wanted, bool], ConfinedCall],
        answer: Callable[[Request, Mapping[str, Any]], None],
    ) -> None:
        """`start_trial` tries a policy; `answer` sends a client what came of its swap."""
        self.done = 0
        self._worker = worker
        self._user_memory = user_memory
        self._start_trial = start_trial
        self._answer = answer
        self._swaps: list[_Swap] = []

    @property
    def is_at_worker(self) -> bool:
        """Is the worker about to take over another policy?"""
        return bool(self._swaps) and self._swaps[0].is_at_worker

    @property
    def wanted(self) -> Wanted | None:
        """The policy that is being tried or taken over."""
        return self._swaps[0].wanted if self._swaps else None

    def sources(self) -> list[int]:
        """The descriptors to poll for input."""
        trial = self._swaps[0].trial if self._swaps else None
        return [trial.fileno()] if trial else []

    def add(self, request: Request, asked: SwapRequest, present: Wanted) -> None:
        """Take a request; `present` is the policy that schedules."""
        if len(self._swaps) >= WAITING_MAX:
            self._answer(request, {"ok": False, "error": "too many swaps at once"})
            return
        self._swaps.append(_Swap(request, asked))
        self.go_on(present)

    def go_on(self, present: Wanted) -> None:
        """Do what can be done now for the first one."""
        while self._swaps:
            swap = self._swaps[0]
            try:
                if not self._step(swap, present):
                    return
            except UsageError as error:
                name = swap.wanted.spec if swap.wanted else present.spec
                self._refuse(str(error) if name in str(error) else f"--policy {name}: {error}")

    def _step(self, swap: _Swap, present: Wanted) -> bool:
        """One step; False when it waits. Raises UsageError when it is not to be."""
        if swap.is_at_worker:
            return False
        if swap.wanted is None:
            swap.wanted = swap.asked.wanted or present
            if needs_trial(swap.wanted):
                swap.trial = self._start_trial(swap.wanted, swap.reload)
        if swap.trial:
            if swap.trial.answer() is None:
                return False
            swap.trial = None
        if not self._worker.ask_for_swap({"reload": swap.reload, "wanted": asdict(swap.wanted)}):
            raise UsageError("the process that schedules takes no message")
        self._user_memory.request += 1
        self._worker.hurry()
        swap.is_at_worker = True
        return False

    def swapped(self, message: messages.Swapped) -> Wanted | None:
        """The worker has done it; what was wanted, None when nothing was asked for."""
        if not self.is_at_worker:
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
        return swap.wanted

    def refused(self, error: str) -> None:
        """The worker has not done it."""
        if self.is_at_worker:
            self._refuse(error)

    def close(self) -> None:
        """Refuse all that is left."""
        while self._swaps:
            self._refuse("pyland is not scheduling now")

    def _refuse(self, error: str) -> None:
        swap = self._swaps.pop(0)
        if swap.trial:
            swap.trial.close()
        self._answer(swap.request, {"ok": False, "error": error})
