# SPDX-License-Identifier: GPL-2.0-only
"""Histograms of a known load: they agree with the programs, with the kernel and with a tracer."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest

from pyland.stats.distribution import By
from pyland.stats.places import DEFAULT_PATH
from tests.kernel.groups import ROOT, Group
from tests.kernel.harness import (
    Record,
    Start,
    ended_well,
    folder_for_policies,
    scaled,
    undisturbed,
)
from tests.support.statistics import Talker, parsed_metrics
from tools.load.programs import Hogs, Sleeper, figures
from tools.load.scheduler import PYLAND

PORT = 9124
TRACING = Path("/sys/kernel/tracing")
NR_HOGS = 4
CLASSES = """
from pyland import Policy, Task

class Classes(Policy):
    def __init__(self):
        self.machine.name_class(0, "others")
        self.machine.name_class(7, "sleeps")

    def enqueue(self, task: Task) -> None:
        sleeps = task.comm == "sleeper"
        self.dispatch(task, vtime_ns=task.awake_runtime_ns, task_class=7 if sleeps else 0)
"""


@contextlib.contextmanager
def _tracing() -> Iterator[None]:
    """The kernel's tracer notes when the sleeper is woken and when it gets a CPU."""
    if not (TRACING / "trace").exists():
        subprocess.run(["mount", "-t", "tracefs", "tracefs", TRACING], check=True)
    events = {"sched_waking": 'comm == "sleeper"', "sched_switch": 'next_comm == "sleeper"'}
    (TRACING / "trace").write_text("")
    for name, wanted in events.items():
        (TRACING / "events/sched" / name / "filter").write_text(wanted)
        (TRACING / "events/sched" / name / "enable").write_text("1")
    try:
        yield
    finally:
        for name in events:
            (TRACING / "events/sched" / name / "enable").write_text("0")
            (TRACING / "events/sched" / name / "filter").write_text("0")


def _traced_us(pid: int) -> list[float]:
    """How long after each wakeup the task had a CPU, in order of length."""
    event = rf" ([0-9.]+): sched_(waking|switch): .*(?:pid|next_pid)={pid} "
    found, woken_s = [], 0.0
    for at, kind in re.findall(event, (TRACING / "trace").read_text()):
        if kind == "waking":
            woken_s = float(at)
        elif woken_s:
            found.append((float(at) - woken_s) * 1e6)
            woken_s = 0.0
    return sorted(found)


def _percentile(values: Sequence[float], percent: float) -> float:
    return values[max(-int(-len(values) * percent // 100), 1) - 1]


def _same_bucket(one_us: float, other_us: float) -> bool:
    """True if the two are in the same bucket or in two that are beside each other."""
    return abs(int(one_us).bit_length() - int(other_us).bit_length()) <= 1


@contextlib.contextmanager
def _look(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """`pyland latency --json` as a plain user; SIGINT ends it."""
    with subprocess.Popen(
        [PYLAND, "latency", "--json", "--seconds", "600", *arguments],
        stdout=subprocess.PIPE, text=True, user=65534, group=65534, extra_groups=[],
    ) as look:  # fmt: skip
        try:
            yield look
        finally:
            look.kill()


def _found(look: subprocess.Popen[str]) -> dict[tuple[str, str], dict[str, Any]]:
    """The histograms of a look that ends now, by key and name."""
    look.send_signal(signal.SIGINT)
    text, _ = look.communicate(timeout=90)
    assert look.returncode == 0
    return {(one["key"], one["name"]): one for one in json.loads(text)["histograms"]}


def _run_delay_ns(pids: Sequence[int]) -> int:
    """How long these tasks have waited for a CPU, as the kernel counts it."""
    return sum(int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) for pid in pids)


def _metrics() -> dict[tuple[str, str, str], float]:
    with urllib.request.urlopen(f"http://127.0.0.1:{PORT}/metrics", timeout=60) as answer:
        families = parsed_metrics(answer.read().decode())
    return {
        (sample.name, sample.labels.get("class", ""), sample.labels.get("le", "")): sample.value
        for family in families
        for sample in family.samples
    }


@pytest.mark.counted
@pytest.mark.long
def test_histograms_agree_with_the_load(start: Start, record: Record) -> None:
    """Counts, times and percentiles, by comm, class, cgroup and queue, from one run."""
    seconds = scaled(16, at_least=5)
    group = Group(ROOT / "pyland-latency")
    with contextlib.ExitStack() as stack:
        stack.callback(group.remove)
        folder = stack.enter_context(folder_for_policies())
        (folder / "classes.py").write_text(CLASSES)
        scheduler = start(
            *("--policy", f"{folder}/classes.py:Classes", "--stats-mode", "666"),
            *("--metrics", str(PORT), "--histograms"),
        )
        stack.enter_context(undisturbed(scheduler))
        hogs = stack.enter_context(Hogs(600, [0] * NR_HOGS))
        group.take(hogs.pids)
        talkers = {by: Talker(DEFAULT_PATH, 60) for by in By}
        for talker in talkers.values():
            stack.callback(talker.close)
        look = stack.enter_context(_look("--by", "comm"))
        time.sleep(3)
        before = talkers[By.CLASS].ask("stats")
        for by, talker in talkers.items():
            talker.ask("stats", target="latency", by=by.value)
        first_metrics = _metrics()
        used_us, delay_ns, begin_s = group.used_us(), _run_delay_ns(hogs.pids), time.monotonic()
        with _tracing(), Sleeper(seconds) as sleeper:
            pid = sleeper.pid
            wakeups = sleeper.wakeups()
        traced_us = _traced_us(pid)
        took_s = time.monotonic() - begin_s
        answers = {
            by: talker.ask("stats", target="latency", by=by.value) for by, talker in talkers.items()
        }
        used_us = group.used_us() - used_us
        number = group_number(group)
        delay_ns = _run_delay_ns(hogs.pids) - delay_ns
        counts = talkers[By.CLASS].ask("stats")
        last_metrics = _metrics()
        by_comm = _found(look)
    end = scheduler.end()
    ended_well(end)
    assert before["policy"] == "classes"

    of_sleeper = by_comm["sleeper", "wakeup"]
    traced = {percent: _percentile(traced_us, percent) for percent in (50, 99)}
    record(
        histogram={name: of_sleeper[name] for name in ("count", "average", "p50", "p90", "p99")},
        traced={"count": len(traced_us), **{f"p{percent}": us for percent, us in traced.items()}},
        sleeper=figures(wakeups),
    )
    # The tracer also sees wakeups of a task that has not left its CPU yet.
    assert abs(of_sleeper["count"] - len(traced_us)) <= 5 + 0.05 * len(traced_us)
    assert abs(of_sleeper["count"] - wakeups.periods) <= 10
    for percent, us in traced.items():
        assert _same_bucket(of_sleeper[f"p{percent}"], us), percent
    assert _same_bucket(of_sleeper["p50"], wakeups.p50_us)
    assert _same_bucket(of_sleeper["p99"], wakeups.p99_us)
    # It runs for a millisecond after each, and may be interrupted.
    assert by_comm["sleeper", "run"]["average"] < 1.5 * wakeups.run_us

    keys = {
        by: {one["key"]: one["histograms"] for one in answer["keys"]}
        for by, answer in answers.items()
    }

    def count(found: dict[str, Any], name: str) -> int:
        return sum(found[name]["buckets"])

    # Each value of the whole is in exactly one key of each kind.
    for by, answer in answers.items():
        for name in ("wakeup", "decision", "decided", "queue"):
            of_all = count(answer["all"], name)
            of_keys = sum(count(one, name) for one in keys[by].values())
            assert abs(of_keys - of_all) <= 5 + of_all * 0.01, (by, name)
    assert abs(count(keys[By.CLASS]["sleeps"], "wakeup") - wakeups.periods) <= 10
    hogs_ran = keys[By.CGROUP][str(number)]["run"]["total"] / 1000
    record(hogs_ran_us=hogs_ran, hogs_used_us=used_us)
    assert 0.9 < hogs_ran / used_us < 1.1
    assert "domain 0" in keys[By.QUEUE]

    # What the kernel says of the hogs, which wait most of all.
    switches = counts["voluntary"] + counts["involuntary"]
    runs = count(answers[By.CLASS]["all"], "run")
    record(run_delay_s=counts["run_delay_ns"] / 1e9, hogs_delay_s=delay_ns / 1e9)
    assert 0.9 < counts["run_delay_ns"] / delay_ns < 1.3
    assert 0.95 < runs / switches < 1.05
    if (psutil.cpu_count() or 1) > 1:
        assert counts["migrated_core"] + counts["migrated_llc"] > 0

    name = "pyland_wakeup_to_cpu_seconds"
    grown = {key: value - first_metrics.get(key, 0) for key, value in last_metrics.items()}
    assert abs(grown[f"{name}_count", "sleeps", ""] - wakeups.periods) <= 20
    assert grown[f"{name}_bucket", "sleeps", "+Inf"] == grown[f"{name}_count", "sleeps", ""]
    ran_s = sum(grown["pyland_on_cpu_seconds_sum", one, ""] for one in ("sleeps", "others"))
    assert ran_s < 1.3 * took_s * (psutil.cpu_count() or 1)


def group_number(group: Group) -> int:
    """The cgroup's number in the kernel."""
    return group.folder.stat().st_ino
