# SPDX-License-Identifier: GPL-2.0-only
"""cpu.weight and autogroups count, whatever the policy."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.kernel.groups import cpu_ns, hogs_in, near, shares_of, tree, used_within
from tests.kernel.harness import Record, Start, ask, ended_well, scaled, undisturbed
from tests.kernel.turns import Shared
from tools.load.programs import Hogs
from tools.load.scheduler import until

# Averages need a moment after a change; the issue allows 100 ms.
SETTLED_S = 0.1
AUTOGROUP = Path("/proc/sys/kernel/sched_autogroup_enabled")


@pytest.mark.compat
@pytest.mark.counted
def test_weights_of_1_100_and_10000(shared: Shared, record: Record) -> None:
    """Two hogs in each group: the CPUs go by 1 : 100 : 10,000."""
    with shared.turn("deadline"), tree() as top, contextlib.ExitStack() as stack:
        groups = {}
        for weight in (1, 100, 10_000):
            groups[str(weight)] = group = top.child(f"weight-{weight}")
            group.set(weight=weight)
            hogs_in(stack, group, 2)
        time.sleep(1)
        used = used_within(groups, scaled(20))
    shares = shares_of(used)
    record(used=used, shares=shares)
    assert near(shares["10000"], 10_000 / 10_101)
    assert near(shares["100"], 100 / 10_101, 0.002)
    # No task weighs less than a hundredth of the average one, and none waits for long.
    assert 0 < shares["1"] < 0.01
    assert sum(used.values()) > 0.9 * len(os.sched_getaffinity(0))


@pytest.mark.counted
@pytest.mark.long
@pytest.mark.compat
def test_weights_two_levels_deep(shared: Shared, record: Record) -> None:
    """A group has its share of its parent's share, beside a task of the parent's own level."""
    with shared.turn("deadline"), tree() as top, contextlib.ExitStack() as stack:
        left, right = top.child("left"), top.child("right")
        left.set(weight=100)
        right.set(weight=300)
        groups = {}
        for parent, name, weight, number in (
            (left, "a", 100, 2),
            (left, "b", 300, 5),
            (right, "c", 200, 1),
            (right, "d", 100, 2),
        ):
            groups[name] = parent.child(name)
            groups[name].set(weight=weight)
            hogs_in(stack, groups[name], number)
        time.sleep(1)
        used = used_within(groups, scaled(20))
    shares = shares_of(used)
    record(used=used, shares=shares)
    assert near(shares["a"], 1 / 4 * 1 / 4)
    assert near(shares["b"], 1 / 4 * 3 / 4)
    assert near(shares["c"], 3 / 4 * 2 / 3)
    assert near(shares["d"], 3 / 4 * 1 / 3)


@pytest.mark.parametrize("policy", ["bpfland", "vtime"])
def test_weights_count_for_policies_that_share_by_weight(
    shared: Shared, record: Record, policy: str
) -> None:
    """A group with one hog beside one with four, of three times its weight."""
    with shared.turn(policy), tree() as top, contextlib.ExitStack() as stack:
        groups = {"light": top.child("light"), "heavy": top.child("heavy")}
        groups["heavy"].set(weight=300)
        hogs_in(stack, groups["light"], 1, cpu=0)
        hogs_in(stack, groups["heavy"], 4, cpu=0)
        time.sleep(1)
        used = used_within(groups, scaled(12))
    shares = shares_of(used)
    record(used=used, shares=shares)
    assert near(shares["light"], 0.25)


@pytest.mark.counted
@pytest.mark.long
def test_nice_values_count_within_a_group(shared: Shared, record: Record) -> None:
    """Nice 5 gets a third of nice 0 in the same group; the other group has half of the CPU."""
    with shared.turn("deadline"), tree() as top, contextlib.ExitStack() as stack:
        groups = {"mixed": top.child("mixed"), "plain": top.child("plain")}
        mixed = stack.enter_context(Hogs(600, [0, 5], cpu=0))
        groups["mixed"].take(mixed.pids)
        hogs_in(stack, groups["plain"], 2, cpu=0)
        time.sleep(1)
        before = mixed.cpu_s()
        used = used_within(groups, scaled(20))
        after = mixed.cpu_s()
    shares = shares_of(used)
    nice_0, nice_5 = (after[pid] - before[pid] for pid in mixed.pids)
    record(shares=shares, ratio=nice_0 / nice_5)
    assert near(shares["mixed"], 0.5)
    assert near(nice_0 / nice_5, 1024 / 335, 0.15)


@pytest.mark.counted
@pytest.mark.long
def test_without_the_option_groups_have_no_weight(start: Start, record: Record) -> None:
    """With --no-cgroup-weights each hog gets the same, whatever its group."""
    scheduler = start("--no-cgroup-weights")
    with undisturbed(scheduler), tree() as top, contextlib.ExitStack() as stack:
        groups = {"light": top.child("light"), "heavy": top.child("heavy")}
        groups["heavy"].set(weight=1000)
        hogs_in(stack, groups["light"], 3)
        hogs_in(stack, groups["heavy"], 3)
        time.sleep(1)
        shares = shares_of(used_within(groups, scaled(12)))
    ended_well(scheduler.end())
    record(shares=shares)
    assert near(shares["light"], 0.5)


@pytest.mark.counted
@pytest.mark.long
def test_a_session_with_one_hog_beside_one_with_seven(start: Start, record: Record) -> None:
    """Autogroups: each session has half of the machine, so the one hog has a CPU of two."""
    if not AUTOGROUP.is_file():
        pytest.skip("this kernel has no autogroups")
    before = AUTOGROUP.read_text()
    AUTOGROUP.write_text("1")
    try:
        loop = "while :; do :; done"
        many = f"for i in 1 2 3 4 5 6 7; do ({loop}) & done; wait"
        scheduler = start()
        with undisturbed(scheduler), contextlib.ExitStack() as stack:
            sessions = []
            for script in (loop, many):
                shell = stack.enter_context(
                    subprocess.Popen(["taskset", "1", "sh", "-c", script], start_new_session=True)
                )
                stack.callback(os.killpg, shell.pid, signal.SIGKILL)
                sessions.append(shell.pid)
            time.sleep(1)
            first_ns, began_ns = cpu_ns(sessions[0]), time.monotonic_ns()
            time.sleep(scaled(12))
            share = (cpu_ns(sessions[0]) - first_ns) / (time.monotonic_ns() - began_ns)
        ended_well(scheduler.end())
    finally:
        AUTOGROUP.write_text(before)
    record(share=share)
    assert near(share, 0.5)


@pytest.mark.counted
@pytest.mark.long
def test_changes_take_effect_within_100_ms(shared: Shared, record: Record) -> None:
    """After 100 ms a new weight counts, and so does a move into a group of another weight."""
    with shared.turn("deadline"), tree() as top, contextlib.ExitStack() as stack:
        groups = {"one": top.child("one"), "other": top.child("other"), "third": top.child("third")}
        moved = hogs_in(stack, groups["one"], 2, cpu=0)
        hogs_in(stack, groups["other"], 2, cpu=0)
        time.sleep(1)
        groups["other"].set(weight=900)
        time.sleep(SETTLED_S)
        weighed = shares_of(used_within(groups, 2))
        groups["other"].set(weight=100)
        groups["third"].set(weight=300)
        time.sleep(1)
        groups["third"].take(moved.pids)
        time.sleep(SETTLED_S)
        after_move = shares_of(used_within(groups, 2))
    record(weighed=weighed, moved=after_move)
    assert near(weighed["one"], 0.1, 0.01)
    assert near(after_move["third"], 0.75)
    assert after_move["one"] == 0


@pytest.mark.counted
@pytest.mark.long
def test_groups_that_come_and_go_leave_nothing(shared: Shared, record: Record) -> None:
    """200 groups are made, used and removed, twice: BPF knows none of them afterwards."""
    with shared.turn("deadline"), tree() as top:
        time.sleep(3)
        before = ask("status")["counters"]["groups"]
        for _ in range(2):
            for number in range(200):
                group = top.child(f"group-{number}")
                with subprocess.Popen(["sh", "-c", "sleep 0.02"]) as task:
                    group.take([task.pid])
                group.remove()
        during = ask("status")["counters"]["groups"]
        after = until(lambda: ask("status")["counters"]["groups"] <= before + 2, 15)
        left = ask("status")["counters"]["groups"]
    record(before=before, during=during, left=left)
    assert after is not None, f"{before} groups before, {left} left"
