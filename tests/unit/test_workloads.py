# SPDX-License-Identifier: GPL-2.0-only
"""The benchmark's workloads run, and their outputs are read rightly."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path

import pytest

from bench import mariadb, outputs, runs
from bench.workloads import WORKLOADS, Workload
from tools.load.command import Command, available
from tools.load.programs import Game

SCHBENCH = """\
Wakeup Latencies percentiles (usec) runtime 5 (s) (5426 total samples)
\t  50.0th: 4          (1713 samples)
\t  90.0th: 539        (1903 samples)
\t* 99.0th: 2948       (488 samples)
\t  99.9th: 4728       (50 samples)
\t  min=1, max=5201
Request Latencies percentiles (usec) runtime 5 (s) (5427 total samples)
\t  50.0th: 647        (1712 samples)
\t* 99.0th: 15408      (488 samples)
\t  min=571, max=24628
RPS percentiles (requests) runtime 5 (s) (6 total samples)
\t  20.0th: 364        (2 samples)
\t* 50.0th: 785        (1 samples)
\t  min=364, max=1876
average rps: 1085.40
sched delay: message 0 (usec) worker 0 (usec)
"""

HACKBENCH = """\
Running in process mode with 2 groups using 40 file descriptors each (== 80 tasks)
Each sender will pass 20 messages of 100 bytes
Time: 0.066
"""

STRESS = """\
stress-ng: info:  [19829] dispatching hogs: 4 switch
stress-ng: metrc: [19829] stressor       bogo ops real time  usr time  sys time   bogo ops/s
stress-ng: metrc: [19829]                           (secs)    (secs)    (secs)   (real time)
stress-ng: metrc: [19829] switch          1740664      5.00      0.65      8.16    348085.80 \
     197617.84        44.04          2548
stress-ng: metrc: [19829] miscellaneous metrics:
stress-ng: metrc: [19829] switch             12688.98 nanosecs per context switch (pipe method)
stress-ng: info:  [19829] successful run completed in 5.01s
"""

SYSBENCH = """\
SQL statistics:
    queries performed:
        total:                           70660
    transactions:                        3533   (706.09 per sec.)

General statistics:
    total time:                          5.0032s
    total number of events:              3533

Latency (ms):
         min:                                    2.11
         avg:                                    5.66
         max:                                   25.12
         99th percentile:                       12.98
         sum:                                19995.71

Threads fairness:
    execution time (avg/stddev):   4.9989/0.00
"""

CYCLICTEST = json.dumps(
    {
        "num_threads": 2,
        "thread": {
            "0": {"histogram": {"20": 60, "25": 39}, "cycles": 99, "max": 25, "avg": 22.0},
            "1": {"histogram": {"20": 98, "700": 1}, "cycles": 101, "max": 31000, "avg": 420.0},
        },
    }
)


def test_schbench_is_read_by_table() -> None:
    assert outputs.schbench(SCHBENCH) == {
        "wakeup_p99_us": 2948,
        "wakeup_p50_us": 4,
        "request_p99_us": 15408,
        "requests_per_s": 1085.4,
    }


def test_of_several_reports_of_schbench_the_last_counts() -> None:
    earlier = SCHBENCH.replace("2948", "7").replace("1085.40", "8.00")
    assert outputs.schbench(earlier + SCHBENCH) == outputs.schbench(SCHBENCH)


def test_hackbench_is_its_time() -> None:
    assert outputs.hackbench(HACKBENCH) == {"time_s": 0.066}


def test_stress_ng_is_the_rate_in_real_time() -> None:
    assert outputs.stress(STRESS, "switch") == {"ops_per_s": 348085.8}
    with pytest.raises(RuntimeError, match="rate of cpu"):
        outputs.stress(STRESS, "cpu")


def test_sysbench_counts_events_over_its_time() -> None:
    found = outputs.sysbench(SYSBENCH)
    assert found == {"events_per_s": pytest.approx(706.15, abs=0.01), "latency_p99_ms": 12.98}


def test_cyclictest_is_all_threads_together() -> None:
    found = outputs.cyclictest(CYCLICTEST)
    # 197 of 200 stay within 25 us, one more within 700, two are beyond the histogram.
    assert found == {"p99_us": 700, "avg_us": pytest.approx(222.99), "max_us": 31000}


def test_beyond_cyclictests_histogram_is_the_longest() -> None:
    assert outputs.percentile({20: 97, 700: 1}, 98, 100, 31000) == 700
    assert outputs.percentile({20: 97, 700: 1}, 99, 100, 31000) == 31000


@pytest.mark.parametrize(
    "parse", [outputs.schbench, outputs.hackbench, outputs.sysbench, outputs.cyclictest]
)
@pytest.mark.parametrize("text", ["", "Killed\n", "{}"])
def test_output_without_figures_is_an_error(parse: object, text: str) -> None:
    assert callable(parse)
    with pytest.raises(RuntimeError, match=r"^no .*$"):
        parse(text)


def test_names_are_unique() -> None:
    names = [workload.name for workload in WORKLOADS]
    assert len(set(names)) == len(names)
    for workload in WORKLOADS:
        metrics = [metric.name for metric in workload.metrics]
        assert metrics
        assert len(set(metrics)) == len(metrics), workload.name


def _workload(name: str) -> Workload:
    (found,) = (each for each in WORKLOADS if each.name == name)
    missing = [command for command in found.needs if not available(command)]
    if missing:
        pytest.skip(f"no {missing[0]} here")
    return found


@pytest.mark.parametrize("name", ["sleeper", "cpu-spare", "hackbench"])
def test_a_workload_measures_what_it_declares(name: str, tmp_path: Path) -> None:
    workload = _workload(name)
    found = workload.run(1, tmp_path / "raw")
    assert set(found) == {metric.name for metric in workload.metrics}
    assert all(0 < value < math.inf for value in found.values()), found
    # hackbench alone may have nothing to say.
    raw = list((tmp_path / "raw").glob("*.txt"))
    assert raw
    assert all(file.stat().st_size or file.name.startswith("hackbench") for file in raw)


def test_a_program_that_fails_says_so_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"^sh ended with status 3: at last$"):
        runs.ended(Command("sh", "-c", "echo at first; echo at last; exit 3"), 1, tmp_path)
    assert (tmp_path / "sh.txt").read_text() == "at first\nat last\n"


def test_without_a_server_there_are_no_transactions(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="no MariaDB server"):
        runs.oltp(1, tmp_path)
    with pytest.raises(RuntimeError, match="no data"), mariadb.Server(tmp_path):
        pass


@pytest.mark.skipif(not available("gcc"), reason="no gcc here")
class TestGame:
    """The workload `game` without its compilation."""

    def test_frames_have_the_screens_period(self) -> None:
        with Game(1, helpers=1, main_us=500, helper_us=500) as game:
            seen = game.frames()
        assert 1 < seen.fps <= 60.1
        assert 1 < seen.frames <= 61
        assert seen.frames == pytest.approx(seen.fps * seen.seconds, abs=0.1)
        assert 16 <= seen.p50_ms <= seen.p99_ms <= seen.max_ms
        assert seen.low1_fps == pytest.approx(1000 / seen.max_ms, abs=0.01)
        assert 0 <= seen.late <= seen.frames
        assert 0 < seen.helper_p50_us <= seen.helper_p99_us
        assert seen.done_p99_ms > 1

    def test_too_much_work_makes_every_frame_late_and_owes_nothing(self) -> None:
        with Game(1, fps=100, helpers=1, main_us=25_000, helper_us=100) as game:
            seen = game.frames()
        assert seen.late == seen.frames
        # No late frame has two periods, and each takes two and a half.
        assert 1 < seen.fps <= 41
        assert seen.max_ms == pytest.approx(round(seen.max_ms / 10) * 10)

    def test_it_can_be_ended_early(self) -> None:
        with Game(60) as game:
            time.sleep(0.5)
            seen = game.frames(early=True)
        assert 0 < seen.seconds < 30
        assert 0 < seen.frames <= seen.seconds * 60 + 1
        assert seen.late <= seen.frames
