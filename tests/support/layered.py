# SPDX-License-Identifier: GPL-2.0-only
"""An offline machine with layers, and tasks that are called after them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

from pyland.policies.layered.clockwork import Clockwork
from pyland.policies.layered.facts import Proc
from pyland.policies.layered.policy import Layered
from pyland.testing import OfflineMachine, OfflineTask
from pyland.topology import Topology

MS = 1_000_000
REST = {"name": "rest", "matches": [[]], "kind": {"Open": {}}}


class Affinities(Proc):
    """Answers from the tasks of a test."""

    def __init__(self) -> None:
        super().__init__()
        self.masks: dict[int, int] = {}

    def allowed_cpus(self, pid: int) -> int | None:
        return self.masks.get(pid)

    def cgroup_path(self, cgroup_id: int, pid: int) -> str | None:
        return {1: "", 2: "batch/"}.get(cgroup_id)


class Offline(Layered):
    """The policy, with that source."""

    name = "layered"
    source_class = Affinities


def layer(name: str, kind: str = "Confined", **options: Any) -> dict[str, Any]:
    if kind != "Open":
        options.setdefault("util_range", [0.4, 0.8])
    return {"name": name, "matches": [[{"CommPrefix": name}]], "kind": {kind: options}}


class Loaded:
    """A machine with layers, and hogs and sleepers that are called after them."""

    def __init__(
        self, layers: Sequence[dict[str, Any]], topology: Topology, **options: Any
    ) -> None:
        config = json.dumps([*layers, REST])
        self.machine = OfflineMachine(topology, Offline, config=config, **options)
        assert isinstance(self.machine.policy, Layered)
        self.policy: Layered = self.machine.policy
        self.work: Clockwork = self.policy._work
        self.tasks: list[OfflineTask] = []

    def add(self, name: str, number: int = 1, **keys: Any) -> list[OfflineTask]:
        made = [self.machine.add(f"{name}{n}", **keys) for n in range(number)]
        source = self.policy.source
        assert isinstance(source, Affinities)
        for task in made:
            source.masks[task.pid] = sum(1 << cpu for cpu in task.cpus)
            self.machine.wake(task)
        self.tasks += made
        return made

    def ran_on(self, tasks: Sequence[OfflineTask], ms: int = 1000) -> Counter[int]:
        """The CPUs on which these tasks are seen, over this time."""
        seen: Counter[int] = Counter()
        for _ in range(ms):
            self.machine.run(MS)
            seen.update(task.cpu for task in tasks if task.where == "running")
        return seen

    def cpus(self, index: int) -> set[int]:
        mask = self.work.sizer.cpus[index]
        return {cpu for cpu in range(mask.bit_length()) if mask >> cpu & 1}


def used(machine: OfflineMachine, tasks: Sequence[OfflineTask], ms: int) -> list[int]:
    machine.run(0)
    before = [task.total_runtime_ns for task in tasks]
    machine.run(ms * MS)
    return [task.total_runtime_ns - b for task, b in zip(tasks, before, strict=True)]
