# SPDX-License-Identifier: GPL-2.0-only
"""Migrations by distance: from the kernel's histogram to the figures of a workload."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from bench import migrations as figures
from bench.workloads import Metric, Workload
from pyland.testing import make_topology
from pyland.topology import Topology
from tools.load import migrations
from tools.load.migrations import Distance, Migrations, count, distances

EIGHT = make_topology(cpus=8, nodes=2, threads=2)
TWO_CACHES_A_NODE = make_topology(cpus=16, nodes=2, llcs=2, threads=2)
HISTOGRAM = """# event histogram
#
# trigger info: hist:keys=orig_cpu,dest_cpu:vals=hitcount:sort=hitcount:size=128 [active]
#

{ orig_cpu:          0, dest_cpu:          1 } hitcount:          1
{ orig_cpu:          1, dest_cpu:          0 } hitcount:          2
{ orig_cpu:          0, dest_cpu:          2 } hitcount:         10
{ orig_cpu:          3, dest_cpu:          4 } hitcount:        100
{ orig_cpu:          7, dest_cpu:          9 } hitcount:       1000

Totals:
    Hits: 1113
    Entries: 5
    Dropped: 0
"""


def test_distances_follow_siblings_caches_and_nodes() -> None:
    moved = count(HISTOGRAM, TWO_CACHES_A_NODE)
    assert moved == {
        Distance.CORE: 3,
        Distance.CACHE: 10,
        Distance.NODE: 100,
        Distance.MACHINE: 1000,
    }


def test_a_cpu_that_was_offline_has_no_distance() -> None:
    moved = count(HISTOGRAM, EIGHT)
    assert moved == {Distance.CORE: 3, Distance.CACHE: 10, Distance.MACHINE: 100}


@pytest.mark.parametrize(
    ("topology", "there", "names"),
    [
        (make_topology(cpus=1), [], [""]),
        (make_topology(cpus=2), [Distance.CACHE], [""]),
        (make_topology(cpus=4, llcs=2), [Distance.CACHE, Distance.NODE], ["", "cache", "far"]),
        (make_topology(cpus=2, nodes=2), [Distance.MACHINE], [""]),
        (
            EIGHT,
            [Distance.CORE, Distance.CACHE, Distance.MACHINE],
            ["", "core", "cache", "far"],
        ),
        (TWO_CACHES_A_NODE, [*Distance], ["", "core", "cache", "far", "node"]),
    ],
)
def test_a_machine_has_the_figures_that_say_something_there(
    topology: Topology, there: list[Distance], names: list[str]
) -> None:
    assert distances(topology) == there
    expected = [f"{name}_migrations_per_switch".lstrip("_") for name in names]
    assert figures.names(topology) == expected
    assert set(expected) <= figures.ABOUT.keys()


def test_figures_are_for_each_switch_and_far_ones_leave_the_cache() -> None:
    moved = count(HISTOGRAM, TWO_CACHES_A_NODE)
    found = figures.per_switch(moved, 2000, figures.names(TWO_CACHES_A_NODE))
    assert found == {
        "migrations_per_switch": 1113 / 2000,
        "core_migrations_per_switch": 3 / 2000,
        "cache_migrations_per_switch": 10 / 2000,
        "far_migrations_per_switch": 1100 / 2000,
        "node_migrations_per_switch": 1000 / 2000,
    }
    assert figures.per_switch(moved, 0, found) == {}


@pytest.fixture
def tracing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the files that tracefs has for the event, and 2 CPUs of one cache here."""
    event = tmp_path / "events/sched/sched_migrate_task"
    event.mkdir(parents=True)
    (event / "hist").write_text(HISTOGRAM, encoding="ascii")
    monkeypatch.setattr(migrations, "TRACING", tmp_path)
    for module in (migrations, figures):
        monkeypatch.setattr(module, "read_topology", lambda: EIGHT)
    return tmp_path


def test_a_block_counts_switches_and_leaves_no_trigger(tracing: Path) -> None:
    trigger = tracing / "events/sched/sched_migrate_task/trigger"
    with Migrations() as moved:
        begun = trigger.read_text(encoding="ascii")
        time.sleep(0.02)  # a switch
    assert re.fullmatch(r"hist:keys=orig_cpu,dest_cpu:size=128", begun)
    assert trigger.read_text(encoding="ascii") == f"!{begun}"
    assert (moved.nr, moved.far) == (113, 100)
    assert moved.switches > 0


@pytest.mark.parametrize(("cpus", "size"), [(1, 128), (64, 4096), (96, 16384), (512, 131072)])
def test_the_histogram_has_room_for_all_pairs(
    tracing: Path, monkeypatch: pytest.MonkeyPatch, cpus: int, size: int
) -> None:
    monkeypatch.setattr(migrations, "read_topology", lambda: make_topology(cpus=cpus))
    with Migrations():
        trigger = tracing / "events/sched/sched_migrate_task/trigger"
        assert trigger.read_text(encoding="ascii").endswith(f":size={size}")


def test_every_workload_gets_the_figures_after_its_own(tracing: Path) -> None:
    def run(seconds: float, raw: Path) -> dict[str, float]:
        time.sleep(0.02)  # a switch
        return {"time_s": seconds}

    own = Metric("time_s", "lower", "time")
    load = Workload("one", "", (own,), contended=True, needs=(), run=run)
    counted = figures.counted(load)
    found = counted.run(3.0, tracing)
    assert [metric.name for metric in counted.metrics] == list(found)
    assert next(iter(found)) == "time_s"
    assert found["far_migrations_per_switch"] == pytest.approx(
        found["migrations_per_switch"] * 100 / 113
    )
    assert all(metric.better == "lower" for metric in counted.metrics[1:])


def test_a_kernel_without_histograms_is_one_line(tracing: Path) -> None:
    assert migrations.missing() == ""
    trigger = tracing / "events/sched/sched_migrate_task/trigger"
    trigger.unlink()
    trigger.mkdir()
    assert migrations.missing() == f"{trigger} takes no histogram: Is a directory"


def test_a_machine_without_tracefs_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrations, "TRACING", tmp_path / "nowhere")
    reason = migrations.missing()
    assert reason.startswith(f"no tracefs at {tmp_path}/nowhere: ")
    assert "\n" not in reason


def test_a_failed_run_leaves_no_trigger(tracing: Path) -> None:
    with pytest.raises(RuntimeError, match="no load"), Migrations():
        raise RuntimeError("no load")
    trigger = tracing / "events/sched/sched_migrate_task/trigger"
    assert trigger.read_text(encoding="ascii").startswith("!")
