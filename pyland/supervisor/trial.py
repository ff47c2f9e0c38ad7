# SPDX-License-Identifier: GPL-2.0-only
"""Tries to import and construct a policy, in a process without rights that schedules no task."""

from __future__ import annotations

from pyland.engine import guard
from pyland.errors import UsageError
from pyland.loading.caller import Caller
from pyland.loading.wanted import Wanted
from pyland.machine import CpuState, Machine, Slices
from pyland.policies import BUILTINS
from pyland.supervisor.confined import ConfinedCall
from pyland.topology import Topology

START_WITHIN_S = 60.0
SWAP_WITHIN_S = 20.0
"""Seconds for import and constructor in a swap; the client waits 30 s for the answer."""


class _TrialMachine(Machine):
    """The machine that a constructor sees in a trial: all CPUs idle, at time 0."""

    @property
    def now_ns(self) -> int:
        return 0

    def is_idle(self, cpu: int) -> bool:
        self._check_cpu(cpu)
        return True

    def cpu(self, cpu: int) -> CpuState:
        self._check_cpu(cpu)
        return CpuState(0, 0, 0, 0, 0)

    def set_performance(self, cpu: int, target: int) -> None:
        self._check_cpu(cpu)
        self._check_performance(target)

    def part_failed(self, part: str, policy: str, error: BaseException) -> None:
        pass  # nothing is decided in a trial

    def part_replaced(self, part: str, failed: str, why: str, policy: str) -> None:
        pass


def trial(
    wanted: Wanted,
    user: Caller,
    topology: Topology,
    slices: Slices,
    *,
    reload: bool = False,
    may_start_processes: bool = False,
    within_s: float = START_WITHIN_S,
) -> ConfinedCall:
    """Start to import and construct the policy as `user`; `answer` raises UsageError on failure.

    The worker later does both again. A policy that never returns from them, or ends its process,
    is found here, where no task waits for it.
    """

    def make() -> str:
        choice = wanted.choose(reload=reload)
        try:
            choice.policy.create(_TrialMachine(topology, slices), **choice.options)
        except BaseException as error:
            raise UsageError(
                f"policy {choice.policy.name} cannot be constructed: {guard.describe(error)}"
            ) from error
        return choice.policy.name

    return ConfinedCall(make, user, may_start_processes=may_start_processes, within_s=within_s)


def needs_trial(wanted: Wanted) -> bool:
    """True if code of users may be run: the policy's own, or that of policies that layers name.

    True also for layer files that name no policy: root does not read files of users.
    """
    if wanted.spec == "layered":
        return any(_names_layers(text) for text in wanted.given)
    return wanted.spec not in BUILTINS


def _names_layers(text: str) -> bool:
    name, _, value = text.partition("=")
    return name.strip() == "config" and bool(value.strip())
