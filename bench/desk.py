# SPDX-License-Identifier: GPL-2.0-only
"""A game beside a build and a desktop: with one policy for all, with layers, and with parts.

    tools/vm --icount --cpus 2 -- .venv/bin/python -m bench.desk [--seconds S]

The layers are those of docs/composed.md. The build is compilers that start again and again; the
desktop is two tasks that compute and one that sleeps most of the time.
"""

from __future__ import annotations

import argparse
import json
import re
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from pyland.supervisor import control
from tools.load import build
from tools.load.command import Command
from tools.load.programs import Game, Hogs, Sleeper
from tools.load.scheduler import Scheduler

_PAGE = build.ROOT / "docs" / "composed.md"
_COMPILERS = 4
_SOURCE = build.HERE / "game.c"


def layers(*, policies: bool) -> str:
    """The page's layers, with or without the policies that they name."""
    (text,) = re.findall(r"^```json\n(.*?)^```", _PAGE.read_text("utf-8"), re.S | re.M)
    read: list[dict[str, Any]] = json.loads(text)
    if not policies:
        for layer in read:
            layer.pop("policy", None)
            layer.pop("options", None)
    return f"config={json.dumps(read)}"


VARIANTS = {
    "`deadline` for all": ("deadline", ()),
    "layers": ("layered", (layers(policies=False),)),
    "layers with policies": ("layered", (layers(policies=True),)),
}


class Compilers(Command):
    """Compilers that each begin again when they have ended."""

    def __init__(self, nr: int) -> None:
        loop = f"while :; do gcc -O2 -std=gnu11 -S -o /dev/null {_SOURCE} && echo done; done"
        super().__init__("sh", "-c", f"for i in $(seq {nr}); do ({loop}) & done; wait")

    @property
    def done(self) -> int:
        """How many compilations have ended."""
        return self.output.count("done")


def measure(seconds: float) -> dict[str, float]:
    """The figures of one policy, which schedules."""
    with ExitStack() as loads:
        compilers = loads.enter_context(Compilers(_COMPILERS))
        loads.enter_context(Hogs(600, [0, 0]))
        sleeper = loads.enter_context(Sleeper(600, alias="desktop"))
        time.sleep(1)
        done, begin_s = compilers.done, time.monotonic()
        with Game(seconds, helpers=2, main_us=2000, helper_us=2000) as game:
            frames = game.frames()
        per_s = (compilers.done - done) / (time.monotonic() - begin_s)
        waits = sleeper.wakeups(early=True)
    return {
        "frames late": frames.late,
        "lowest 1 % fps": frames.low1_fps,
        "game's helpers, p99 us": frames.helper_p99_us,
        "desktop, p99 us": waits.p99_us,
        "compilers per s": per_s,
    }


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0], allow_abbrev=False)
    parser.add_argument("--seconds", type=float, default=12.0)
    seconds = parser.parse_args().seconds
    with Scheduler() as scheduler:
        scheduler.wait_enabled()
        for number, (name, (policy, options)) in enumerate(VARIANTS.items()):
            question = {"policy": policy, "options": [*options], "folder": str(Path.cwd())}
            answer = control.ask({"command": "swap", **question}, timeout_s=60)
            if not answer["ok"]:
                parser.exit(1, f"{answer['error']}\n")
            figures = measure(seconds)
            if not number:
                print("|", " | ".join(["", *figures]), "|")
                print("|---" * (len(figures) + 1), "|", sep="")
            print("|", " | ".join([name, *(f"{value:.1f}" for value in figures.values())]), "|",
                  flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
