# SPDX-License-Identifier: GPL-2.0-only
"""Layers that name a policy: their order, their machine, failures and swaps."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from pyland.errors import UsageError
from pyland.policies.deadline import Deadline
from pyland.policies.rr import RoundRobin
from pyland.testing import OfflineMachine, make_topology
from tests.support.layer_policies import confined, mine, with_policy
from tests.support.layered import MS, Loaded, Offline, layer, used


def policy_of(loaded: Loaded, part: str) -> Any:
    return loaded.policy._places[part].seat.policy


def test_a_layer_is_ordered_by_its_policy_on_its_own_cpus() -> None:
    loaded = Loaded(
        [
            with_policy(confined("build"), "rr", slice_us=3000),
            confined("plain"),
            with_policy(confined("game"), "deadline"),
        ],
        make_topology(8),
    )
    groups = {name: loaded.add(name, 6) for name in ("build", "plain", "game", "other")}
    loaded.machine.run(500 * MS)
    loaded.machine.decisions.clear()
    seen = {name: set(loaded.ran_on(tasks, 500)) for name, tasks in groups.items()}
    assert seen["build"] == loaded.cpus(0)
    assert seen["plain"] == loaded.cpus(1)
    assert seen["game"] == loaded.cpus(2)
    slices = {
        name: {d.slice_ns for d in loaded.machine.decisions if d.task.startswith(name)}
        for name in groups
    }
    # Four wait for two CPUs: a fifth of 3 ms is less than the shortest slice.
    assert slices["build"] == {MS}
    assert slices["plain"] == {20 * MS}
    # A sixth of two longest slices, halved: as deadline does on a machine of two CPUs.
    assert slices["game"] == {20 * MS * 2 // 6 // 2}
    for tasks in groups.values():
        used_ns = [task.total_runtime_ns for task in tasks]
        assert min(used_ns) > 0.7 * max(used_ns)
    assert loaded.policy.part_names() == {"build": "rr", "game": "deadline"}
    assert not loaded.machine.part_failures
    assert loaded.machine.counters["late"] == loaded.machine.counters["fallback"] == 0


def test_layers_without_a_policy_stay_as_they_are() -> None:
    """Beside a layer with a policy they have the same slices, order and CPUs as without it."""

    def decided(first: dict[str, Any]) -> list[tuple[str, int, int]]:
        loaded = Loaded([first, confined("plain", fifo=True), confined("even")], make_topology(8))
        for name in ("plain", "even"):
            loaded.add(name, 5)
        loaded.machine.run(600 * MS)
        return [(d.task, d.cpu, d.slice_ns) for d in loaded.machine.decisions]

    assert decided(with_policy(confined("none"), "rr")) == decided(confined("none"))


def test_a_policy_sees_a_machine_of_its_own(tmp_path: Path) -> None:
    loaded = Loaded(
        [
            with_policy(
                layer("grows", cpus_range=[1, 6], util_range=[0.5, 0.8]),
                f"{mine(tmp_path)}:Seeing",
                bonus_ms=7,
            ),
            confined("plain", 1),
        ],
        make_topology(8),
    )
    policy = policy_of(loaded, "grows")
    assert policy.bonus_ms == 7
    assert len(policy.cpus[0]) == 1
    loaded.add("plain", 3)
    tasks = loaded.add("grows", 6)
    loaded.machine.run(2000 * MS)
    assert {name for name, _ in policy.seen} == {task.name for task in tasks}
    assert set(policy.machine.topology.online) == loaded.cpus(0)
    assert len(policy.cpus[-1]) == 6
    assert policy.machine.look()[0] == 6
    assert policy.machine.idle_mask & ~sum(1 << cpu for cpu in loaded.cpus(0)) == 0
    assert loaded.machine.numbers.gauges["grows_asked"] == len(policy.seen)
    assert policy.machine.random.random() != loaded.machine.random.random()
    loaded.machine.exit(tasks[0])
    loaded.machine.run(100 * MS)
    assert policy.gone == [tasks[0].pid]


def test_a_policy_cannot_leave_its_layer(tmp_path: Path) -> None:
    loaded = Loaded(
        [with_policy(confined("far"), f"{mine(tmp_path)}:Far"), confined("plain")],
        make_topology(8, llcs=2),
    )
    tasks = loaded.add("far", 6)
    loaded.add("plain", 4)
    loaded.machine.run(300 * MS)
    assert set(loaded.ran_on(tasks, 500)) == loaded.cpus(0)
    assert not loaded.machine.part_failures


@pytest.mark.parametrize("policy", ["Broken", "Forgetting"])
def test_a_policy_that_fails_is_replaced_in_its_layer_alone(tmp_path: Path, policy: str) -> None:
    loaded = Loaded(
        [
            with_policy(confined("Bad one"), f"{mine(tmp_path)}:{policy}"),
            with_policy(confined("game"), "deadline"),
        ],
        make_topology(8),
    )
    tasks, game = loaded.add("Bad one", 4), loaded.add("game", 4)
    assert min(used(loaded.machine, [*tasks, *game], 1500)) > 500 * MS
    assert loaded.machine.parts_replaced == [("bad_one", policy.lower(), "deadline")]
    assert {part for part, _, _ in loaded.machine.part_failures} == {"bad_one"}
    assert loaded.policy.part_names() == {"bad_one": "deadline", "game": "deadline"}
    assert set(loaded.ran_on(tasks, 300)) == loaded.cpus(0)


def test_one_layer_is_swapped_while_it_schedules(tmp_path: Path) -> None:
    loaded = Loaded(
        [
            with_policy(confined("the build"), f"{mine(tmp_path)}:Seeing"),
            with_policy(confined("game"), "deadline"),
            confined("plain"),
        ],
        make_topology(8),
    )
    tasks = loaded.add("the build", 6)
    loaded.add("game", 4)
    loaded.machine.run(500 * MS)
    assert {task.state for task in tasks} == {77}
    other = policy_of(loaded, "game")
    assert loaded.policy.swap_part("the build", RoundRobin, {"slice_us": 2000}) == "seeing"
    loaded.machine.run(500 * MS)
    # rr sets no state: what the policy before it had set is gone.
    assert {task.state for task in tasks} == {0}
    assert policy_of(loaded, "game") is other
    assert loaded.policy.swap_part("the_build", Deadline, {}) == "rr"
    loaded.machine.run(500 * MS)
    assert set(loaded.ran_on(tasks, 300)) == loaded.cpus(0)
    assert not loaded.machine.part_failures
    for name, text in (
        ("plain", "'plain' names no policy in its file; those that do: the build, game"),
        ("buld", "has no part 'buld'; it has: the_build, game"),
        ("layered", "has no layer 'layered'; it has: the build, game, plain, rest"),
    ):
        with pytest.raises(UsageError, match=text):
            loaded.policy.swap_part(name, RoundRobin, {})
    without = Loaded([confined("plain")], make_topology(4))
    with pytest.raises(UsageError, match="none of the layers does"):
        without.policy.swap_part("plain", RoundRobin, {})
    with pytest.raises(UsageError, match="has no layer 'x'; it has: plain, rest"):
        without.policy.swap_part("x", RoundRobin, {})
    assert without.policy.part_names() == {}


def test_a_task_that_changes_its_layer_is_new_to_the_other() -> None:
    loaded = Loaded(
        [with_policy(confined("game"), "deadline"), with_policy(confined("build"), "rr")],
        make_topology(8),
    )
    tasks = loaded.add("game", 4)
    loaded.add("build", 4)
    loaded.machine.run(500 * MS)
    tasks[0].name = "build9"
    tasks[1].name = "other"
    loaded.machine.run(1200 * MS)
    assert set(loaded.ran_on(tasks[:1], 300)) <= loaded.cpus(1)
    assert set(loaded.ran_on(tasks[2:], 300)) <= loaded.cpus(0)
    assert tasks[0].state == 0


def test_tasks_of_several_caches_wait_near_their_own() -> None:
    loaded = Loaded([with_policy(confined("game", 4), "rr")], make_topology(8, llcs=2))
    tasks = loaded.add("game", 8)
    loaded.machine.run(500 * MS)
    loaded.machine.decisions.clear()
    loaded.machine.run(500 * MS)
    mine = range(*(loaded.work.placing.domain(0, llc) for llc in (0, 2)))
    places = {d.cpu for d in loaded.machine.decisions if d.task.startswith("game")}
    assert places <= {-2 - number for number in mine}
    assert set(loaded.ran_on(tasks, 300)) == loaded.cpus(0)


def test_affinity_goes_before_the_layer_of_a_policy() -> None:
    loaded = Loaded([with_policy(confined("game"), "rr")], make_topology(4))
    others = {0, 1, 2, 3} - loaded.cpus(0)
    bound = loaded.add("game", 1, cpus=others)
    loaded.add("game", 3)
    loaded.machine.run(300 * MS)
    assert set(loaded.ran_on(bound, 300)) <= others
    assert bound[0].total_runtime_ns > 100 * MS


@pytest.mark.parametrize("llcs", [1, 2])
def test_each_decision_of_a_layers_policy_is_counted(llcs: int) -> None:
    loaded = Loaded([with_policy(confined("game"), "rr")], make_topology(4, llcs=llcs))
    loaded.add("game", 6)
    loaded.machine.run(500 * MS)
    count, seat = loaded.work.counted[0], loaded.policy._places["game"].seat
    loaded.machine.decisions.clear()
    counted = 0
    for _ in range(400):
        before = count.nr + seat.nr_placed
        loaded.machine.run(MS)
        after = count.nr + seat.nr_placed
        counted += after - before if after >= before else after
    decided = sum(one.task.startswith("game") for one in loaded.machine.decisions)
    assert decided > 50
    # A sizing sets it back: what came right before is missing.
    assert 0.9 * decided <= counted <= decided


def test_what_a_layer_uses_is_counted_whatever_its_policy() -> None:
    loaded = Loaded(
        [with_policy(layer("game", "Grouped", cpus_range=[1, 1]), "rr")], make_topology(4)
    )
    loaded.add("game", 2)
    loaded.machine.run(1500 * MS)
    gauges = loaded.machine.numbers.gauges
    assert gauges["l0_game_util"] == pytest.approx(2, abs=0.3)
    assert gauges["l0_game_open"] > 0.2
    assert gauges["l0_game_asked"] > 10


def test_the_example_of_the_page() -> None:
    page = Path(__file__).resolve().parents[2] / "docs" / "composed.md"
    (config,) = re.findall(r"^```json\n(.*?)^```", page.read_text("utf-8"), re.S | re.M)
    machine = OfflineMachine(make_topology(8), Offline, config=config)
    game = machine.add("render", leader_comm=b"game", runs_ns=4 * MS, sleeps_ns=12 * MS)
    build = [machine.add("cc1", leader_comm=b"cc1") for _ in range(12)]
    for task in (game, *build, *(machine.add(f"shell{n}") for n in range(4))):
        machine.wake(task)
    machine.run(1000 * MS)
    game.longest_wait_ns = 0
    machine.run(1000 * MS)
    assert isinstance(machine.policy, Offline)
    assert machine.policy.part_names() == {"game": "deadline", "build": "rr"}
    assert game.longest_wait_ns < 1 * MS
    confined = machine.policy._work.sizer.cpus[1]
    assert confined.bit_count() == 4
    assert all(confined >> task.cpu & 1 for task in build)
    assert not machine.part_failures


@pytest.mark.parametrize("policy", ["rr", "deadline", "vtime"])
def test_a_layer_with_a_policy_shares_cpus_with_one_without(policy: str) -> None:
    """Both are open. Their keys have nothing in common, and each has its half."""
    loaded = Loaded([with_policy(layer("mine", "Open"), policy)], make_topology(2))
    groups = [loaded.add(name, 4) for name in ("mine", "other")]
    loaded.machine.run(1000 * MS)
    before_ns = [sum(task.total_runtime_ns for task in tasks) for tasks in groups]
    loaded.machine.run(2000 * MS)
    after_ns = [sum(task.total_runtime_ns for task in tasks) for tasks in groups]
    mine_ns, other_ns = (end - begin for begin, end in zip(before_ns, after_ns, strict=True))
    assert 0.45 < mine_ns / (mine_ns + other_ns) < 0.55
