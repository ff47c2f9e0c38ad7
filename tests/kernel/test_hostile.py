# SPDX-License-Identifier: GPL-2.0-only
"""A policy that answers wrongly, or not at all, changes only the order of the tasks."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from tests.kernel.harness import GAP_S, Record, Start, ask, scaled, swap, undisturbed
from tests.kernel.turns import Shared, Turn
from tools.load.programs import Hogs, Sleeper, Wakeups
from tools.load.scheduler import Scheduler, kernel_state, until

HOSTILE = Path(__file__).with_name("hostile.py")

# The message about each policy, and the policy that schedules in the end.
KINDS = {
    "Raises": (r"policy raises: enqueue\(\) raised ValueError: no idea.*task \d+", "deadline"),
    "RaisesAtTimes": (r"policy raisesattimes: decide\(\) raised OSError: now and then", None),
    "Exits": (r"policy exits: decide\(\) raised SystemExit: 3", "deadline"),
    "Loops": (r"policy loops: decide\(\) raised PolicyTookTooLongError", None),
    "Sleeps": (r"policy sleeps: decide\(\) raised PolicyTookTooLongError", "deadline"),
    "Forgets": (r"policy forgets: \d+ tasks that it knew of had no decision", "forgets"),
    "Claims": (r"policy claims: \d+ tasks that it knew of had no decision", "claims"),
    "Twice": (r"policy twice: \d+ decisions found no task", "twice"),
    "Invents": (r"policy invents: \d+ decisions", "invents"),
    "WrongCpu": (r"policy wrongcpu: \d+ decisions named a CPU", "wrongcpu"),
    "WrongSlice": (r"policy wrongslice: \d+ decisions named a CPU, a slice", "wrongslice"),
    "NoNumbers": (r"policy nonumbers: the decision for task \d+ has slice_ns = -1", "deadline"),
    "Eats": (r"policy eats: decide\(\) raised MemoryError", "deadline"),
    "Garbage": (r"policy garbage: \d+ decisions named a CPU", "garbage"),
}


@contextmanager
def loaded(seconds: float) -> Iterator[tuple[Hogs, Sleeper]]:
    """Six hogs and a sleeper."""
    with Hogs(seconds, [0] * 6) as hogs, Sleeper(seconds) as sleeper:
        yield hogs, sleeper


def without_policy(scheduler: Scheduler) -> Wakeups:
    """The sleeper's wakeups while BPF dispatches without Python."""
    with loaded(600) as (_, sleeper), scheduler.stopped():
        time.sleep(scaled(8))
        return sleeper.wakeups(early=True)


def is_told_of(turn: Turn, words: str, survivor: str | None) -> bool:
    """True if pyland has said what is wrong, and the survivor schedules."""
    return bool(re.search(words, turn.output)) and survivor in (None, ask("status")["policy"])


def test_it_freezes_no_task(shared: Shared, record: Record) -> None:
    """Under load: tasks get CPU time, and pyland reports what is wrong with the policy."""
    failed = []
    with shared.turn("deadline", right=False) as turn:
        alone = without_policy(turn.scheduler)
        record(fallback_p99_us=alone.p99_us)
        for kind, (words, survivor) in KINDS.items():
            answer = swap(policy=f"{HOSTILE}:{kind}")
            assert answer["policy"] == kind.lower()
            with loaded(600) as (hogs, sleeper):
                time.sleep(scaled(8))
                # It takes a while to use the memory up, or to fail ten times.
                told = partial(is_told_of, turn, words, survivor)
                until(told, scaled(120), step_s=0.5)
                wakeups, shares = sleeper.wakeups(early=True), hogs.shares(early=True)
            policy = ask("status")["policy"]
            record(**{kind: (wakeups.p99_us, shares.longest_gap_s, policy)})
            if not re.search(words, turn.output):
                failed.append(f"{kind}: nothing was said of it")
            if survivor and policy != survivor:
                failed.append(f"{kind}: the policy is {policy}")
            if shares.longest_gap_s > GAP_S or wakeups.max_us / 1e6 > GAP_S:
                failed.append(f"{kind}: a task waited too long")
            swap(policy="deadline")
    assert not failed, "\n".join([*failed, turn.scheduler.about()])


def test_keys_far_from_all_others(shared: Shared) -> None:
    """Keys of 0, of 2^64 - 1 and around 2^63 keep no task waiting."""
    with shared.turn(f"{HOSTILE}:WrongKeys", right=False) as turn, loaded(600) as (hogs, sleeper):
        time.sleep(scaled(10, at_least=4))
        wakeups, shares = sleeper.wakeups(early=True), hogs.shares(early=True)
    assert shares.longest_gap_s < GAP_S
    assert wakeups.max_us / 1e6 < GAP_S
    assert turn.totals["user_dispatched"] > 100


def test_threads_of_a_policy_keep_no_task_waiting(start: Start) -> None:
    """The threads compute, and hold the interpreter for as long as Python lets them."""
    # Not the shared one: after a policy that has eaten the memory no thread can be started.
    scheduler = start("--policy", f"{HOSTILE}:Threads")
    with undisturbed(scheduler), loaded(600) as (hogs, sleeper):
        decided = ask("status")["counters"]["user_dispatched"]
        time.sleep(4)
        assert ask("status")["counters"]["user_dispatched"] > decided
        wakeups, shares = sleeper.wakeups(early=True), hogs.shares(early=True)
        assert ask("status")["policy"] == "threads"
    assert shares.longest_gap_s < GAP_S
    assert wakeups.max_us / 1e6 < GAP_S


def test_strict_ends_with_the_first_failure(start: Start) -> None:
    """pyland ends with exit code 1 and the reason; the default scheduler is back."""
    # A policy that fails at once may end before its start is seen.
    scheduler = start("--strict", "--policy", f"{HOSTILE}:RaisesAtHogs")
    with Hogs(600, [0] * 6):
        assert scheduler.wait(60) == 1, scheduler.about()
    assert "pyland: ended: policy raisesathogs failed, and --strict was given" in scheduler.output
    assert kernel_state() == "disabled"


def test_a_loop_does_not_keep_it_from_ending(start: Start) -> None:
    """Ctrl-C works while the policy computes for ever."""
    scheduler = start("--policy", f"{HOSTILE}:Loops")
    with Hogs(600, [0] * 6):
        assert until(lambda: "TookTooLong" in scheduler.output, 60) is not None, scheduler.about()
        end = scheduler.end()
    assert end.status == 0
    assert end.seconds < 3  # promised: 1, where nothing is emulated


@pytest.mark.parametrize("kind", ["Unmakeable", "Nobody"])
def test_one_that_cannot_be_made_leaves_the_old_one(shared: Shared, kind: str) -> None:
    """The swap is refused in one line, and the policy that schedules goes on."""
    with (
        shared.turn("deadline", right=False),
        pytest.raises(AssertionError, match=r"not possible|Nobody"),
    ):
        swap(policy=f"{HOSTILE}:{kind}")
    assert ask("status")["policy"] == "deadline"


def test_a_broken_ring_ends_it_with_a_reason(start: Start) -> None:
    """BPF reports it and does not walk the ring; the default scheduler is back."""
    scheduler = start("--policy", f"{HOSTILE}:Corrupt")
    with Hogs(600, [0] * 6):
        assert scheduler.wait(60) == 1, scheduler.about()
    assert "the ring of decisions is broken" in scheduler.output
    assert kernel_state() == "disabled"
