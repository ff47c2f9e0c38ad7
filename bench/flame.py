# SPDX-License-Identifier: GPL-2.0-only
"""Where the instructions of a scheduling cycle go: every one of some hundred cycles, by its stack.

    python -m bench.flame            boots the lab, records, and writes build/bench/cycle.json

The load is that of `bench.deciding`'s low one, with shorter slices: the emulator logs a million
instructions a second, so that cycles have to come more often. What is counted is all that runs
between two changes of task, of the process that decides: its cycle, the way into the kernel, BPF
as it carries the decisions out, up to the next task. What the processor does to change over is
the last frame. Stacks are made from addresses alone: a function's first instruction is a call.
"""

from __future__ import annotations

import argparse
import bisect
import os
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.cycle import KERNEL, Cycle
from bench.kernel import RESULTS, say
from tools.lab import instructions
from tools.load import build
from tools.load.programs import Hogs, Sleeper
from tools.load.scheduler import Scheduler

OPTIONS = (
    "--policy",
    "deadline",
    "--slice-us",
    "1500",
    "--slice-us-min",
    "150",
    "--lag-us",
    "1000",
)
_LAB = Path("/run/lab")
_HIGH = 1 << 63  # the kernel's half of the addresses
# Only the process that decides runs this; its Python is at the same place in others.
_OURS = "_exchange"
_SWITCH = "__switch_to_asm"
_CYCLE = "pyland_cycle"
_DEEPEST = 60


@dataclass
class Symbols:
    """Names of addresses, of the kernel and of one process."""

    starts: list[int] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    mapped: list[tuple[int, int, str]] = field(default_factory=list)
    _known: dict[int, tuple[str, bool]] = field(default_factory=dict)

    @classmethod
    def read(cls, kallsyms: str, maps: str) -> Symbols:
        """From /proc/kallsyms and the process's maps, whose files are read with `nm`."""
        found: list[tuple[int, int, str]] = []
        kernel = [line.split() for line in kallsyms.splitlines()]
        places = sorted((int(word[0], 16), word[2]) for word in kernel if word[1] in "tTwW")
        following = [start for start, _ in places[1:]] + [1 << 64]
        found += [(start, end, name) for (start, name), end in zip(places, following, strict=True)]
        made = cls()
        code = r"^(\w+)-(\w+) r-xp (\w+) \S+ \d+ +(/.*)$"
        for first, last, offset, file in re.findall(code, maps, re.MULTILINE):
            begin, end = int(first, 16), int(last, 16)
            made.mapped.append((begin, end, Path(file).name.partition(".cpython")[0]))
            found += [
                (begin + at, begin + at + size, name)
                for at, size, name in _functions(file, int(offset, 16))
            ]
        for start, end, name in sorted(found):
            made.starts.append(start)
            made.ends.append(end)
            made.names.append(name)
        return made

    def file(self, address: int) -> str:
        """The process's file that an address is in; empty for another process's."""
        return next((name for begin, end, name in self.mapped if begin <= address < end), "")

    def look_up(self, address: int) -> tuple[str, bool]:
        """The function's name, and whether this is its first instruction."""
        found = self._known.get(address)
        if found is None:
            at = bisect.bisect(self.starts, address) - 1
            if at >= 0 and address < self.ends[at]:
                found = (_plain(self.names[at]), address == self.starts[at])
            else:
                found = (f"({self.file(address) or 'unknown'})", False)
            self._known[address] = found
        return found


def _plain(name: str) -> str:
    """Without what compilers and the BPF loader add."""
    name = re.sub(r"^bpf_prog_[0-9a-f]{16}_", "bpf:", name)
    return re.sub(r"\.(isra|part|constprop|lto_priv|cold)(\.\d+)*(?=\.|$)", "", name).split("@")[0]


def _functions(file: str, offset: int) -> Iterator[tuple[int, int, str]]:
    """Functions of an ELF file by their distance from where its part at `offset` is mapped."""

    def run(*command: str) -> str:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout

    parts = re.findall(r"LOAD +0x(\w+) 0x(\w+)", run("readelf", "-lW", file))
    base = next((int(at, 16) for start, at in parts if int(start, 16) == offset), offset)
    seen = set()
    # A library that has no symbols has dynamic ones.
    for kind in ("--defined-only", "--dynamic"):
        for line in run("nm", "-S", kind, file).splitlines():
            words = line.split()
            if len(words) == 4 and words[2] in "tTwWi" and words[0] not in seen:
                seen.add(words[0])
                yield int(words[0], 16) - base, int(words[1], 16), words[3]


class Stack:
    """The functions that an instruction is in, as far as addresses tell."""

    def __init__(self, root: str = "") -> None:
        """Nothing is outside of `root`."""
        self.frames: list[str] = []
        self._root = root

    def step(self, name: str, begins: bool) -> None:
        """One instruction."""
        frames = self.frames
        if name == self._root:
            frames[:] = [name]
        elif begins or name not in frames:
            frames.append(name)
            del frames[:-_DEEPEST]
        else:
            while frames[-1] != name:
                frames.pop()


def fold(addresses: Iterable[int], symbols: Symbols) -> tuple[int, Counter[tuple[str, ...]]]:
    """Cycles, and instructions by stack, of the process whose maps these are."""
    counts: Counter[tuple[str, ...]] = Counter()
    ours = [(begin, end) for begin, end, file in symbols.mapped if file == _OURS]
    cycles = 0
    user, kernel = Stack("exchange_run"), Stack()
    turn: list[int] = []
    seen = 0
    for address in addresses:
        if address & _HIGH and symbols.look_up(address) == (_SWITCH, True):
            if any(begin <= each < end for begin, end in ours for each in turn):
                # The first turn may have begun before the record did, and only shows the way.
                seen += 1
                for each in turn:
                    name, begins = symbols.look_up(each)
                    stack = kernel if each & _HIGH else user
                    stack.step(name, begins)
                    if seen > 1:
                        cycles += begins and name == _CYCLE
                        inside = (KERNEL, *kernel.frames) if stack is kernel else ()
                        counts[(*user.frames, *inside)] += 1
                    if stack is user:
                        kernel.frames.clear()
            turn.clear()
        turn.append(address)
    return cycles, counts


def record(folder: Path, milliseconds: float) -> None:
    """In the lab: pyland schedules, and the emulator logs what is executed meanwhile."""
    Path("/proc/sys/net/core/bpf_jit_kallsyms").write_text("1", encoding="ascii")
    Path("/proc/sys/kernel/kptr_restrict").write_text("0", encoding="ascii")
    with Scheduler(*OPTIONS) as scheduler, Hogs(3600, [0] * 3), Sleeper(3600):
        time.sleep(0.5)
        for name, source in (("kallsyms", "kallsyms"), ("maps", f"{scheduler.worker_pid}/maps")):
            (folder / name).write_bytes(Path("/proc", source).read_bytes())
        (_LAB / "record").touch()
        while not (_LAB / "recording").exists():
            time.sleep(0.001)
        time.sleep(milliseconds / 1000)
        (_LAB / "record").unlink()
        while (_LAB / "recording").exists():
            time.sleep(0.001)


def main(words: Sequence[str]) -> int:
    """0 when there is a result."""
    parser = argparse.ArgumentParser(prog="bench.flame", description=__doc__, allow_abbrev=False)
    parser.add_argument("--milliseconds", type=float, default=60, help="of the guest's time (60)")
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="FOLDER")
    parser.add_argument("--record", type=Path, metavar="FOLDER", help="in the lab, by itself")
    options = parser.parse_args(words)
    if options.record:
        record(options.record, options.milliseconds)
        return 0
    folder = options.results / "flame"
    folder.mkdir(parents=True, exist_ok=True)
    raw = folder / "instructions"
    vm = ["tools/vm", "--cpus", "1", "--icount", "--timeout", "1800", "--instructions", str(raw)]
    inside = [".venv/bin/python", "-m", "bench.flame", "--record", str(folder)]
    inside += ["--milliseconds", str(options.milliseconds)]
    done = subprocess.run([*vm, "--", *inside], cwd=build.ROOT, check=False)
    if done.returncode:
        return done.returncode
    symbols = Symbols.read(
        *((folder / name).read_text(encoding="utf-8") for name in ("kallsyms", "maps"))
    )
    cycles, counts = fold(instructions.read(raw), symbols)
    os.unlink(raw)
    if not cycles:
        say("no cycle was recorded")
        return 1
    cycle = Cycle(cycles, dict(sorted(counts.items())), " ".join(OPTIONS))
    cycle.write(options.results)
    say(f"{cycles} cycles of {cycle.instructions:.0f} instructions")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
