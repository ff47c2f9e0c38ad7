# SPDX-License-Identifier: GPL-2.0-only
"""Counts every instruction of some hundred scheduling cycles by its stack.

    python -m bench.flame            boots the lab, records, and writes build/bench/cycle.json

The load is the low one of `bench.deciding` with shorter slices: the emulator logs only a million
instructions a second, so cycles have to come more often. It counts all instructions between two
context switches for the process that decides: its cycle, the way into the kernel, and BPF, which
carries the decisions out, up to the next task. The switch itself is the last frame. Stacks are made
from addresses alone: the first instruction of a function means a call.
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
# During scheduling only the process that decides runs code of this file.
_OURS = "_native"
_SWITCH = "__switch_to_asm"
_CYCLE = "pyland_cycle"
_DEEPEST = 60


@dataclass
class Symbols:
    """Names for the addresses of the kernel and of one process."""

    starts: list[int] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    mapped: list[tuple[int, int, str]] = field(default_factory=list)
    _known: dict[int, tuple[str, bool]] = field(default_factory=dict)

    @classmethod
    def read(cls, kallsyms: str, maps: str) -> Symbols:
        """The symbols of the kernel (/proc/kallsyms) and of the files in `maps`, read by `nm`."""
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
        """The file of the process at this address; empty if there is none."""
        return next((name for begin, end, name in self.mapped if begin <= address < end), "")

    def look_up(self, address: int) -> tuple[str, bool]:
        """The function at this address, and whether this is its first instruction."""
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
    """The name without the suffixes of compilers and the prefix of the BPF loader."""
    name = re.sub(r"^bpf_prog_[0-9a-f]{16}_", "bpf:", name)
    return re.sub(r"\.(isra|part|constprop|lto_priv|cold)(\.\d+)*(?=\.|$)", "", name).split("@")[0]


def _functions(file: str, offset: int) -> Iterator[tuple[int, int, str]]:
    """Functions of an ELF file: address relative to the mapping of `offset`, size and name."""

    def run(*command: str) -> str:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout

    parts = re.findall(r"LOAD +0x(\w+) 0x(\w+)", run("readelf", "-lW", file))
    base = next((int(at, 16) for start, at in parts if int(start, 16) == offset), offset)
    seen = set()
    # A stripped library has only dynamic symbols.
    for kind in ("--defined-only", "--dynamic"):
        for line in run("nm", "-S", kind, file).splitlines():
            words = line.split()
            if len(words) == 4 and words[2] in "tTwWi" and words[0] not in seen:
                seen.add(words[0])
                yield int(words[0], 16) - base, int(words[1], 16), words[3]


class Stack:
    """The calls that lead to an instruction, as far as addresses tell."""

    def __init__(self, root: str = "") -> None:
        """`root` is the outermost function."""
        self.frames: list[str] = []
        self._root = root

    def step(self, name: str, begins: bool) -> None:
        """Follow one instruction: its function, and whether the function begins with it."""
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
    """Cycles, and instructions by stack, of the process that the symbols are from."""
    counts: Counter[tuple[str, ...]] = Counter()
    ours = [(begin, end) for begin, end, file in symbols.mapped if file == _OURS]
    cycles = 0
    user, kernel = Stack("exchange_run"), Stack()
    turn: list[int] = []
    seen = 0
    for address in addresses:
        if address & _HIGH and symbols.look_up(address) == (_SWITCH, True):
            if any(begin <= each < end for begin, end in ours for each in turn):
                # The recording may begin inside the first turn, so that only sets up the stacks.
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
    """In the lab: let pyland schedule while the emulator logs the instructions."""
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
    """The exit status: 0 if there is a result."""
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
