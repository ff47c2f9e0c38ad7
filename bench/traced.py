# SPDX-License-Identifier: GPL-2.0-only
"""What `pyland trace` costs: the same work without a trace, with one, and without one again.

    tools/vm --icount --cpus 2 -- .venv/bin/python -m bench.traced

Computation on all CPUs, a build with two jobs for each CPU, and crowds that send each other
messages. hackbench does little but switch, so it is the worst case.
"""

from __future__ import annotations

import os
import re
import signal
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tools.load import build
from tools.load.command import Command, Stress
from tools.load.scheduler import PYLAND, Scheduler

_CPUS = os.cpu_count() or 1
_COMPILE = "for i in 1 2 3; do gcc -O1 -std=gnu11 -S -o /dev/null {source}; done"


def _cpu() -> float:
    """Milliseconds for an operation of four hogs for each CPU."""
    with Stress(f"--cpu {4 * _CPUS} --cpu-method int64 --metrics", 4) as run:
        run.wait(300)
        output = run.output
    found = re.search(r"\] cpu +(\d+) +([\d.]+)", output)
    assert found, output
    return float(found[2]) / int(found[1]) * 1e3


def _seconds(*words: str) -> float:
    begin_s = time.monotonic()
    with Command(*words) as run:
        run.wait(300)
    return time.monotonic() - begin_s


def _compile() -> float:
    loop = f"({_COMPILE.format(source=build.HERE / 'game.c')}) & " * 2 * _CPUS
    return _seconds("sh", "-c", f"{loop} wait")


LOADS: dict[str, Callable[[], float]] = {
    "computation, ms per operation": _cpu,
    "build, s": _compile,
    "hackbench, s": lambda: _seconds("hackbench", "-P", "-g", str(_CPUS), "-l", "300"),
}


def traced(work: Callable[[], float], path: Path) -> float:
    """What the work takes while a trace is written."""
    with Command(str(PYLAND), "trace", "-o", str(path)) as trace:
        time.sleep(3)
        took = work()
        trace.stop(signal.SIGINT)
    return took


def main() -> None:
    """Print a table."""
    print("| load | without | with a trace | without | slower |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder, Scheduler() as scheduler:
        scheduler.wait_enabled()
        _compile()  # the compiler is in memory from then on
        for name, work in LOADS.items():
            first = work()
            during = traced(work, Path(folder) / "trace")
            last = work()
            slower = during / ((first + last) / 2) - 1
            print(
                f"| {name} | {first:.3f} | {during:.3f} | {last:.3f} | {slower:.1%} |", flush=True
            )


if __name__ == "__main__":
    main()
