# SPDX-License-Identifier: GPL-2.0-only
"""The lines of `pyland top` for a size."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from wcwidth import wcswidth

from pyland.errors import UsageError
from pyland.stats.counters import TOTALS
from pyland.top import text
from pyland.top.cpus import cpu_lines, domain_lines
from pyland.top.keys import LATENCY_PAGE, NR_PAGES, SURE, Choices
from pyland.top.machine import CpuSeen, DomainSeen, MachineSeen
from pyland.top.orders import SORTS, chosen
from pyland.top.screen import Screen
from pyland.top.seen import Seen
from pyland.top.statistics import Histogram, checked, histograms
from pyland.top.tasks import TaskSeen
from pyland.top.view import COLUMNS_MIN, ROWS_MIN, frame

SIZES = [(80, 24), (200, 60), (COLUMNS_MIN, ROWS_MIN), (132, 43)]
HOSTILE = "\x1b[2J\n\u202eevil\x07\udcff\u4e2d\u6587"


def cpu(number: int, *, domain: int = 0, busy: float = 0.5, task: str = "") -> CpuSeen:
    return CpuSeen(number, domain, busy, 1.5, 100.0, 300_000_000, 100, task)


def machine(nr_cpus: int = 2, nr_domains: int = 1) -> MachineSeen:
    cpus = tuple(cpu(n, domain=n % nr_domains, task="hog") for n in range(nr_cpus))
    domains = tuple(
        DomainSeen(n, tuple(range(n, nr_cpus, nr_domains)), 0.5, float(n), 3e6, 200.0)
        for n in range(nr_domains)
    )
    return MachineSeen(cpus, domains, (1.0, 2.0, 3.0), 1 << 29, 2 << 30, 0, 1 << 30)


def task(tid: int, comm: str = "hog", **values: Any) -> TaskSeen:
    return TaskSeen(tid, tid, comm, runs_per_s=10.0, state="R", **values)


def answer(**values: Any) -> dict[str, Any]:
    return {**dict.fromkeys(TOTALS, 0), "policy": "deadline", **values}


def seen(**values: Any) -> Seen:
    found = checked(
        answer(
            direct=60, user_dispatched=20, continued=15, fallback_idle=5, delay_ns=40_000_000,
            policy_gauges={"waiting": {"policy_gauge": 3}},
            policy_counts={"boosts": {"policy_count": 12}},
        ),
        2.0,
        Path("/s"),
    )  # fmt: skip
    base = Seen("12:00:00", machine(), (task(7, "late", wait_share=0.5),), 5, 5, found)
    return replace(base, **values)


def shown(what: Seen, choices: Choices, columns: int = 80, rows: int = 24) -> list[str]:
    """The frame's lines as text; asserts that all of it fits."""
    lines = [text.plain(one) for one in frame(what, choices, Screen(columns, rows))]
    assert len(lines) == rows
    for one in lines:
        assert one.isprintable()
        assert wcswidth(one) <= columns
    return lines


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("page", range(NR_PAGES))
def test_every_page_fits_every_size(size: tuple[int, int], page: int) -> None:
    hostile = task(3, HOSTILE, process=HOSTILE, cgroup=f"/{HOSTILE}", wait_share=1.0, waits_s=3.0)
    found = checked(
        answer(
            policy=HOSTILE * 9,
            policy_gauges={HOSTILE: {"policy_gauge": -1e300}, "inf": {"policy_gauge": math.inf}},
        ),
        1.0,
        Path("/s"),
    )
    everything = seen(
        tasks=(hostile, *(task(n, f"task{n}") for n in range(10, 99))),
        machine=machine(nr_cpus=64, nr_domains=9),
        statistics=found,
    )
    for choices in (
        Choices(page=page),
        Choices(page=page, help=True),
        Choices(page=page, message=HOSTILE * 9, scrolled=10_000),
        Choices(page=page, asks="process", text="x" * 190),
        Choices(page=page, asks=SURE, policy=HOSTILE * 20),
        Choices(page=page, process=HOSTILE, cgroup=HOSTILE),
    ):
        shown(everything, choices, *size)
        shown(Seen(trouble=HOSTILE), choices, *size)


def test_what_a_user_looks_for_is_there_at_80x24() -> None:
    first, decisions, latency, policy, cpus, domain, header, late, *_, last = shown(
        seen(), Choices()
    )
    assert first.startswith("pyland deadline  2 CPUs  load 1.00 2.00 3.00  mem 512M/2.0G")
    assert first.rstrip().endswith("12:00:00")
    assert decisions == (
        "decisions 50/s  direct 60%  python 20%  continued 15%  fallback 5%  held 0"
    )
    assert "wait for a CPU 3.0ms  decision 2.0ms" in latency
    assert policy == "policy    waiting 3, boosts 6/s"
    assert "50% 1.5w hog" in cpus
    assert domain.startswith("domain 0  CPUs 0-1       busy  50%  waiting    0  mean wait  3.0ms")
    assert "COMMAND (sorted by wait)" in header
    assert late.split() == ["7", "R", "0", "0", "0%", "50%", "0", "-", "10", "late"]
    assert last.startswith("[1 tasks] 2 counters 3 latency")


def test_a_small_screen_is_named() -> None:
    (told, *_) = shown(seen(), Choices(), 40, 10)
    assert told == f"40x10 is too small: {COLUMNS_MIN}x{ROWS_MIN} or more"
    shown(seen(), Choices(), 1, 1)


def test_the_process_that_decides_is_not_late() -> None:
    worker = task(9, "python3", wait_share=0.95, decides=True)
    lines = shown(seen(tasks=(worker, task(7, "late", wait_share=0.5))), Choices())
    late, decides = lines[7:9]
    assert late.endswith("late")
    assert decides.split()[:9] == ["9", "R", "0", "0", "0%", "-", "-", "-", "10"]
    assert decides.endswith("python3, which decides")


def test_without_a_server_the_machine_is_shown() -> None:
    what = seen(statistics=None, trouble="no server listens at /s", scheduler="simple_1.0")
    lines = shown(what, Choices())
    assert lines[1] == "no statistics: no server listens at /s"
    assert any("late" in one for one in lines[4:])
    assert "no pyland (simple_1.0)" in lines[0]


@pytest.mark.parametrize(
    ("nr_cpus", "word"), [(4, "CPU   3["), (24, " 23["), (200, "CPUs    0 "), (4000, "more CPUs")]
)
def test_the_more_cpus_the_less_is_said_of_each(nr_cpus: int, word: str) -> None:
    lines = [text.plain(one) for one in cpu_lines(machine(nr_cpus), Screen(80, 5))]
    assert len(lines) <= 5
    assert any(word in one for one in lines)
    assert all(len(one) <= 80 for one in lines)


def test_the_domains_that_wait_most_are_shown() -> None:
    lines = [text.plain(one) for one in domain_lines(machine(16, 8), 3)]
    assert [one.split()[:2] for one in lines[:2]] == [["domain", "7"], ["domain", "6"]]
    assert lines[2] == "6 more domains, in which fewer tasks wait"


def test_orders_and_filters() -> None:
    tasks = [
        task(1, "a", wait_share=0.2, cpu_share=0.9, mean_wait_ns=5.0),
        task(2, "b", wait_share=0.7, cpu_share=0.1, process="Server", cgroup="/web"),
        task(3, "c", waits_s=2.0, wait_share=1.0),
        TaskSeen(4, 4, "asleep", cgroup="/Web/x"),
    ]
    first = {sort: chosen(tasks, sort)[0].comm for sort in SORTS}
    assert first == {"wait": "c", "mean": "a", "cpu": "a", "runs": "a", "number": "a"}
    assert {one.comm for one in chosen(tasks, "wait")} == {"a", "b", "c"}
    assert [one.comm for one in chosen(tasks, "wait", process="serv")] == ["b"]
    assert [one.comm for one in chosen(tasks, "wait", process="3")] == ["c"]
    assert [one.comm for one in chosen(tasks, "number", cgroup="web")] == ["b", "asleep"]
    assert chosen(tasks, "wait", process="a", cgroup="none") == []


def test_a_policys_answer_is_checked() -> None:
    with pytest.raises(UsageError, match="the scheduler there is not pyland"):
        checked({"total": 5}, 1.0, Path("/s"))
    found = checked(
        answer(policy=5, policy_gauges=[1], policy_counts={"a": 1, "b": {"policy_count": "x"}}),
        1.0,
        Path("/s"),
    )
    assert (found.policy, found.policy_gauges, found.policy_counts) == ("?", {}, {})


def test_histograms_of_a_server_are_shown() -> None:
    answered = {
        "all": {
            "wakeup": {"total": 9000, "buckets": [1, 0, 8, 0, 1]},
            "queue": {"total": 3, "buckets": [0, 3]},
            "run": {"total": 0, "buckets": []},
            "bad": {"total": 0, "buckets": [-1]},
            "worse": 5,
        }
    }
    found = histograms(answered)
    told = [(one.name, one.in_time) for one in found]
    assert told == [("wakeup", True), ("queue", False), ("run", True)]
    assert [found[0].percentile(part) for part in (0.05, 0.5, 1)] == [0, 3, 16]
    assert Histogram("none", (0, 0)).percentile(0.5) == 0
    assert histograms([]) == histograms({"all": 1}) == ()
    statistics = seen().statistics
    assert statistics is not None
    what = seen(statistics=replace(statistics, histograms=found))
    text_of = "\n".join(shown(what, Choices(page=LATENCY_PAGE), 80, 40))
    assert "  wakeup  p50 3.0us  p90 4.0us  p99 15us  p99.9 16us" in text_of
    assert re.search(r"^ +8.0us +1 \|+ *$", text_of, re.MULTILINE)
    assert "  queue  p50 1  p90 1" in text_of
    wide = shown(what, Choices(page=LATENCY_PAGE), 200, 60)
    assert any("wakeup" in one and "queue" in one for one in wide)
    none = shown(seen(), Choices(page=LATENCY_PAGE))
    assert any("this pyland keeps no histograms" in one for one in none)


@pytest.mark.parametrize(
    ("value", "told"),
    [(0, "0"), (0.04, "0.0"), (3.14, "3.1"), (1234, "1234"), (12345, "12.3k"), (3e6, "3.0M")],
)
def test_short_numbers(value: float, told: str) -> None:
    assert text.number(value) == told


@pytest.mark.parametrize(
    ("value_ns", "told"),
    [(0, "0"), (850, "850ns"), (999_800, "1.0ms"), (12_000, "12us"), (1.5e9, "1.5s")],
)
def test_short_times(value_ns: float, told: str) -> None:
    assert text.duration(value_ns) == told


def test_a_text_is_cut_by_its_cells() -> None:
    assert text.fit("\u4e2d\u6587x", 4) == "\u4e2d+ "
    assert text.fit("abc", 5, right=True) == "  abc"
    assert text.clean("\u4e2d\x1b", "ascii") == "\\u4e2d\\x1b"
    assert text.bar(0.5, 4) == "||  "
    assert text.bar(0.01, 4) == "|   "


def test_a_note_of_the_policy_is_beside_the_task() -> None:
    statistics = replace(seen().statistics, notes={7: "game \x1b[2J"})  # type: ignore[type-var]
    (row,) = (one for one in shown(seen(statistics=statistics), Choices()) if "late:" in one)
    assert row.rstrip().endswith(" late: game \\x1b[2J")


@pytest.mark.parametrize(
    ("nr_read", "knows_all", "told"),
    [
        (5, True, "all 5 read"),
        (3, True, "partial: 3 of 5 read in this interval"),
        (5, False, "partial: 5 found so far"),
    ],
)
def test_a_partial_list_is_called_so(nr_read: int, knows_all: bool, told: str) -> None:
    text = shown(seen(nr_read=nr_read, knows_all=knows_all), Choices())
    assert f"1 tasks ran or waited; {told}" in text
