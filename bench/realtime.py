# SPDX-License-Identifier: GPL-2.0-only
"""What real-time tasks wake up or interrupt, under the default scheduler and under pyland.

    tools/vm --icount --cpus 2 -- .venv/bin/python -m bench.realtime [--seconds S] [--policy P]

Each row runs once with each of the two, in one boot, beside a hog for each CPU. The rows are those
of docs/faults.md: a sound server with three clients; one task that a FIFO task wakes each 5 ms, on
any CPU and on the FIFO task's own; a sleeper on the CPU of a FIFO task that runs 1 ms in 5.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable

from tools.load.programs import Hogs, Periods, RealTime, Sleeper, Wakeups
from tools.load.scheduler import Scheduler

_ONE = {"period_us": 5000, "driver_us": 100, "clients": 1, "client_us": 500}
_Figures = dict[str, float]


def _waits(measured: Periods | Wakeups) -> _Figures:
    """How long the task waited after a wakeup, in microseconds."""
    return {"p50": measured.p50_us, "p99": measured.p99_us, "max": measured.max_us}


def _server(seconds: float, **options: int) -> _Figures:
    with RealTime(seconds, **options) as server:
        periods = server.periods()
    return {"periods": periods.periods, "missed": periods.missed, **_waits(periods)}


def _sleeper(seconds: float) -> _Figures:
    driver = {"clients": 0, "period_us": 5000, "driver_us": 1000, "cpu": 0}
    with RealTime(600, **driver), Sleeper(seconds, cpu=0) as sleeper:
        wakeups = sleeper.wakeups()
    return {"periods": wakeups.periods, "missed": 0, **_waits(wakeups)}


ROWS: dict[str, Callable[[float], _Figures]] = {
    "a sound server": _server,
    "woken each 5 ms": lambda seconds: _server(seconds, **_ONE),
    "the same, on the CPU of its waker": lambda seconds: _server(seconds, cpu=0, **_ONE),
    "a sleeper under 1 ms in 5": _sleeper,
}


def measure(seconds: float) -> dict[str, _Figures]:
    """The figures of every row, under the scheduler that there is."""
    with Hogs(600, [0] * (os.cpu_count() or 1)):
        return {name: row(seconds) for name, row in ROWS.items()}


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0], allow_abbrev=False)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--policy", default="deadline")
    options = parser.parse_args()
    found = {"default": measure(options.seconds)}
    with Scheduler("--policy", options.policy) as scheduler:
        scheduler.wait_enabled()
        found[options.policy] = measure(options.seconds)
    columns = ["periods", "missed", "p50", "p99", "max"]
    print("|", " | ".join(["us", "scheduler", *columns]), "|")
    print("|---" * (len(columns) + 2), "|", sep="")
    for row in ROWS:
        for name, rows in found.items():
            print("|", " | ".join([row, name, *(f"{rows[row][c]:.0f}" for c in columns)]), "|")


if __name__ == "__main__":
    main()
