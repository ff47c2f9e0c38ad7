# SPDX-License-Identifier: GPL-2.0-only
"""What a part of a composed policy is: a policy, its options, and its CPUs."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from pyland.errors import UsageError
from pyland.loading.finder import choose
from pyland.machine import Machine
from pyland.options import Value
from pyland.policy import Policy
from pyland.topology import Topology

LAST_RESORT = "deadline"
"""The policy that takes over in a part whose own fails."""


class Part(NamedTuple):
    """A policy for some of the tasks, and the CPUs that these have."""

    policy: str | type[Policy] = LAST_RESORT
    """A class, or a name as `--policy` takes it."""
    options: Mapping[str, Value] = MappingProxyType({})
    """The policy's options by name."""
    cpus: Iterable[int] | None = None
    """Its own CPUs, where its tasks look for an idle one first; None: all."""
    spill: Iterable[int] | None = ()
    """The CPUs that its tasks may use when none of its own idles; empty: none, None: all."""
    rank: int = 0
    """A part of a higher rank goes first on a CPU that both use."""
    preempt: bool = False
    """True if its tasks that wake up may preempt those of a part with a lower rank."""
    direct: bool = True
    """False if its policy is asked also about a task that finds an idle CPU."""
    near: dict[int, int] | None = None
    """For a composed policy that sets the machine's domains itself: by CPU, the `domain_queue` in
    which a task of this part waits if it ran on that CPU last. `cpus` and `spill` are the CPUs that
    the part's policy sees, until `Composed.resize_part` is called. The domains that the part's
    policy sets then have no effect, and `rank`, `preempt` and `direct` have none either."""
    whole: bool = False
    """True if its decisions are those of the whole machine: they name its domains, and keys that
    fit those of the other parts."""
    folder: str = "/"
    """The absolute path where a module or a relative file is looked for."""

    def home(self, name: str, topology: Topology) -> int:
        """Its own CPUs that are online, as a mask; raises UsageError if there is none."""
        mask = _mask(name, "cpus", self.cpus, topology)
        if not mask:
            raise UsageError(f"part {name}: none of its CPUs is online")
        return mask

    def reach(self, name: str, topology: Topology) -> int:
        """The CPUs that its tasks may spill to, as a mask."""
        return _mask(name, "spill", self.spill, topology)

    def found(self, name: str) -> type[Policy]:
        """The class of its policy; raises UsageError."""
        if not isinstance(self.policy, str):
            return self.policy
        try:
            return choose(self.policy, folder=Path(self.folder)).policy
        except UsageError as error:
            raise UsageError(f"part {name}: {error}") from None


def construct(
    name: str, policy: type[Policy], machine: Machine, options: Mapping[str, Value]
) -> Policy:
    """The policy of a part on the part's machine; raises UsageError for its options.

    What the policy's constructor raises comes through.
    """
    if policy.uses_numpy:
        raise UsageError(f"part {name}: policy {policy.name} reads arrays; that of a part cannot")
    for option, value in options.items():
        if option not in policy.options:
            near = difflib.get_close_matches(option, policy.options, 1)
            has = ", ".join(policy.options) or "none"
            hint = f"did you mean {near[0]}?" if near else f"it has: {has}"
            raise UsageError(f"part {name}: policy {policy.name} has no option {option!r}; {hint}")
        try:
            policy.options[option].check(value)
        except ValueError as error:
            raise UsageError(f"part {name}: {error}") from None
    return policy.create(machine, **options)


def _mask(name: str, what: str, cpus: Iterable[int] | None, topology: Topology) -> int:
    online = sum(1 << cpu for cpu in topology.online)
    if cpus is None:
        return online
    mask = 0
    for cpu in cpus:
        if not 0 <= cpu < topology.nr_cpu_ids:
            most = topology.nr_cpu_ids - 1
            raise UsageError(f"part {name}: {what} has CPU {cpu}: this machine has 0 to {most}")
        mask |= 1 << cpu
    return mask & online
