# SPDX-License-Identifier: GPL-2.0-only
"""What layers say of a task's previous CPU and of tasks that yield, on eight CPUs with SMT."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from tests.kernel.groups import cpu_ns
from tests.kernel.harness import Record
from tests.kernel.running import Running
from tests.kernel.turns import Shared
from tools.load.programs import Crowd, Hogs, Sleeper

NR_CPUS = 8
SIBLING = 1
"""The other CPU of the core of CPU 0."""

pytestmark = [
    pytest.mark.many,
    pytest.mark.skipif(os.cpu_count() != NR_CPUS, reason="needs a machine with eight CPUs"),
]


def _layer(name: str, **options: object) -> dict[str, Any]:
    return {"name": name, "matches": [[{"CommPrefix": name}]], "kind": {"Open": options}}


def _config(*layers: dict[str, Any]) -> str:
    rest = {"name": "rest", "matches": [[]], "kind": {"Open": {}}}
    return f"config={json.dumps([*layers, rest])}"


def _pin(pid: int, cpus: Iterable[int]) -> None:
    """Set the affinity of all threads of a process."""
    for thread in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(thread.name), set(cpus))


def _cpus_after_cpu_0(name: str, hog_cpu: int) -> set[int]:
    """The CPUs that a sleeper of this name used, which ran on CPU 0 before; a hog has one CPU."""
    with Hogs(600, [0], cpu=hog_cpu), Sleeper(600, alias=name, sleep_us=5_000) as sleeper:
        _pin(sleeper.pid, [0])
        time.sleep(0.3)
        _pin(sleeper.pid, range(NR_CPUS))
        with Running() as running:
            time.sleep(0.4)
        return running.cpus_of(sleeper.pid)


def test_layers_say_which_cpu_a_task_looks_for(shared: Shared, record: Record) -> None:
    """A hog has the previous CPU of a sleeper, or that CPU's sibling, while six CPUs idle."""
    layers = [
        _layer("previous", prev_over_idle_core=True),
        _layer("sticky", placement="Sticky"),
        _layer("first", preempt=True, preempt_first=True),
        _layer("preempting", preempt=True),
    ]
    with shared.turn("layered", _config(*layers)) as turn:
        beside = {name: _cpus_after_cpu_0(name, SIBLING) for name in ("previous", "usual")}
        names = ("sticky", "first", "preempting", "usual")
        on_it = {name: _cpus_after_cpu_0(name, 0) for name in names}
    record(beside=str(beside), on_it=str(on_it), totals=dict(turn.totals.counts))
    assert beside["previous"] == on_it["sticky"] == on_it["first"] == {0}
    for others in (beside["usual"], on_it["preempting"], on_it["usual"]):
        assert others - {0}, "the task stays although a whole core idles"


@pytest.mark.parametrize(("ignored", "least", "most"), [(1.0, 0.4, 0.6), (0.5, 0.0, 0.05)])
def test_layers_say_what_a_yield_costs(
    ignored: float, least: float, most: float, shared: Shared, record: Record
) -> None:
    """A task that yields every 50 us shares a CPU with a hog; its slice is 5 ms."""
    config = _config(_layer("crowd", yield_ignore=ignored, slice_us=5000))
    with shared.turn("layered", config) as turn, Crowd(600, 1) as crowd:
        _pin(crowd.pid, [2])
        with Hogs(600, [0], cpu=2) as hogs:
            time.sleep(0.3)
            threads = [int(thread.name) for thread in Path(f"/proc/{crowd.pid}/task").iterdir()]
            before, hog_before = sum(map(cpu_ns, threads)), cpu_ns(hogs.pids[0])
            time.sleep(1)
            yields_ns = sum(map(cpu_ns, threads)) - before
            part = yields_ns / (yields_ns + cpu_ns(hogs.pids[0]) - hog_before)
    record(part=part, totals=dict(turn.totals.counts))
    assert least <= part <= most
