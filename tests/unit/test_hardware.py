# SPDX-License-Identifier: GPL-2.0-only
"""Counters of the hardware: the arithmetic, a machine without any, and the program in the kernel.

The lab's machines have no such counters. Software events take their place where the kernel lets BPF
be loaded: what is sampled and added up is the same.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from contextlib import closing

import psutil
import pytest

from pyland.errors import UsageError
from pyland.stats.hardware import Counted, Hardware, told, told_json

_SOFTWARE, _CPU_CLOCK, _TASK_CLOCK = 1, 0, 1
_NONE = (99999, 0)
HAS_CYCLES = os.path.exists("/sys/bus/event_source/devices/cpu")


def _hardware(*events: tuple[int, int], every: int = 1) -> Hardware:
    return Hardware(psutil.cpu_count() or 1, every=every, events=events, by_class=False)


def test_the_arithmetic() -> None:
    one = Counted(10, cycles=4000, instructions=6000, llc_misses=30)
    assert one.instructions_per_cycle == 1.5
    assert one.misses_per_1000 == 5
    for nothing in (Counted(10), Counted(10, 0, 5), Counted(10, None, 5, 5), Counted(10, 5, 0, 5)):
        assert nothing.instructions_per_cycle in (None, 0)
        assert nothing.misses_per_1000 in (None, 1000)
    rows = told({"game \x1b[2J": one, "rest": Counted(3, cycles=7)}, 2).splitlines()
    assert rows[1].split()[-6:] == ["10", "4000", "6000", "1.50", "30", "5.00"]
    assert rows[2].split() == ["rest", "3", "7", "-", "-", "-", "-"]
    assert rows[3] == "2 samples do not count: another program had the counters meanwhile"
    assert "".join(rows).isprintable()
    assert told({}) == "no task ran in this time"
    found = json.loads(told_json({"rest": Counted(3, cycles=7)}, 1.23456, 2))
    assert found["seconds"] == 1.235
    assert found["classes"] == [
        {"class": "rest", "samples": 3, "cycles": 7, "instructions": None, "llc_misses": None}
    ]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may load BPF programs")
def test_a_machine_without_counters_is_one_line() -> None:
    with pytest.raises(UsageError, match="this machine has no counters of the hardware for") as no:
        _hardware(_NONE, _NONE, _NONE)
    assert str(no.value).endswith("(perf_event_open: No such file or directory)")


@pytest.mark.skipif(HAS_CYCLES, reason="this machine has counters")
def test_the_command_says_so() -> None:
    program = "import sys; from pyland.cli import main; sys.exit(main.main(sys.argv[1:]))"
    done = subprocess.run(
        [sys.executable, "-c", program, "latency", "--hardware"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "no counters of the hardware" in line or "needs root" in line


@pytest.fixture
def counting() -> None:
    """Skips where no BPF program can be loaded."""
    try:
        _hardware((_SOFTWARE, _CPU_CLOCK), _NONE, (_SOFTWARE, _TASK_CLOCK)).close()
    except UsageError as error:
        pytest.skip(str(error))


def test_runs_are_counted_and_what_is_missing_is_none(counting: None) -> None:
    """A clock in ns counts what the tasks used; a second event is missing."""
    before = psutil.cpu_times()
    with closing(_hardware((_SOFTWARE, _CPU_CLOCK), _NONE, (_SOFTWARE, _TASK_CLOCK))) as all_runs:
        begin_s = time.monotonic()
        threads = [threading.Thread(target=_work) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        passed_s = time.monotonic() - begin_s
        (found,) = all_runs.read().values()
        dropped = all_runs.dropped
    after = psutil.cpu_times()
    used_s = sum(after[:3]) - sum(before[:3])
    assert found.samples > 50
    assert found.instructions is None
    assert found.cycles is not None
    assert found.llc_misses is not None
    # Runs that had not ended yet are missing.
    assert 0.3 * used_s < found.cycles / 1e9 <= passed_s * (psutil.cpu_count() or 1) * 1.05
    assert dropped == 0


def test_one_of_so_many_runs_is_sampled(counting: None) -> None:
    events = ((_SOFTWARE, _CPU_CLOCK), _NONE, _NONE)
    with closing(_hardware(*events)) as each, closing(_hardware(*events, every=10)) as tenth:
        _work()
        many, few = (one.read()[0].samples for one in (each, tenth))
    assert many > 100
    assert many / 20 < few < many / 5


def _work() -> None:
    until_s = time.monotonic() + 1.5
    while time.monotonic() < until_s:
        subprocess.run(["true"], check=True)
        time.sleep(0.001)
