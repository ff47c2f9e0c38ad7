# SPDX-License-Identifier: GPL-2.0-only
"""The scheduling cycles that `bench.flame` recorded: their parts, and their flame graph."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from bench.results import ResultsError

KERNEL = "(kernel)"
"""The frame between those of user space and the kernel's."""
PARTS = {
    "the policy's decide(), in Python": "#009E73",
    "the loop and the rings, in C": "#0072B2",
    "BPF programs, and what they call": "#D55E00",
    "the rest of the kernel": "#999999",
}
_NARROWEST = 0.002  # of the whole; narrower functions are left out of the picture
_FILE = "cycle.json"


@dataclass(frozen=True)
class Cycle:
    """Instructions of several cycles by stack, outermost function first."""

    COMMAND: ClassVar[str] = "python -m bench.flame"

    cycles: int
    stacks: dict[tuple[str, ...], int]
    options: str

    @property
    def instructions(self) -> float:
        """Instructions of one cycle."""
        return sum(self.stacks.values()) / self.cycles

    def parts(self) -> dict[str, float]:
        """Instructions of one cycle by part, in the order of `PARTS`."""
        found: Counter[str] = Counter()
        for frames, number in self.stacks.items():
            found[part(frames)] += number
        return {name: found[name] / self.cycles for name in PARTS}

    def write(self, folder: Path) -> None:
        """Write the file of results into this folder."""
        stacks = [[[*frames], number] for frames, number in self.stacks.items()]
        data = {"cycles": self.cycles, "options": self.options, "stacks": stacks}
        (folder / _FILE).write_text(json.dumps(data) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> Cycle | None:
        """The recorded cycles; None without a file, ResultsError for a wrong one."""
        path = folder / _FILE
        if not path.exists():
            return None
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            stacks = {tuple(frames): int(number) for frames, number in data["stacks"]}
            return cls(int(data["cycles"]), stacks, str(data["options"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ResultsError(f"{path}: {type(error).__name__}: {error}") from None

    def draw(self, path: Path) -> Path:
        """Draw the flame graph as icicles: a called function hangs below its caller."""
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
        from matplotlib.patches import Patch

        whole = sum(self.stacks.values())
        bars = _bars(self.stacks, whole)
        depth = 1 + max(level for level, *_ in bars)
        figure = Figure(figsize=(7.5, 0.9 + 0.17 * depth), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        for level, begin, width, name, of in bars:
            share = width / whole
            axes.barh(-level, width, 0.95, left=begin, color=PARTS[of], edgecolor="white", lw=0.3)
            room = int(share * 105)
            if room > 4:
                axes.text(begin, -level, " " + name[:room], va="center", fontsize=5, clip_on=True)
        axes.set_xlim(0, whole)
        axes.set_ylim(0.5 - depth, 0.5)
        axes.set_axis_off()
        handles = [Patch(color=colour, label=name) for name, colour in PARTS.items()]
        figure.legend(handles=handles, loc="outside upper center", ncols=2, frameon=False)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=150, metadata={"Software": None})
        return path


def part(frames: tuple[str, ...]) -> str:
    """Which of `PARTS` the innermost function of a stack belongs to."""
    python, loop, bpf, kernel = PARTS
    if KERNEL in frames:
        inside = frames[frames.index(KERNEL) :]
        return (
            bpf if any(name.startswith(("bpf:", "bpf__sched_ext")) for name in inside) else kernel
        )
    return python if "PyObject_CallOneArg" in frames else loop


def _bars(stacks: dict[tuple[str, ...], int], whole: int) -> list[tuple[int, int, int, str, str]]:
    """Depth, begin, width, name and part of each function that is wide enough to be visible."""
    widths: Counter[tuple[str, ...]] = Counter()
    for frames, number in stacks.items():
        for depth in range(1, len(frames) + 1):
            widths[frames[:depth]] += number
    begins: dict[tuple[str, ...], int] = {(): 0}
    ends: dict[tuple[str, ...], int] = {}
    bars = []
    # Callers come before the functions that they call, and these in the order of their width.
    for frames in sorted(widths, key=lambda each: (len(each), -widths[each], each)):
        caller = frames[:-1]
        if caller not in begins:
            continue
        begin = ends.get(caller, begins[caller])
        ends[caller] = begin + widths[frames]
        if widths[frames] < _NARROWEST * whole:
            continue
        begins[frames] = begin
        bars.append((len(frames) - 1, begin, widths[frames], frames[-1], part(frames)))
    return bars
