# SPDX-License-Identifier: GPL-2.0-only
"""What layers say of a task's previous CPU and of tasks that yield, on eight CPUs with SMT."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.kernel.groups import cpu_ns
from tests.kernel.harness import Record
from tests.kernel.turns import Shared
from tools.load.programs import Crowd, Hogs, Sleeper

NR_CPUS = 8

pytestmark = [
    pytest.mark.many,
    pytest.mark.skipif(os.cpu_count() != NR_CPUS, reason="needs a machine with eight CPUs"),
]


def _layer(name: str, **options: object) -> dict[str, Any]:
    return {"name": name, "matches": [[{"CommPrefix": name}]], "kind": {"Open": options}}


def _config(*layers: dict[str, Any]) -> str:
    rest = {"name": "rest", "matches": [[]], "kind": {"Open": {}}}
    return f"config={json.dumps([*layers, rest])}"


def _kept(name: str, hog_cpu: Callable[[int], int]) -> float:
    """How often, of ten times, a sleeper kept its CPU as a hog got `hog_cpu` of it, and no other.

    The sleeper has this name.
    """
    kept = 0
    with Hogs(600, [0]) as hogs, Sleeper(600, alias=name, sleep_us=5_000) as sleeper:
        time.sleep(0.3)
        for _ in range(10):
            before = psutil.Process(sleeper.pid).cpu_num()
            os.sched_setaffinity(hogs.pids[0], {hog_cpu(before)})
            time.sleep(0.05)
            kept += psutil.Process(sleeper.pid).cpu_num() == before
    return kept / 10


def test_layers_say_which_cpu_a_task_looks_for(shared: Shared, record: Record) -> None:
    """A hog gets the CPU of a sleeper, or that CPU's sibling, while six CPUs idle."""
    layers = [
        _layer("previous", prev_over_idle_core=True),
        _layer("sticky", placement="Sticky"),
        _layer("first", preempt=True, preempt_first=True),
        _layer("preempting", preempt=True),
    ]
    with shared.turn("layered", _config(*layers)) as turn:
        beside = {name: _kept(name, lambda cpu: cpu ^ 1) for name in ("previous", "usual")}
        names = ("sticky", "first", "preempting", "usual")
        on_it = {name: _kept(name, lambda cpu: cpu) for name in names}
    record(beside=str(beside), on_it=str(on_it), totals=dict(turn.totals.counts))
    assert on_it["sticky"] == 1
    # A task moves if user space has its CPU.
    assert beside["previous"] >= 0.5
    assert on_it["first"] >= 0.5
    for kept in (beside["usual"], on_it["preempting"], on_it["usual"]):
        assert kept <= 0.3, "the task stays although a whole core idles"


@pytest.mark.parametrize(("ignored", "least", "most"), [(1.0, 0.25, 0.45), (0.5, 0.0, 0.2)])
def test_layers_say_what_a_yield_costs(
    ignored: float, least: float, most: float, shared: Shared, record: Record
) -> None:
    """A task that yields every 50 us shares two CPUs with two hogs; a slice is 20 ms."""
    config = _config(_layer("crowd", yield_ignore=ignored))
    with shared.turn("layered", config) as turn, Crowd(600, 1) as crowd, Hogs(600, [0] * 2) as hogs:
        threads = [int(thread.name) for thread in Path(f"/proc/{crowd.pid}/task").iterdir()]
        for pid in (*threads, *hogs.pids):
            os.sched_setaffinity(pid, {0, 2})  # of one cache
        time.sleep(0.4)
        before = [sum(map(cpu_ns, pids)) for pids in (threads, hogs.pids)]
        time.sleep(1)
        after = [sum(map(cpu_ns, pids)) for pids in (threads, hogs.pids)]
    yields_ns, hogs_ns = (end - begin for begin, end in zip(before, after, strict=True))
    record(part=yields_ns / (yields_ns + hogs_ns), totals=dict(turn.totals.counts))
    assert least <= yields_ns / (yields_ns + hogs_ns) <= most
