# SPDX-License-Identifier: GPL-2.0-only
"""The layered policy on the offline machine: where tasks run, and what they get."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pyland.errors import UsageError
from pyland.policies.layered.clockwork import Clockwork
from pyland.policies.layered.facts import Proc
from pyland.policies.layered.layers import Layer, Options
from pyland.policies.layered.machines import flat
from pyland.policies.layered.numbers import by_layer, columns_for, prefix
from pyland.policies.layered.overhead import Overhead
from pyland.policies.layered.policy import Layered, Line, keep_near
from pyland.testing import OfflineMachine, OfflineTask, make_topology
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


def test_a_confined_layer_keeps_to_cpus_that_follow_its_use() -> None:
    loaded = Loaded([layer("web")], make_topology(8, llcs=2))
    web = loaded.add("web", 3)
    loaded.add("other", 12)
    loaded.machine.run(1_000 * MS)
    assert len(loaded.cpus(0)) == 4  # three hogs at 80 %
    assert set(loaded.ran_on(web)) <= loaded.cpus(0)
    assert min(used(loaded.machine, web, 500)) > 450 * MS
    for task in web[1:]:
        loaded.machine.exit(task)
    loaded.machine.run(1_000 * MS)
    assert len(loaded.cpus(0)) == 2  # 1 / 0.4 is as many at most
    assert loaded.policy.membership.tasks.keys() == {t.pid for t in loaded.tasks} - {
        t.pid for t in web[1:]
    }


def test_a_task_that_runs_alone_leaves_a_cpu_that_its_layer_loses() -> None:
    loaded = Loaded([layer("web", cpus_range=[1, 1])], make_topology(4))
    web = loaded.add("web", 2)
    loaded.machine.run(300 * MS)
    assert set(loaded.ran_on(web)) == loaded.cpus(0)


def test_protected_cpus_are_touched_by_no_other_layer() -> None:
    loaded = Loaded(
        [layer("safe", "Grouped", protected=True), layer("grp", "Grouped")], make_topology(8)
    )
    safe = loaded.add("safe", 1, runs_ns=5 * MS, sleeps_ns=5 * MS)
    others = [*loaded.add("grp", 6), *loaded.add("other", 6)]
    loaded.machine.run(1_000 * MS)
    assert not set(loaded.ran_on(others)) & loaded.cpus(0)
    assert loaded.cpus(0)
    assert safe[0].total_runtime_ns > 400 * MS


def test_a_grouped_layer_goes_elsewhere_when_its_own_are_busy() -> None:
    loaded = Loaded([layer("grp", "Grouped", cpus_range=[1, 1])], make_topology(4))
    grp = loaded.add("grp", 4)
    loaded.machine.run(200 * MS)
    assert set(loaded.ran_on(grp)) == {0, 1, 2, 3}
    assert loaded.cpus(0) < {0, 1, 2, 3}
    numbers = dict(by_layer(loaded.machine.numbers.gauges))
    assert numbers["grp"]["open"] > 0.5


def test_an_open_layer_is_kept_off_when_all_cpus_are_busy() -> None:
    kept = Loaded([layer("grp", "Grouped", cpus_range=[2, 2])], make_topology(4))
    grp, other = kept.add("grp", 2), kept.add("other", 6)
    kept.machine.run(500 * MS)
    assert not set(kept.ran_on(other)) & kept.cpus(0)
    assert min(used(kept.machine, grp, 500)) > 450 * MS


def test_a_layer_without_cpus_runs_somewhere_at_once() -> None:
    loaded = Loaded(
        [layer("web"), layer("safe", protected=True, cpus_range=[1, 1])], make_topology(2)
    )
    assert not loaded.cpus(0)
    web = loaded.add("web", runs_ns=MS, sleeps_ns=500 * MS)
    loaded.add("other", 3)
    loaded.machine.run(90 * MS)
    assert web[0].total_runtime_ns == MS
    assert web[0].cpu not in loaded.cpus(1)


def test_weights_count_where_layers_want_more_than_there_is() -> None:
    loaded = Loaded([layer("big", weight=300), layer("small")], make_topology(8))
    big, small = loaded.add("big", 8), loaded.add("small", 8)
    loaded.machine.run(1_500 * MS)
    assert (len(loaded.cpus(0)), len(loaded.cpus(1))) == (6, 2)
    ratio = sum(used(loaded.machine, big, 500)) / sum(used(loaded.machine, small, 500))
    assert ratio == pytest.approx(3, rel=0.1)


def test_a_preempting_layer_interrupts_others() -> None:
    def longest_wait_ms(preempt: bool) -> float:
        options = {"preempt": preempt, "slice_us": 20_000}
        loaded = Loaded([layer("fast", "Open", **options)], make_topology(2), slice_us=50_000)
        loaded.add("other", 6)
        fast = loaded.add("fast", runs_ns=15 * MS, sleeps_ns=15 * MS)[0]
        loaded.machine.run(500 * MS)
        fast.longest_wait_ns = 0
        loaded.machine.run(2_000 * MS)
        return fast.longest_wait_ns / MS

    assert longest_wait_ms(True) < 1
    assert longest_wait_ms(False) > 10


def test_an_exclusive_layer_leaves_the_siblings_idle() -> None:
    loaded = Loaded([layer("solo", exclusive=True)], make_topology(8, threads=2))
    solo = loaded.add("solo", 2)
    others = loaded.add("other", 8)
    loaded.machine.run(1_000 * MS)
    on = set(loaded.ran_on(solo))
    assert on
    assert all(cpu % 2 == 0 for cpu in on)
    assert not {cpu + 1 for cpu in loaded.cpus(0) if cpu % 2 == 0} & set(loaded.ran_on(others))


def test_slices_are_those_of_the_layer() -> None:
    loaded = Loaded([layer("web", slice_us=2500)], make_topology(2), slice_us=7000)
    loaded.add("web", 3)
    loaded.add("other", 3)
    loaded.machine.run(500 * MS)
    slices = {(d.task[:3], d.slice_ns) for d in loaded.machine.decisions}
    assert slices == {("web", 2_500_000), ("oth", 7 * MS)}


def test_min_exec_is_charged_at_least() -> None:
    loaded = Loaded([layer("web", min_exec_us=5000, cpus_range=[1, 1])], make_topology(2))
    task = loaded.add("web", runs_ns=MS, sleeps_ns=150 * MS)[0]
    loaded.add("web", 1)
    loaded.machine.run(2_000 * MS)
    states = [d.state for d in loaded.machine.decisions if d.pid == task.pid]
    grown = [b - a for a, b in itertools.pairwise(states)]
    assert min(grown) >= 5 * MS


def test_fifo_goes_by_the_order_of_enqueueing() -> None:
    loaded = Loaded([layer("web", fifo=True, cpus_range=[1, 1])], make_topology(2))
    hog = loaded.add("web")[0]
    late = loaded.add("web", weight=10_000)[0]
    loaded.machine.run(1_000 * MS)
    assert late.total_runtime_ns == pytest.approx(hog.total_runtime_ns, rel=0.1)


def test_a_task_that_changes_its_name_changes_its_layer() -> None:
    loaded = Loaded([layer("web"), layer("batch")], make_topology(4))
    task = loaded.add("web")[0]
    loaded.add("other", 6)
    loaded.machine.run(500 * MS)
    assert set(loaded.ran_on([task])) <= loaded.cpus(0)
    task.known["comm"] = b"batch"
    loaded.machine.run(500 * MS)
    assert set(loaded.ran_on([task])) <= loaded.cpus(1)


def test_a_task_in_a_cgroup() -> None:
    by_path = {"name": "b", "matches": [[{"CgroupPrefix": "batch/"}]], "kind": {"Open": {}}}
    loaded = Loaded([by_path], make_topology(2))
    inside = loaded.add("x", cgroup_id=2)[0]
    outside = loaded.add("y", cgroup_id=1)[0]
    loaded.add("z", 2)
    loaded.machine.run(100 * MS)
    tasks = loaded.policy.membership.tasks
    assert (tasks[inside.pid].layer, tasks[outside.pid].layer) == (0, 1)


def test_affinity_goes_before_the_layer() -> None:
    loaded = Loaded([layer("web", cpus_range=[2, 2])], make_topology(8))
    loaded.add("other", 12)
    outside = ({*range(8)} - loaded.cpus(0)).pop()
    pinned = loaded.add("web", cpus=[outside])[0]
    few = {*range(8)} - loaded.cpus(0) - {outside}
    bound = loaded.add("web", cpus=few)[0]
    inside = loaded.add("web", cpus=[*few, *loaded.cpus(0)])[0]
    loaded.machine.run(1_000 * MS)
    assert pinned.total_runtime_ns > 100 * MS
    assert bound.total_runtime_ns > 100 * MS
    assert set(loaded.ran_on([inside])) <= loaded.cpus(0)
    assert not loaded.machine.counters["bounced"]


def test_the_frequency_follows_the_layers() -> None:
    loaded = Loaded([layer("web", perf=512, cpus_range=[2, 2])], make_topology(4))
    slow = loaded.cpus(0)
    assert {cpu: loaded.machine.performance(cpu) for cpu in range(4) if cpu in slow} == (
        dict.fromkeys(slow, 512)
    )
    assert all(loaded.machine.performance(cpu) in (None, 1024) for cpu in {0, 1, 2, 3} - slow)


def test_without_a_file_all_tasks_are_in_one_open_layer() -> None:
    machine = OfflineMachine(make_topology(4, llcs=2), Layered)
    tasks = [machine.add(f"hog{n}") for n in range(8)]
    for task in tasks:
        machine.wake(task)
    machine.run(2_000 * MS)
    shares = [task.total_runtime_ns for task in tasks]
    assert max(shares) < 1.1 * min(shares)
    assert [name for name, _ in by_layer(machine.numbers.gauges)] == ["all"]


def test_mistakes_in_the_file_end_the_constructor() -> None:
    with pytest.raises(UsageError, match="did you mean"):
        Loaded([{**REST, "nam": "x"}], make_topology(2))
    with pytest.raises(UsageError, match='"nodes" has 7'):
        Loaded([layer("web", nodes=[7])], make_topology(2))


def test_files_are_read_and_need_a_whole_path(tmp_path: Path) -> None:
    first, second = tmp_path / "a.json", tmp_path / "b.json"
    first.write_text(json.dumps([layer("web")]), encoding="utf-8")
    second.write_text(json.dumps([REST]), encoding="utf-8")
    machine = OfflineMachine(make_topology(2), Offline, config=f"f:{first},{second}")
    assert isinstance(machine.policy, Layered)
    assert [one.name for one in machine.policy.layers] == ["web", "rest"]
    with pytest.raises(UsageError, match=r"config=f:a\.json: give the file's whole path"):
        OfflineMachine(make_topology(2), Offline, config="f:a.json")


def test_topology_can_be_left_out() -> None:
    topology = make_topology(8, llcs=2, threads=2)
    assert {(c.llc, c.node, c.smt_siblings) for c in flat(topology).cpus} == {
        (0, 0, (cpu,)) for cpu in range(8)
    }
    loaded = Loaded([layer("web")], topology, disable_topology=True)
    assert loaded.work.placing.nr_domains == 3


def test_another_layers_virtual_time_means_nothing() -> None:
    front, behind = Line(), Line()
    front.vtime_now += 11_000 * MS
    keep_near([front, behind])
    assert behind.vtime_now + behind.offset_ns == front.vtime_now
    front.vtime_now += 9_000 * MS
    offset_ns = behind.offset_ns
    keep_near([front, behind])
    assert behind.offset_ns == offset_ns


def test_interrupts_are_read_from_the_kernels_file(tmp_path: Any) -> None:
    stat = tmp_path / "stat"
    stat.write_text("cpu  9 9\ncpu0 1 0 0 5 0 10 20 5\ncpu1 0 0 0 0 0 0 0 0\nintr 5\n", "ascii")
    overhead = Overhead(str(stat))
    assert overhead.lost_s == {0: 0.0, 1: 0.0}
    stat.write_text("cpu0 1 0 0 5 0 15 25 5\ncpu1 0 0 0 0 0 0 0 0\n", "ascii")
    overhead.read()
    assert overhead.lost_s == {0: pytest.approx(0.1), 1: 0.0}
    stat.unlink()
    overhead.read()
    assert overhead.lost_s == {}
    loaded = Loaded([layer("web")], make_topology(2), util_compensation=True)
    loaded.machine.run(300 * MS)


def test_the_names_of_gauges() -> None:
    assert prefix(0, "match one container") == "l0_match_one_container_"
    assert prefix(15, "über ()") == "lf_ber_"
    assert prefix(1, "日本") == "l1_layer_"
    for nr in range(1, 17):
        columns = columns_for(nr)
        assert columns[:2] == ("util", "cpus")
        assert nr * len(columns) <= 63
    longest = max(len(prefix(9, "x" * 99) + column) for column in columns_for(1))
    assert longest <= 40
    gauges = {"l1_b_b_util": 1.0, "l0_a_cpus": 2.0, "l1_b_b_cpus": 3.0, "other": 4.0, "l0_a": 5.0}
    assert by_layer(gauges) == [("a", {"cpus": 2.0}), ("b_b", {"util": 1.0, "cpus": 3.0})]


def test_options_of_layers_for_nodes_and_caches() -> None:
    topology = make_topology(8, nodes=2, llcs=2)
    loaded = Loaded(
        [
            layer("near", "Grouped", cpus_range=[1, 1], nodes=[1]),
            layer("here", "Grouped", skip_remote_node=True, cpus_range=[1, 1]),
            layer("slow", "Grouped", xllc_mig_min_us=1000, cpus_range=[1, 1]),
        ],
        topology,
    )
    places = loaded.work.placing.places
    assert loaded.cpus(0) <= {4, 5, 6, 7}
    for llc in range(4):
        near = places[loaded.work.placing.domain(0, llc)]
        assert not (near.cpus | near.spill) & 0x0F
    home = next(iter(loaded.cpus(1)))
    here = places[loaded.work.placing.domain(1, home // 2)]
    assert here.spill
    assert not here.spill & ~(0x0F if home < 4 else 0xF0)
    home = next(iter(loaded.cpus(2)))
    slow = loaded.work.placing.domain(2, home // 2)
    assert places[slow].spill == (0b11 << home // 2 * 2) & ~(1 << home)
    loaded.add("slow", 2)
    loaded.machine.run(300 * MS)
    assert Layer("x", "Open", ((),), replace(Options(), weight=0)).weight == 100


def test_more_domains_than_there_are() -> None:
    many = [layer(f"a{n}", "Open", preempt=True) for n in range(15)]
    with pytest.raises(UsageError, match="16 layers on 64 LLCs need 1088 domains"):
        Loaded(many, make_topology(64, llcs=64))
    loaded = Loaded(many, make_topology(64, llcs=32))
    task = loaded.add("a3", runs_ns=MS, sleeps_ns=MS)[0]
    loaded.machine.run(200 * MS)
    assert task.place == -2 - loaded.work.placing.domain(3, 0)
    assert max(len(loaded.machine.domains.served(cpu)) for cpu in range(64)) <= 17
