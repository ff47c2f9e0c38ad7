# SPDX-License-Identifier: GPL-2.0-only
"""Tries whether a policy can be had, in a process that has no rights and no task to schedule."""

from __future__ import annotations

from pyland.engine import guard
from pyland.errors import UsageError
from pyland.loading.caller import Caller
from pyland.loading.wanted import Wanted
from pyland.machine import Machine, Slices
from pyland.policies import BUILTINS
from pyland.supervisor.confined import ConfinedCall
from pyland.topology import Topology

START_WITHIN_S = 60.0
SWAP_WITHIN_S = 20.0
"""Import and constructor have so long; a client waits for its swap for half a minute."""


class _TrialMachine(Machine):
    """The machine with nothing on it, as a constructor sees it."""

    @property
    def now_ns(self) -> int:
        return 0

    def is_idle(self, cpu: int) -> bool:
        self._check_cpu(cpu)
        return True

    def set_domain(self, cpu: int, domain: int) -> None:
        self._check_cpu(cpu)
        self._check_domain(domain)

    def set_performance(self, cpu: int, target: int) -> None:
        self._check_cpu(cpu)
        self._check_performance(target)


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
    """Import and construct the policy as `user`; what is wrong is the answer's UsageError.

    Not what schedules: that process does both once more. A policy that never comes back from
    it, or ends its process, is found here, where it costs nothing.
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
    """Only the user's own policies do."""
    return wanted.spec not in BUILTINS
