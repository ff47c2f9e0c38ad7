# SPDX-License-Identifier: GPL-2.0-only
"""`layered` beside scx_layered with the same layers: each one's CPUs, and its tasks' wakeups.

    tools/vm --icount --topology nodes=2,cores=2,threads=2 --memory 3G -- \\
        .venv/bin/python -m bench.beside [--seconds S] [--layered COMMAND]

Needs scx_layered (`cargo install scx_layered`). The layers are those of files that came with it or
were shown with it, for eight CPUs. The tasks of a layer compute all the time, and two sleep most of
the time: the p99 of their wakeups is that of the worse one. A task belongs to a layer by its name
or its user. The default scheduler knows no layers.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from bench.schedulers import Contender
from tools.load import build
from tools.load.programs import Hogs, Sleeper

_USER = 12345
_SETTLED_S = 2.0
"""Sizes of layers follow the load within a second."""


@dataclass(frozen=True)
class Load:
    """Hogs of one layer, and two sleepers."""

    layer: str
    nr: int
    alias: str | None = None
    uid: int | None = None

    def hogs(self) -> Hogs:
        """Those that compute."""
        return Hogs(600, [0] * self.nr, alias=self.alias, uid=self.uid)

    def sleeper(self) -> Sleeper:
        """One that sleeps."""
        return Sleeper(600, alias=self.alias and f"{self.alias}-wakes", uid=self.uid)


def _layer(name: str, matches: Sequence[Any], kind: str, **options: object) -> dict[str, Any]:
    either = [[match] for match in matches] or [[]]
    return {"name": name, "matches": either, "kind": {kind: options}}


def _named(*prefixes: str) -> list[dict[str, str]]:
    return [{"PcommPrefix": prefix} for prefix in prefixes]


CASES: dict[str, tuple[list[dict[str, Any]], list[Load]]] = {
    "two users": (
        [
            _layer("one-user", [{"UIDEquals": _USER}], "Grouped", util_range=[0.05, 0.6],
                   slice_us=1000, preempt=True, preempt_first=True, perf=1024),
            _layer("normal", [], "Confined", util_range=[0.25, 0.6], preempt=False,
                   slice_us=500, perf=512),
        ],
        [Load("one-user", 6, uid=_USER), Load("normal", 6)],
    ),
    "two confined": (
        [
            _layer("first", _named("stress-ng"), "Confined", cpus_range_frac=[0.25, 0.25],
                   min_exec_us=100, growth_algo="NodeSpreadReverse", util_range=[0.8, 0.9]),
            _layer("second", _named("stress"), "Confined", cpus_range_frac=[0.25, 0.25],
                   min_exec_us=100, growth_algo="NodeSpread", util_range=[0.8, 0.9]),
            _layer("normal", [], "Open", min_exec_us=100),
        ],
        [Load("first", 4, "stress-ng"), Load("second", 4, "stressed"), Load("normal", 6)],
    ),
    "two protected": (
        [
            _layer("first", _named("yes"), "Grouped", cpus_range_frac=[0.25, 0.5],
                   util_range=[0.4, 0.85], disallow_preempt_after_us=0, protected=True),
            _layer("second", _named("stress-ng"), "Grouped", cpus_range_frac=[0.25, 0.25],
                   util_range=[0.4, 0.85], protected=True),
            _layer("rest", [], "Open"),
        ],
        [Load("first", 6, "yes"), Load("second", 4, "stress-ng"), Load("rest", 6)],
    ),
}  # fmt: skip


def _cpu_s(hogs: Hogs) -> float:
    """CPU time of a load so far."""
    process = psutil.Process(hogs.pid)
    times = [one.cpu_times() for one in (process, *process.children(recursive=True))]
    return sum(one.user + one.system for one in times)


def measured(loads: Sequence[Load], seconds: float) -> dict[str, tuple[float, float]]:
    """How many CPUs the hogs of each layer use, and the p99 of its wakeups in microseconds."""
    with ExitStack() as stack:
        hogs = [stack.enter_context(load.hogs()) for load in loads]
        time.sleep(_SETTLED_S)
        pairs = [[stack.enter_context(load.sleeper()) for _ in range(2)] for load in loads]
        before = [(time.monotonic(), _cpu_s(one)) for one in hogs]
        time.sleep(seconds)
        cpus = [
            (_cpu_s(one) - so_far_s) / (time.monotonic() - since_s)
            for one, (since_s, so_far_s) in zip(hogs, before, strict=True)
        ]
        p99_us = [max(one.wakeups(early=True).p99_us for one in pair) for pair in pairs]
    names = [load.layer for load in loads]
    return dict(zip(names, zip(cpus, p99_us, strict=True), strict=True))


def contenders(layers: list[dict[str, Any]], file: Path, layered: str) -> list[Contender]:
    """The default scheduler, pyland with these layers, and scx_layered with them in a file."""
    text = json.dumps(layers)
    file.write_text(text, encoding="utf-8")
    pyland = (str(build.ROOT / ".venv/bin/pyland"), "--policy", "layered")
    return [
        Contender("default"),
        Contender("pyland layered", (*pyland, "--policy-opt", f"config={text}")),
        Contender("scx_layered", (layered, f"f:{file}")),
    ]


def row(contender: Contender, loads: Sequence[Load], seconds: float) -> str:
    """The figures of each layer, or why there are none."""
    try:
        with contender.scheduling():
            found = measured(loads, seconds)
    except RuntimeError as error:
        return str(error)
    return "  ".join(f"{name} {cpus:.2f} ({p99:.0f} us)" for name, (cpus, p99) in found.items())


def main() -> None:
    """Run each case under each scheduler, and print its figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--layered", default="scx_layered", metavar="COMMAND")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for case, (layers, loads) in CASES.items():
            for contender in contenders(layers, Path(folder) / "layers.json", options.layered):
                text = row(contender, loads, options.seconds)
                print(f"{case:14} {contender.name:15} {text}", flush=True)


if __name__ == "__main__":
    main()
