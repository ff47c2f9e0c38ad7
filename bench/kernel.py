# SPDX-License-Identifier: GPL-2.0-only
"""Every scheduler under every workload on the running kernel: `make bench-kernel` calls it.

In each round every scheduler runs all workloads. The order of the schedulers differs from round to
round, so that disturbances of the machine hit all of them alike.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench import machine, migrations
from bench.figures import DEFAULT
from bench.report import summary
from bench.results import MACHINES, kernel_file
from bench.schedulers import Contender, Running, contenders, version
from bench.workloads import WORKLOADS, Workload, services
from tools.load import build
from tools.load.migrations import missing
from tools.load.scheduler import PYLAND, SCHED_EXT

RESULTS = build.ROOT / "build" / "bench"


def say(text: str) -> None:
    """Print a line of progress."""
    print(f"bench: {text}", file=sys.stderr, flush=True)


def chosen(names: Sequence[str], among: Sequence[Any], what: str) -> list[Any]:
    """The items with these names, or all items if no name is given.

    Raises ValueError for an unknown name; `what` says what the items are.
    """
    known = {each.name: each for each in among}
    if unknown := [name for name in names if name not in known]:
        raise ValueError(f"no {what} {unknown[0]!r}; there are: {', '.join(known)}")
    return [known[name] for name in names] if names else list(among)


def rotated(schedulers: Sequence[Contender], round_: int) -> list[Contender]:
    """The order of a round: each begins with another scheduler, every second round is reversed."""
    at = round_ * (len(schedulers) // 2 + 1) % len(schedulers)
    order = [*schedulers[at:], *schedulers[:at]]
    return order[::-1] if round_ % 2 else order


def turn(
    contender: Contender, workloads: Sequence[Workload], seconds: float, raw: Path, round_: int
) -> list[dict[str, Any]]:
    """One scheduler's turn: a row for each workload, with the error of a run that failed.

    A scheduler that the kernel ends is started again for the workloads that are left.
    """
    say(f"round {round_ + 1}, {contender.name}")
    runs: list[dict[str, Any]] = []
    raw = raw / f"{round_}-{re.sub(r'[^a-z0-9_]', '-', contender.name)}"

    def note(workload: Workload, metrics: Any, cost: Any, error: str) -> None:
        runs.append(
            {
                "round": round_,
                "scheduler": contender.name,
                "workload": workload.name,
                "metrics": metrics,
                "cost": cost or None,
                "error": error,
            }
        )

    left = list(workloads)
    while left:
        before = len(runs)
        try:
            with contender.scheduling() as running:
                while left and not running.has_ended():
                    note(left[0], *measure(running, left[0], seconds, raw / left[0].name))
                    del left[0]
        except (OSError, RuntimeError) as failed:
            error = str(failed).splitlines()[0]
            say(f"{error}")
            if len(runs) > before and runs[-1]["error"]:
                continue  # the row of that workload has the error
            # The workload in which it ended; all workloads if it did not even start.
            lost = left[: 1 if len(runs) > before else len(left)]
            for workload in lost:
                note(workload, {}, None, error)
            del left[: len(lost)]
    return runs


def measure(
    running: Running, workload: Workload, seconds: float, folder: Path
) -> tuple[dict[str, float], dict[str, Any], str]:
    """One run: metrics, cost and error; raises OSError if the scheduler is gone."""
    folder.mkdir(parents=True, exist_ok=True)
    begin_s = time.monotonic()
    metrics, error = {}, ""
    with running.measured() as cost:
        try:
            metrics = workload.run(seconds, folder)
        except (OSError, RuntimeError, TimeoutError, ValueError) as failed:
            error = str(failed).splitlines()[0]
    if running.has_ended():
        # The figures are partly those of the default scheduler.
        metrics, error = {}, "the kernel ended the scheduler meanwhile"
    main = workload.metrics[0].name
    took_s = time.monotonic() - begin_s
    say(f"{workload.name}: {error or f'{main} {metrics[main]:.6g}'} ({took_s:.0f} s)")
    return metrics, cost, error


def added(earlier: dict[str, Any], later: dict[str, Any]) -> dict[str, Any]:
    """Both results as one; no number of a round is in both.

    A ratio is taken within a round, so it never compares two boots.
    """
    if not earlier:
        return later
    both = {
        name: {**earlier[name], **later[name]} for name in ("left_out", "versions", "workloads")
    }
    return {
        **earlier,
        **both,
        "command": f"{earlier['command']}\n{later['command']}",
        "rounds": earlier["rounds"] + later["rounds"],
        "runs": [*earlier["runs"], *later["runs"]],
    }


def main(words: Sequence[str]) -> int:
    """The exit status: 0 if there are results, 2 for bad arguments."""
    parser = argparse.ArgumentParser(prog="bench.kernel", description=__doc__, allow_abbrev=False)
    add = parser.add_argument
    add("--rounds", type=int, default=3, help="how often each scheduler has its turn (3)")
    add("--seconds", type=float, default=5, help="how long a workload takes, about (5)")
    add("--workloads", nargs="+", default=[], metavar="NAME", help="only these")
    add("--schedulers", nargs="+", default=[], metavar="NAME", help="only these, and the default")
    add("--results", type=Path, default=RESULTS, metavar="FOLDER", help="(build/bench)")
    add("--machine", type=int, choices=MACHINES, help="which of the lab's, by its CPUs (any)")
    add("--add", action="store_true", help="as further rounds to the results that there are")
    options = parser.parse_args(words)
    if not SCHED_EXT.is_dir() or os.geteuid():
        say("it takes root on a kernel with sched_ext: `make bench-kernel` boots one")
        return 2
    if options.rounds < 1 or options.seconds <= 0:
        say("it takes at least one round, of more than no time")
        return 2
    if options.machine and options.machine != os.cpu_count():
        say(f"--machine {options.machine}: this machine has {os.cpu_count()} CPUs")
        return 2
    stem = MACHINES.get(options.machine, "kernel")
    try:
        all_schedulers = contenders(PYLAND)
        names = options.schedulers and list(dict.fromkeys([DEFAULT, *options.schedulers]))
        schedulers = chosen(names, all_schedulers, "scheduler")
        workloads = chosen(options.workloads, WORKLOADS, "workload")
    except ValueError as error:
        say(str(error))
        return 2
    left_out = {}
    for workload in list(workloads):
        if reason := workload.missing():
            left_out[f"workload {workload.name}"] = reason
            workloads.remove(workload)
    for name in ("scx_rustland", "scx_bpfland", "scx_lavd", "scx_rusty"):
        if not options.schedulers and all(each.name != name for each in all_schedulers):
            left_out[name] = "not on PATH"
    if reason := missing():
        left_out["migrations"] = reason
    else:
        workloads = [migrations.counted(workload) for workload in workloads]
    for name, reason in left_out.items():
        say(f"left out: {name}: {reason}")

    repeated = [re.sub("^--machine(?=$|=)", "--machines", word) for word in words]
    results = machine.described(f'make bench-kernel BENCH_ARGS="{shlex.join(repeated)}"')
    results |= {
        "rounds": options.rounds,
        "seconds": options.seconds,
        "left_out": left_out,
        "versions": {each.name: version(each) for each in schedulers},
        "workloads": {
            workload.name: {
                "about": workload.about,
                "contended": workload.contended,
                "metrics": {
                    metric.name: {"better": metric.better, "about": metric.about}
                    for metric in workload.metrics
                },
            }
            for workload in workloads
        },
        "runs": [],
    }
    options.results.mkdir(parents=True, exist_ok=True)
    file = options.results / f"{stem}.json"
    earlier = json.loads(file.read_text(encoding="utf-8")) if options.add and file.exists() else {}
    with services(workloads):
        first = earlier.get("rounds", 0)
        for round_ in range(first, first + options.rounds):
            for contender in rotated(schedulers, round_):
                raw = options.results / "raw" / stem
                results["runs"] += turn(contender, workloads, options.seconds, raw, round_)
                # After each turn, so that a later failure loses no figures.
                text = json.dumps(added(earlier, results), indent=1)
                file.write_text(text + "\n", encoding="utf-8")
    print(summary(kernel_file(file)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
