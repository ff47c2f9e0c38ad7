# SPDX-License-Identifier: GPL-2.0-only
"""How each workload runs: for about the given seconds; it returns its figures by name.

The size depends on the number of CPUs, and is small: an emulated CPU does a tenth of the work of a
real one. The programs' outputs go to the folder. The message of a RuntimeError is one line.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TypeVar

from bench import mariadb, outputs
from tools.load import build
from tools.load.command import PATIENCE, Command, Stress
from tools.load.programs import Game, Hogs, Sleeper

CPUS = os.cpu_count() or 1

Run = Callable[[float, Path], dict[str, float]]
# Sources of tools/load, named one by one: with a further one, a compilation would measure more.
COMPILED = ("game.c", "hogs.c", "sleeper.c", "spawner.c")

C = TypeVar("C", bound=Command)


@contextlib.contextmanager
def kept(command: C, raw: Path) -> Iterator[C]:
    """The running command; keeps its output in the folder, and shortens errors to one line."""
    try:
        with command:
            try:
                yield command
            finally:
                raw.mkdir(parents=True, exist_ok=True)
                (raw / f"{command.name}.txt").write_text(command.output, encoding="utf-8")
    except (OSError, RuntimeError, ValueError) as error:
        raise RuntimeError(str(error).partition("\n")[0]) from error


def ended(command: Command, seconds: float, raw: Path) -> str:
    """The output of a command; RuntimeError if it fails, or takes PATIENCE seconds longer."""
    with kept(command, raw):
        status = command.wait(seconds + PATIENCE)
        output = command.output
        if status:
            said = (output.strip().splitlines() or ["it said nothing"])[-1]
            raise RuntimeError(f"{command.name} ended with status {status}: {said}")
        return output


def whole(seconds: float) -> int:
    """Whole seconds, for a program that takes no fractions."""
    return max(1, round(seconds))


def schbench(threads: int) -> Run:
    """A messenger that gives requests to this many threads, each of 64 KiB of matrices."""

    def run(seconds: float, raw: Path) -> dict[str, float]:
        options = f"-m 1 -t {threads} -F 64 -r {whole(seconds)} -i {whole(seconds) + 60}"
        return outputs.schbench(ended(Command("schbench", *options.split()), seconds, raw))

    return run


def hackbench(seconds: float, raw: Path) -> dict[str, float]:
    """A group of 40 processes for each CPU; 20 send messages to the other 20."""
    loops = str(max(1, round(100 * seconds)))
    command = Command("hackbench", "-P", "-g", str(CPUS), "-l", loops)
    return outputs.hackbench(ended(command, 10 * seconds, raw))


def stress(stressor: str, instances: int, options: str = "") -> Run:
    """This many instances of a stressor of stress-ng."""

    def run(seconds: float, raw: Path) -> dict[str, float]:
        command = Stress(f"--{stressor} {instances} {options} --metrics", whole(seconds))
        return outputs.stress(ended(command, seconds, raw), stressor)

    return run


def cyclictest(seconds: float, raw: Path) -> dict[str, float]:
    """A thread for each CPU that wakes up every 10 ms, among two hogs for each CPU."""
    raw.mkdir(parents=True, exist_ok=True)
    result = raw / "cyclictest.json"
    # As text the histogram would have 200,000 rows; the JSON leaves out the empty ones.
    options = f"-q -m -t {CPUS} -i 10000 -D {whole(seconds)} --policy=other --default-system"
    files = ["-h", "200000", "--histfile=/dev/null", f"--json={result}"]
    with kept(Hogs(seconds + 2 * PATIENCE, [0] * (2 * CPUS)), raw):
        ended(Command("cyclictest", *options.split(), *files), seconds, raw)
    return outputs.cyclictest(result.read_text(encoding="utf-8"))


def sysbench(test: str, *options: str) -> Run:
    """One of sysbench's tests with four threads for each CPU."""

    def run(seconds: float, raw: Path) -> dict[str, float]:
        asked = [f"--threads={4 * CPUS}", f"--time={whole(seconds)}", "--percentile=99", *options]
        command = Command("sysbench", test, *asked, "run")
        return outputs.sysbench(ended(command, seconds, raw))

    return run


def oltp(seconds: float, raw: Path) -> dict[str, float]:
    """Transactions of two clients for each CPU, with the running server of bench.mariadb."""
    options = [f"--threads={2 * CPUS}", f"--time={whole(seconds)}", "--percentile=99", "run"]
    command = Command(*mariadb.sysbench(mariadb.running(), *options))
    found = outputs.sysbench(ended(command, seconds, raw))
    return {
        "transactions_per_s": found["events_per_s"],
        "latency_p99_ms": found["latency_p99_ms"],
    }


class Compile(Command):
    """make with two jobs for each CPU: compiles this many objects from a few C files."""

    def __init__(self, objects: int) -> None:
        # A compiler that is being killed may still write a file there.
        self._folder = tempfile.TemporaryDirectory(
            prefix="pyland-compile-", ignore_cleanup_errors=True
        )
        folder = Path(self._folder.name)
        for file in (*map(build.HERE.joinpath, COMPILED), *build.HERE.glob("*.h")):
            shutil.copy(file, folder)
        names = [f"{number}.o" for number in range(objects)]
        # The compiler's temporary files are removed with the folder too.
        rules = [f"export TMPDIR := {folder}", f"all: {' '.join(names)}"]
        for number, name in enumerate(names):
            source = COMPILED[number % len(COMPILED)]
            rules.append(f"{name}: {source}\n\tgcc -O2 -std=gnu11 -c -o $@ $<")
        (folder / "Makefile").write_text("\n".join(rules) + "\n", encoding="utf-8")
        super().__init__("make", "-r", "-s", "-j", str(2 * CPUS), "-C", folder)

    def __exit__(self, *_: object) -> None:
        super().__exit__()
        self._folder.cleanup()


def compilation(seconds: float, raw: Path) -> dict[str, float]:
    """Compilations that take 2 s of an emulated CPU each."""
    # One compilation before the clock starts: it reads the compiler into memory.
    ended(Compile(1), 60, raw)
    command = Compile(max(2 * CPUS, round(seconds * CPUS / 2)))
    begin = time.monotonic()
    ended(command, 10 * seconds, raw)
    return {"time_s": time.monotonic() - begin}


def game(seconds: float, raw: Path) -> dict[str, float]:
    """A game beside an endless compilation; without it the game would have CPU time to spare.

    A frame of 16.7 ms takes its main thread 2 ms, and a helper for each CPU as much.
    """
    # Endless, because no CPU compiles one of these files in less than 20 ms.
    endless = Compile(whole(seconds) * CPUS * 50)
    with kept(endless, raw):
        playing = Game(seconds, fps=60, helpers=CPUS, main_us=2000, helper_us=2000)
        with kept(playing, raw):
            seen = playing.frames()
        if not endless.running:
            raise RuntimeError(f"make ended before the game: {endless.output}")
    return {
        "low1_fps": seen.low1_fps,
        "fps": seen.fps,
        "late": seen.late,
        "frame_p99_ms": seen.p99_ms,
        "done_p99_ms": seen.done_p99_ms,
        "helper_p99_us": seen.helper_p99_us,
    }


def sleeper(seconds: float, raw: Path) -> dict[str, float]:
    """A task that sleeps 10 ms and runs 1 ms, among four hogs for each CPU."""
    with (
        kept(Hogs(seconds + 2 * PATIENCE, [0] * (4 * CPUS)), raw),
        kept(Sleeper(seconds), raw) as one,
    ):
        figures = asdict(one.wakeups())
    return {name: figures[name] for name in ("p99_us", "p50_us", "max_us")}
