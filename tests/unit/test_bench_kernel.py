# SPDX-License-Identifier: GPL-2.0-only
"""The schedulers of a comparison, their order, and the cost of a decision."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import pytest

from bench import cost, kernel, schedulers
from bench.figures import DEFAULT
from bench.schedulers import Contender, Running, contenders
from bench.workloads import Metric, Workload


def snapshot(decisions: int, user_ns: int) -> cost._Snapshot:
    return cost._Snapshot(
        time_ns=decisions * 1_000_000,
        decisions=decisions,
        dispatched=2 * decisions,
        user_ns=user_ns,
        others_ns=0,
        bpf_ns=2 * user_ns,
        bpf_runs=decisions,
        faults=0,
    )


def test_each_scheduler_has_its_turn_in_each_round_at_another_place() -> None:
    names = [Contender(name) for name in "abcd"]
    orders = [kernel.rotated(names, round_) for round_ in range(4)]
    assert all(Counter(order) == Counter(names) for order in orders)
    assert len({tuple(order) for order in orders}) == 4


def test_an_unknown_name_is_refused_with_those_that_there_are() -> None:
    among = [Contender(DEFAULT), Contender("pyland fifo")]
    assert kernel.chosen([], among, "scheduler") == among
    with pytest.raises(ValueError, match=r"no scheduler 'fifo'; there are: default, pyland fifo"):
        kernel.chosen(["fifo"], among, "scheduler")


def test_a_machine_without_sched_ext_or_root_is_told_what_does_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernel, "SCHED_EXT", Path("/nowhere"))
    assert kernel.main([]) == 2
    assert "make bench-kernel" in capsys.readouterr().err


def test_all_policies_take_part_and_all_schedulers_on_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("scx_some", "scx_loader"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    (tmp_path / "scx_notes").write_text("no program")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("PYLAND_BENCH_PATH", raising=False)
    names = [each.name for each in contenders("pyland")]
    assert names[:2] == [DEFAULT, "pyland deadline"]
    assert names[-1] == "scx_some"


def test_a_cost_is_what_was_counted_between_two_readings() -> None:
    counted = {"user_dispatched": 190, "delay_ns": 20, "cycles": 80}
    found = cost.between(snapshot(100, 5_000), snapshot(300, 9_000), counted)
    assert (found["decisions"], found["user_ns"], found["bpf_ns"]) == (200, 4_000, 8_000)
    assert found["cycles"] == 80
    assert found["split"] is None  # some of its counters are missing


def test_the_split_is_of_what_pyland_counts() -> None:
    counted = dict.fromkeys(cost.SPLIT.values(), 0)
    counted |= {"user_dispatched": 10, "delay_ns": 1000, "wait_user_ns": 700}
    found = cost.between(snapshot(0, 0), snapshot(10, 10), counted)
    assert found["split"]["records"] == 10
    assert found["split"]["scheduler_wait_ns"] == 700
    assert found["split"]["python_ns"] == 300


def test_a_process_without_a_ring_is_said_to_have_none() -> None:
    with pytest.raises(RuntimeError, match="has a ring of decisions"):
        cost.Meter(os.getpid(), os.getpid(), 48)


def test_the_complaint_of_a_scheduler_is_its_error() -> None:
    output = (
        "12:00 \x1b[34m[INFO]\x1b[0m starting\nError: Failed to load\n\nCaused by:\n    EINVAL\n"
    )
    assert schedulers._complaint(output) == "Error: Failed to load Caused by: EINVAL"
    assert schedulers._complaint("") == "it said nothing"


class Mortal(Contender):
    """A scheduler that the kernel ends during each second workload."""

    starts: ClassVar[int] = 0

    @contextmanager
    def scheduling(self) -> Iterator[Running]:
        type(self).starts += 1
        running = Running()
        done = 0

        def has_ended() -> bool:
            nonlocal done
            done += 1
            return done > 3

        running.has_ended = has_ended  # type: ignore[method-assign]
        yield running
        raise RuntimeError("ended by itself: Error: stall\nmore")


def test_a_scheduler_that_ends_is_started_again_and_nothing_is_counted_twice(
    tmp_path: Path,
) -> None:
    metric = Metric("time_s", "lower", "time")
    loads = [
        Workload(name, "", (metric,), contended=True, needs=(), run=lambda *_: {"time_s": 1.0})
        for name in "abcde"
    ]
    Mortal.starts = 0
    runs = kernel.turn(Mortal("scx_mortal"), loads, 1, tmp_path, 0)
    assert [run["workload"] for run in runs] == list("abcde")
    assert Mortal.starts > 1
    assert all(bool(run["metrics"]) != bool(run["error"]) for run in runs)
    assert any(run["error"] for run in runs)


def test_what_was_measured_before_is_kept() -> None:
    def results(scheduler: str, first: int, rounds: int) -> dict[str, Any]:
        runs = [{"round": first + at, "scheduler": scheduler} for at in range(rounds)]
        workloads: dict[str, Any] = {"pipe": {}}
        about = {"command": f"--schedulers {scheduler}", "rounds": rounds, "workloads": workloads}
        return {**about, "left_out": {}, "versions": {scheduler: ""}, "runs": runs}

    first, second = results("a", 0, 3), results("b", 3, 2)
    assert kernel.added({}, first) == first
    both = kernel.added(first, second)
    assert both["rounds"] == 5
    assert [run["round"] for run in both["runs"]] == [0, 1, 2, 3, 4]
    assert both["command"].splitlines() == ["--schedulers a", "--schedulers b"]
    assert both["versions"].keys() == {"a", "b"}
