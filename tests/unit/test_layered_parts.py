# SPDX-License-Identifier: GPL-2.0-only
"""Parts of the layered policy: its files, its machine's limits, and its numbers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pyland.errors import UsageError
from pyland.policies.layered.layers import Layer, Options
from pyland.policies.layered.machines import about_cores, flat
from pyland.policies.layered.numbers import COLUMNS, by_layer, prefix
from pyland.policies.layered.order import Line, keep_near
from pyland.policies.layered.overhead import Overhead
from pyland.policies.layered.policy import Layered
from pyland.policies.layered.reading import read
from pyland.policies.layered.schema import LAYERS_MAX
from pyland.stats.numbers import NAMES_MAX
from pyland.testing import OfflineMachine, make_topology
from pyland.topology import Topology
from tests.support.layered import MS, REST, Loaded, Offline, layer, used


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
    # Before those of the layers there is one for each cache that the machine has all the same.
    assert loaded.work.placing.nr_domains == 4
    assert {loaded.machine.domains.unplaced(cpu) for cpu in range(8)} == {0, 1}
    loaded.add("web", 8)
    loaded.add("other", 8)
    loaded.machine.run(500 * MS)
    places = {task.place for task in loaded.tasks}
    assert places == {-2 - loaded.work.placing.domain(layer, 0) for layer in (0, 1)} == {-4, -5}


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
    assert LAYERS_MAX * len(COLUMNS) <= NAMES_MAX - 60
    longest = max(len(prefix(9, "x" * 99) + column) for column in COLUMNS)
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
    assert Layer("x", "Open", ((),), Options()._replace(weight=0)).weight == 100


def test_more_domains_than_there_are() -> None:
    many = [layer(f"a{n}", "Open", preempt=True) for n in range(15)]
    with pytest.raises(UsageError, match="16 layers on 64 LLCs need 1088 domains"):
        Loaded(many, make_topology(64, llcs=64))
    loaded = Loaded(many, make_topology(64, llcs=32))
    task = loaded.add("a3", runs_ns=MS, sleeps_ns=MS)[0]
    loaded.machine.run(200 * MS)
    assert task.place == -2 - loaded.work.placing.domain(3, 0)
    # One of the unknown, one of each layer, and one for tasks of each of 15 layers that compute.
    assert max(len(loaded.machine.domains.served(cpu)) for cpu in range(64)) <= 32


def hybrid() -> Topology:
    """Two cores with two CPUs each, and four with one."""
    made = make_topology(8, threads=2)
    cpus = [
        one if one.id < 4 else one._replace(smt_siblings=(one.id,), capacity=600)
        for one in made.cpus
    ]
    return made._replace(cpus=tuple(cpus))


@pytest.mark.parametrize(
    ("topology", "options"),
    [
        (make_topology(8, threads=2), {"allow_partial_core": True}),
        (make_topology(8, threads=2), {"disable_topology": True}),
        (hybrid(), {"allow_partial_core": True}),
        (hybrid(), {}),
    ],
)
def test_an_exclusive_layer_has_whole_cores(topology: Topology, options: dict[str, Any]) -> None:
    loaded = Loaded([layer("alone", exclusive=True, cpus_range=[1, 8])], topology, **options)
    tasks = loaded.add("alone", 3)
    others = loaded.add("other", 8)
    loaded.machine.run(1500 * MS)
    mine = set(loaded.ran_on(tasks, 500))
    siblings = {one for cpu in topology.cpus if cpu.id in mine for one in cpu.smt_siblings}
    assert len(mine) >= 2
    assert all(len(mine & set(cpu.smt_siblings)) <= 1 for cpu in topology.cpus)
    assert not set(loaded.ran_on(others, 500)) & siblings
    assert min(used(loaded.machine, others, 300)) > 0


def test_an_exclusive_layer_is_told_of_if_cores_were_to_be_shared() -> None:
    config = [layer("alone", exclusive=True), REST]
    layers = read([json.dumps(config)]).layers
    assert [*about_cores(layers, partial=False)] == []
    (told,) = about_cores(layers, partial=True)
    assert told.endswith('layer "alone": allow_partial_core has no effect: the layer is exclusive, '
                         "and needs whole cores")  # fmt: skip


def test_sixteen_layers_have_all_their_gauges_and_their_policies_too() -> None:
    many = [{**layer(f"a{n}", "Open"), "policy": "deadline"} for n in range(15)]
    loaded = Loaded(many, make_topology(4))
    loaded.add("a3", 2)
    loaded.machine.run(300 * MS)
    numbers = loaded.machine.numbers
    found = by_layer(numbers.gauges)
    assert len(found) == 16
    assert all(set(columns) == set(COLUMNS) for _, columns in found)
    assert numbers.left_out == 0


def test_a_preempting_policy_makes_room_for_tasks_that_wait() -> None:
    """A game that computes on all CPUs, and a build: the build has most of its own CPUs' time."""
    game = layer("game", "Grouped", preempt=True, cpus_range=[4, 4]) | {"policy": "deadline"}
    build = layer("build", cpus_range=[2, 4]) | {"policy": "rr"}
    loaded = Loaded([game, build], make_topology(8, llcs=2))
    loaded.add("game", 8)
    builders = loaded.add("build", 6)
    loaded.machine.run(1_000 * MS)
    assert len(loaded.cpus(1)) == 4
    assert sum(used(loaded.machine, builders, 1_200)) > 4 * 1_000 * MS
