# SPDX-License-Identifier: GPL-2.0-only
"""Which layer a task belongs to."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pyland.policies.layered.facts import Facts, Proc, command_in
from pyland.policies.layered.layers import Layer, Match
from pyland.policies.layered.matching import Matcher
from pyland.policies.layered.membership import FIELDS, Membership

NAMESPACE = 4026531836


@dataclass
class Known:
    """A source with the same answers for all tasks."""

    path: str | None = "system.slice/docker-f.scope/"
    allowed: int | None = 0b0011
    missed: bool = False

    def cgroup_path(self, cgroup_id: int, pid: int) -> str | None:
        return self.path

    def allowed_cpus(self, pid: int) -> int | None:
        return self.allowed


TASK = Facts(
    source=Known(), pid=20, tgid=10, ppid=5, comm="make", leader_comm="bash", nice=3, uid=1000,
    gid=100, cgroup_id=77, namespace=NAMESPACE, namespace_pid=7, average_runtime_ns=100_000,
)  # fmt: skip


def holds(name: str, value: Any, facts: Facts = TASK) -> bool:
    layers = [
        Layer("tried", "Open", ((Match(name, value),),)),
        Layer("rest", "Open", ((),)),
    ]
    return Matcher(layers, {0: 0b0011, 1: 0b1100}).layer_of(facts) == 0


@pytest.mark.parametrize(
    ("name", "right", "wrong"),
    [
        ("CgroupPrefix", "system.slice/", "slice"),
        ("CgroupSuffix", "f.scope/", "f.scope"),
        ("CgroupContains", "docker", "podman"),
        ("CgroupRegex", r"^/sys/fs/cgroup/.*docker-[a-f]\.scope$", r"^docker"),
        ("CommPrefix", "ma", "ake"),
        ("CommPrefixExclude", "ake", "ma"),
        ("PcommPrefix", "ba", "make"),
        ("PcommPrefixExclude", "make", "ba"),
        ("NiceAbove", 2, 3),
        ("NiceBelow", 4, 3),
        ("NiceEquals", 3, 2),
        ("UIDEquals", 1000, 0),
        ("GIDEquals", 100, 0),
        ("PIDEquals", 20, 10),
        ("PPIDEquals", 5, 10),
        ("TGIDEquals", 10, 20),
        ("NSPIDEquals", (NAMESPACE, 7), (NAMESPACE, 20)),
        ("NSEquals", NAMESPACE, 1),
        ("IsGroupLeader", False, True),
        ("IsKthread", False, True),
        ("AvgRuntime", (100, 101), (0, 100)),
        ("NumaNode", 0, 1),
    ],
)
def test_each_match_and_what_it_does_not_take(name: str, right: Any, wrong: Any) -> None:
    assert holds(name, right)
    assert not holds(name, wrong)


def test_what_only_some_tasks_are() -> None:
    leader = TASK._replace(pid=10)
    assert holds("IsGroupLeader", True, leader)
    assert holds("IsKthread", True, TASK._replace(is_kthread=True))
    assert not holds("NumaNode", 0, TASK._replace(source=Known(allowed=0b0111)))
    assert holds("HintEquals", 5, TASK._replace(hint=5))
    assert not holds("HintEquals", 5)
    assert holds("SystemCpuUtilBelow", 0.5, TASK._replace(machine_util=0.4))
    root = TASK._replace(source=Known(path=""))
    assert holds("CgroupPrefix", "", root)
    assert not holds("CgroupPrefix", "a", root)


@pytest.mark.parametrize(
    ("name", "value"),
    [("CgroupPrefix", ""), ("CgroupContains", ""), ("CgroupRegex", ""), ("NumaNode", 0)],
)
def test_what_is_unknown_matches_nothing(name: str, value: Any) -> None:
    assert not holds(name, value, TASK._replace(source=Known(None, None)))


def test_the_first_layer_counts_and_all_of_one_alternative() -> None:
    layers = [
        Layer("both", "Open", ((Match("NiceAbove", 0), Match("UIDEquals", 0)),)),
        Layer("either", "Open", ((Match("NiceAbove", 5),), (Match("UIDEquals", 1000),))),
        Layer("rest", "Open", ((),)),
    ]
    matcher = Matcher(layers, {})
    assert matcher.layer_of(TASK) == 1
    assert matcher.layer_of(TASK._replace(uid=0)) == 0
    assert matcher.layer_of(TASK._replace(uid=1)) == 2
    assert not matcher.changes_by_itself
    assert matcher.names == {"NiceAbove", "UIDEquals"}


def test_a_task_joins_and_leaves_by_its_name() -> None:
    assert command_in("make") is None
    assert command_in("\x10\\\x03test") is None
    join = command_in("\x10\\\x01testing")
    assert join
    assert holds("CmdJoin", "test", TASK._replace(joined=join.layer))
    assert not holds("CmdJoin", "", TASK)
    leave = command_in("\x10\\\x02testing")
    assert leave is not None
    assert leave.layer == ""


def test_the_affinity_of_this_process() -> None:
    proc = Proc()
    assert proc.allowed_cpus(os.getpid()) == sum(1 << cpu for cpu in os.sched_getaffinity(0))
    assert proc.allowed_cpus(2**22 + 1) is None


class Asked(Membership):
    """With the values of a record by name."""

    def ask(self, now_ns: int = 0, **values: Any) -> int:
        record = dict.fromkeys(FIELDS, 0) | {"comm": b"make", "leader_comm": b"sh", "pid": 20}
        record |= values
        return self.of(now_ns, ("key",), tuple(record[name] for name in FIELDS)).layer


def membership(name: str, value: Any, **source: Any) -> Asked:
    layers = [Layer("tried", "Open", ((Match(name, value),),)), Layer("rest", "Open", ((),))]
    known: Any = Known(**source)
    return Asked(Matcher(layers, {0: 0b0011}), known, every_ns=2_000)


def test_a_task_is_remembered_until_it_exits_or_changes() -> None:
    members = membership("CommPrefix", "ma")
    assert members.ask(comm=b"make\0\0") == 0
    known = members.tasks[20]
    assert (known.key, known.again_ns > 1 << 60) == (("key",), True)
    members.changed(20)
    assert known.again_ns == 0
    assert members.ask(comm=b"sh") == 1
    members.forget(20)
    members.forget(20)
    members.changed(20)
    assert not members.tasks
    assert members.nr_matched == 2


def test_an_average_is_looked_at_again() -> None:
    members = membership("AvgRuntime", (0, 100))
    assert members.ask(5, average_runtime_ns=99_999) == 0
    assert members.tasks[20].again_ns == 2_005
    assert members.ask(2_005, average_runtime_ns=100_000) == 1


def test_a_command_is_remembered_when_the_name_is_another() -> None:
    members = membership("CmdJoin", "test")
    assert members.ask(comm=b"\x10\x5c\x01testing") == 0
    assert members.ask(comm=b"worker") == 0
    assert members.ask(comm=b"\x10\x5c\x02testing") == 1
    assert members.ask(comm=b"worker") == 1


def test_a_record_answers_for_leader_namespace_and_kernel_threads() -> None:
    assert membership("PcommPrefix", "sh").ask() == 0
    assert membership("NSPIDEquals", (7, 8)).ask(pid_ns=7, ns_pid=8) == 0
    assert membership("NSPIDEquals", (7, 8)).ask(pid_ns=7, ns_pid=9) == 1
    assert membership("IsKthread", True).ask(kthread=1) == 0
    assert membership("NumaNode", 0, allowed=0b1).ask() == 0
    assert membership("NumaNode", 0, allowed=0b100).ask() == 1


def test_a_cgroup_by_its_task_and_by_its_number(tmp_path: Path) -> None:
    cgroups, tasks = tmp_path / "cgroup", tmp_path / "proc"
    (cgroups / "a/b").mkdir(parents=True)
    (tasks / "7").mkdir(parents=True)
    (tasks / "7/cgroup").write_text("1:name=x:/\n0::/a/b\n", encoding="utf-8")
    number, parent = (cgroups / "a/b").stat().st_ino, (cgroups / "a").stat().st_ino
    proc = Proc(str(tasks), str(cgroups))
    assert proc.cgroup_path(number, 7) == "a/b/"
    # The task has moved on, or is gone: the folders say it.
    assert proc.cgroup_path(parent, 7) == "a/"
    (cgroups / "new").mkdir()
    new = (cgroups / "new").stat().st_ino
    assert proc.cgroup_path(new, 8) is None  # looked through within this second already
    proc.now_ns += 1_000_000_000
    assert proc.cgroup_path(new, 8) == "new/"
    (tasks / "7/cgroup").write_text("0::/\n", encoding="utf-8")
    assert proc.cgroup_path(cgroups.stat().st_ino, 7) == ""
