# SPDX-License-Identifier: GPL-2.0-only
"""Files with the kinds of layers that users of scx_layered have, offline: every run is looked at.

Eight CPUs with siblings in two nodes: layers take two at a time. The loads run for three seconds;
then some of their tasks end, and two more seconds pass.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from typing import Any, NamedTuple

import pytest

from pyland.testing import OfflineMachine, OfflineTask, make_topology
from pyland.testing.cpus import Cpu
from tests.support.layered import MS, Offline

_SETTLED_MS, _END_MS = 3_000, 5_000
_TAKES_MS = 60
"""A task that runs leaves a CPU that its layer has lost when its slice ends."""


class Case(NamedTuple):
    """A file, its load (name, number, whether it ends, fields), and the sizes by hand."""

    layers: list[dict[str, Any]]
    load: list[tuple[str, int, bool, dict[str, Any]]]
    busy: dict[str, int]
    after: dict[str, int]


def one(name: str, kind: str, *alternatives: dict[str, Any], **options: Any) -> dict[str, Any]:
    return {"name": name, "matches": [[each] for each in alternatives], "kind": {kind: options}}


def last(name: str, kind: str, **options: Any) -> dict[str, Any]:
    return {"name": name, "matches": [[]], "kind": {kind: options}}


def naps(runs_us: int, sleeps_us: int) -> dict[str, Any]:
    return {"runs_ns": runs_us * 1_000, "sleeps_ns": sleeps_us * 1_000}


SPREAD = {"cpus_range_frac": [0.25, 0.25], "min_exec_us": 100, "util_range": [0.8, 0.9]}
RANDOM: dict[str, Any] = {"growth_algo": "RandomTopo", "util_range": [0.4, 0.85]}
CASES = {
    "fractions of the CPUs": Case(
        [
            one("first", "Grouped", {"PcommPrefix": "yes"}, {"PcommPrefix": "top"},
                cpus_range_frac=[0.25, 0.5], protected=True, **RANDOM),
            one("second", "Grouped", {"PcommPrefix": "stress"}, cpus_range=[2, 2],
                protected=True, **RANDOM),
            last("rest", "Open", growth_algo="RandomTopo"),
        ],
        [("yes", 6, True, {}), ("stress", 4, False, {}), ("hog", 4, False, {})],
        {"first": 4, "second": 2, "rest": 2},
        {"first": 2, "second": 2, "rest": 4},
    ),
    "all but one name": Case(
        [
            one("not", "Grouped", {"CommPrefixExclude": "stress"}, cpus_range=[6, 6],
                util_range=[0.01, 0.99], growth_algo="RandomTopo", protected=True),
            last("stress", "Open", growth_algo="RandomTopo"),
        ],
        [("stress", 6, False, {}), ("other", 8, True, {})],
        {"not": 6, "stress": 2},
        {"not": 6, "stress": 2},
    ),
    "spread over nodes": Case(
        [
            one("back", "Confined", {"CommPrefix": "stress-"}, growth_algo="NodeSpreadReverse",
                prev_over_idle_core=True, **SPREAD),
            one("forth", "Confined", {"CommPrefix": "stress"}, growth_algo="NodeSpread", **SPREAD),
            last("rest", "Open", min_exec_us=100),
        ],
        [("stress-a", 3, False, {}), ("stressed", 3, False, {}), ("rest", 6, True, {})],
        {"back": 2, "forth": 2, "rest": 4},
        {"back": 2, "forth": 2, "rest": 4},
    ),
    "joined by a command": Case(
        [
            one("cmd", "Confined", {"CmdJoin": "test"}, util_range=[0.4, 0.9]),
            last("rest", "Grouped", util_range=[0.05, 0.6]),
        ],
        [("\x10\\\x01test", 4, True, {}), ("rest", 6, False, {})],
        {"cmd": 4, "rest": 4},
        {"cmd": 0, "rest": 8},
    ),
    "by average runtime": Case(
        [
            one("short", "Confined", {"AvgRuntime": [0, 100]}, protected=True, slice_us=100_000,
                util_range=[0.01, 0.99], cpus_range=[2, 2], placement="Floating"),
            one("mid", "Confined", {"AvgRuntime": [100, 10_000]}, protected=True,
                util_range=[0.01, 0.99], cpus_range=[2, 2], placement="Sticky"),
            last("rest", "Grouped", util_range=[0.05, 0.6]),
        ],
        [("s", 2, False, naps(50, 2_000)), ("m", 3, False, naps(3_000, 3_000)),
         ("hog", 6, False, {})],
        {"short": 2, "mid": 2, "rest": 4},
        {"short": 2, "mid": 2, "rest": 4},
    ),
    "two users": Case(
        [
            one("user", "Grouped", {"UIDEquals": 12345}, util_range=[0.05, 0.6], slice_us=5_000,
                preempt=True, preempt_first=True, perf=1024),
            last("normal", "Confined", util_range=[0.25, 0.6], slice_us=4_000, perf=512),
        ],
        [("mine", 6, True, {"uid": 12345}), ("nap", 2, False, {"uid": 12345, **naps(900, 9_300)}),
         ("hog", 6, False, {})],
        {"user": 4, "normal": 4},
        {"user": 2, "normal": 6},
    ),
}  # fmt: skip


class Traced(OfflineMachine):
    """Keeps the time, the CPU and the task of every run, and the layers' CPUs."""

    def __init__(self, *values: Any, **options: Any) -> None:
        self.runs: list[tuple[int, int, int, int]] = []
        self._began: dict[int, int] = {}
        super().__init__(*values, **options)

    def _start(self, cpu: Cpu, task: OfflineTask) -> None:
        self._began[cpu.number] = self.now_ns
        super()._start(cpu, task)

    def _stop(self, cpu: Cpu) -> None:
        assert cpu.task
        run = self._began.pop(cpu.number), self.now_ns, cpu.number, cpu.task.pid
        super()._stop(cpu)
        self.runs.append(run)


@pytest.mark.parametrize("name", CASES)
def test_layers_keep_what_their_files_promise(name: str) -> None:
    """Confined layers stay at home, protected CPUs are untouched, sizes follow in a second."""
    case = CASES[name]
    topology = make_topology(8, nodes=2, threads=2)
    config = json.dumps(case.layers)
    machine = Traced(topology, Offline, config=config, layer_refresh_ms_avgruntime=100)
    policy = machine.policy
    assert isinstance(policy, Offline)
    tasks = [
        (machine.add(comm, **fields), ends)
        for comm, number, ends, fields in case.load
        for _ in range(number)
    ]
    for task, _ in tasks:
        machine.wake(task)
    times: list[int] = []
    masks: list[tuple[int, ...]] = []
    layer_of: dict[int, int] = {}

    def follow(until_ms: int) -> None:
        while machine.now_ns < start_ns + until_ms * MS:
            machine.run(10 * MS)
            times.append(machine.now_ns)
            masks.append(tuple(policy._work.sizer.cpus))

    def sizes() -> dict[str, int]:
        return {
            layer["name"]: mask.bit_count()
            for layer, mask in zip(case.layers, masks[-1], strict=True)
        }

    start_ns = machine.now_ns
    follow(1_000)
    assert sizes() == case.busy
    follow(_SETTLED_MS)
    layer_of.update((pid, known.layer) for pid, known in policy.membership.tasks.items())
    for task, ends in tasks:
        if ends:
            machine.exit(task)
    follow(_SETTLED_MS + 1_000)
    assert sizes() == case.after
    follow(_END_MS)

    def had(index: int, begin_ns: int, end_ns: int) -> list[int]:
        first = max(bisect_right(times, begin_ns) - 1, 0)
        return [one[index] for one in masks[first : bisect_right(times, end_ns) + 1]]

    kinds = [next(iter(layer["kind"].items())) for layer in case.layers]
    used_ns = [0] * len(kinds)
    for begin_ns, end_ns, cpu, pid in machine.runs:
        if begin_ns < start_ns + 1_000 * MS:
            continue
        mine = layer_of[pid]
        used_ns[mine] += end_ns - begin_ns
        for index, (kind, options) in enumerate(kinds):
            near = had(index, begin_ns - _TAKES_MS * MS, end_ns)
            if index == mine and kind == "Confined":
                assert any(mask >> cpu & 1 for mask in near), (pid, begin_ns, cpu)
            elif index != mine and options.get("protected"):
                assert not all(mask >> cpu & 1 for mask in near), (pid, begin_ns, cpu)
    assert min(used_ns) > 0, "a layer did not run at all"
