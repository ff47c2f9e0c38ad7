# SPDX-License-Identifier: GPL-2.0-only
"""The cost of a decision on the kernel: alone, in a storm, and with thousands of tasks queued.

It runs on a machine that counts instructions instead of time (`tools/vm --icount`): a nanosecond is
an instruction there, and figures repeat within a few per cent, whatever the host does besides. The
CPUs of that machine take turns, and CPU time would include the turns of the others: so all work
stays on the first CPU. Adds to `cost.json` (few decisions, and as many as possible) and, with
`--tasks`, to `scale.json`.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from bench import machine
from bench.cost import bpf_stats
from bench.kernel import RESULTS, chosen, say
from bench.schedulers import Contender, Running, contenders
from tools.load.command import Command
from tools.load.programs import Crowd, Hogs, Sleeper
from tools.load.scheduler import PYLAND, SCHED_EXT

SCHEDULERS = ("pyland deadline", "scx_rustland")
_SETTLE_S = 0.2


def low(running: Running, seconds: float) -> dict[str, Any]:
    """Hogs with slices that end, and a task that wakes up: most cycles have a single decision."""
    with Hogs(seconds + 600, [0] * 3), Sleeper(seconds + 600):
        time.sleep(_SETTLE_S)
        with running.measured() as cost:
            time.sleep(seconds)
    return cost


def full(running: Running, seconds: float) -> dict[str, Any]:
    """Eighty processes that wake each other up all the time."""
    loops = str(max(round(seconds * 50), 1))
    with running.measured() as cost, Command("hackbench", "-P", "-g", "2", "-l", loops) as bench:
        if bench.wait(3600):
            raise RuntimeError(f"hackbench failed: {bench.output[-200:]}")
    return cost


LOADS: dict[str, Callable[[Running, float], dict[str, Any]]] = {"low": low, "full": full}


def crowded(running: Running, seconds: float, tasks: int) -> dict[str, Any]:
    """This many runnable tasks, each of which yields every 50 us."""
    with Crowd(seconds + 600, tasks):
        time.sleep(_SETTLE_S)
        with running.measured() as cost:
            time.sleep(seconds)
    return cost


def measure(
    contender: Contender, seconds: float, loads: Sequence[str], tasks: Sequence[int]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """One scheduler's rows for `cost.json` and for `scale.json`."""
    costs: list[dict[str, Any]] = []
    scales: list[dict[str, Any]] = []
    about: dict[str, Any] = {"scheduler": contender.name, "error": ""}
    try:
        with contender.scheduling() as running:
            for load in loads:
                cost = LOADS[load](running, seconds)
                costs.append({**about, "load": load, "round": 0, "cost": cost})
                say(f"{contender.name}, {load}: {in_words(cost)}")
            for nr in tasks:
                cost = crowded(running, seconds, nr)
                if running.has_ended():
                    raise RuntimeError("the kernel ended the scheduler meanwhile")
                scales.append({**about, "cpus": os.cpu_count(), "tasks": nr, "cost": cost})
                say(f"{contender.name}, {nr} tasks: {in_words(cost)}")
    except (OSError, RuntimeError, TimeoutError) as failed:
        say(f"{contender.name}: {failed}")
        about["error"] = str(failed).splitlines()[0]
        for nr in tasks:
            if all(row["tasks"] != nr for row in scales):
                scales.append({**about, "cpus": os.cpu_count(), "tasks": nr, "cost": None})
    return costs, scales


def in_words(cost: dict[str, Any]) -> str:
    """A cost in words, for a line of progress."""
    nr = max(cost["dispatched"], 1)
    return (
        f"{cost['decisions']} decisions for {cost['dispatched']} dispatched tasks, each "
        f"{cost['user_ns'] / nr:.0f} ns in user space and {cost['bpf_ns'] / nr:.0f} ns in BPF"
    )


def add_to(file: Path, head: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    """Add rows to a file of results; `head` is written if the file is new."""
    if not rows:
        return
    found = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {**head, "runs": []}
    found["runs"] += rows
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def main(words: Sequence[str]) -> int:
    """The exit status: 0 if there are results, 2 for bad arguments."""
    parser = argparse.ArgumentParser(prog="bench.deciding", description=__doc__, allow_abbrev=False)
    add = parser.add_argument
    add("--seconds", type=float, default=2, help="how long a load takes, about (2)")
    add("--schedulers", nargs="+", default=SCHEDULERS, metavar="NAME", help="only these")
    add("--loads", nargs="*", default=list(LOADS), choices=list(LOADS), help="(low full)")
    add("--tasks", nargs="*", type=int, default=[], metavar="NR", help="tasks that are queued")
    add("--results", type=Path, default=RESULTS, metavar="FOLDER", help="(build/bench)")
    options = parser.parse_args(words)
    if not SCHED_EXT.is_dir() or os.geteuid():
        say("it takes root on a kernel with sched_ext: `make bench-kernel` boots one")
        return 2
    there = contenders(PYLAND)
    names = [name for name in options.schedulers if any(each.name == name for each in there)]
    for name in set(options.schedulers) - set(names):
        say(f"left out: {name}: not on PATH")
    if not names:
        say("none of the schedulers is there")
        return 2
    head = machine.described("make bench-kernel")
    os.sched_setaffinity(0, {0})
    with bpf_stats():
        for contender in chosen(names, there, "scheduler"):
            costs, scales = measure(contender, options.seconds, options.loads, options.tasks)
            add_to(options.results / "cost.json", head, costs)
            add_to(options.results / "scale.json", head, scales)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
