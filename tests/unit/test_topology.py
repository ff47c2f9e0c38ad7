# SPDX-License-Identifier: GPL-2.0-only
"""The topology that pyland reads from sysfs."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyland.topology import parse_cpu_list, read_topology


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{text}\n")


def machine(sysfs: Path, *, online: str = "0-7") -> None:
    """Two nodes with two LLCs, each LLC one core with two SMT siblings."""
    write(sysfs / "cpu/possible", "0-15")
    write(sysfs / "cpu/online", online)
    for cpu in parse_cpu_list(online):
        core = cpu // 2
        pair = f"{2 * core}-{2 * core + 1}"
        write(sysfs / f"cpu/cpu{cpu}/topology/thread_siblings_list", pair)
        write(sysfs / f"cpu/cpu{cpu}/cache/index0/level", "1")
        write(sysfs / f"cpu/cpu{cpu}/cache/index0/shared_cpu_list", str(cpu))
        write(sysfs / f"cpu/cpu{cpu}/cache/index3/level", "3")
        write(sysfs / f"cpu/cpu{cpu}/cache/index3/shared_cpu_list", pair)
    write(sysfs / "node/node0/cpulist", "0-3")
    write(sysfs / "node/node1/cpulist", "4-7")


def test_siblings_caches_and_nodes_are_told_apart(tmp_path: Path) -> None:
    machine(tmp_path)
    topology = read_topology(tmp_path)
    assert topology.online == tuple(range(8))
    assert [cpu.llc for cpu in topology.cpus] == [0, 0, 1, 1, 2, 2, 3, 3]
    assert [cpu.node for cpu in topology.cpus] == [0, 0, 0, 0, 1, 1, 1, 1]
    assert topology.cpus[5].smt_siblings == (4, 5)
    assert (topology.nr_llcs, topology.nr_nodes, topology.nr_cpu_ids) == (4, 2, 16)


def test_offline_cpus_leave_no_gap_in_the_numbers(tmp_path: Path) -> None:
    machine(tmp_path, online="0-1,4-7")
    topology = read_topology(tmp_path)
    assert topology.online == (0, 1, 4, 5, 6, 7)
    assert [cpu.llc for cpu in topology.cpus] == [0, 0, 1, 1, 2, 2]
    assert topology.nr_cpu_ids == 16


def test_a_machine_that_says_nothing_is_the_plainest(tmp_path: Path) -> None:
    write(tmp_path / "cpu/possible", "0-1")
    write(tmp_path / "cpu/online", "0-1")
    topology = read_topology(tmp_path)
    assert (topology.nr_llcs, topology.nr_nodes) == (1, 1)
    assert topology.cpus[1].smt_siblings == (1,)
    assert topology.cpus[1].capacity == 1024


def test_capacity_is_relative_to_the_fastest(tmp_path: Path) -> None:
    write(tmp_path / "cpu/possible", "0-1")
    write(tmp_path / "cpu/online", "0-1")
    write(tmp_path / "cpu/cpu0/acpi_cppc/highest_perf", "200")
    write(tmp_path / "cpu/cpu1/acpi_cppc/highest_perf", "100")
    topology = read_topology(tmp_path)
    assert [cpu.capacity for cpu in topology.cpus] == [1024, 512]
    assert topology.little == (1,)


def test_cores_that_differ_by_a_little_are_all_fast(tmp_path: Path) -> None:
    """The firmware says of single cores of the fast kind that they are the best."""
    write(tmp_path / "cpu/possible", "0-2")
    for cpu, perf in enumerate(("70", "65", "71")):
        write(tmp_path / f"cpu/cpu{cpu}/acpi_cppc/highest_perf", perf)
    assert read_topology(tmp_path).little == ()


def test_this_machine_can_be_read() -> None:
    assert read_topology().cpus


@pytest.mark.parametrize(
    ("text", "cpus"), [("", ()), ("0", (0,)), ("0-2,5,7-8\n", (0, 1, 2, 5, 7, 8))]
)
def test_cpu_lists(text: str, cpus: tuple[int, ...]) -> None:
    assert parse_cpu_list(text) == cpus


@given(st.sets(st.integers(0, 300)))
def test_cpu_lists_come_back_whole(cpus: set[int]) -> None:
    assert set(parse_cpu_list(",".join(map(str, sorted(cpus))))) == cpus
