# SPDX-License-Identifier: GPL-2.0-only
"""The `pyland` command as a user runs it, seen from outside: its output and the kernel's files."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import psutil

from pyland.stats import counters
from tools.load import build
from tools.load.command import Command

PYLAND = build.ROOT / ".venv" / "bin" / "pyland"
SCHED_EXT = Path("/sys/kernel/sched_ext")
COMPACTION = Path("/proc/sys/vm/compact_unevictable_allowed")

# Loading takes 10 s under emulation, and the machine may be busy.
START_S = 90.0

TOTALS = (*counters.TOTALS, "restarts", "swaps")
"""Names that every run's totals have."""

_ENDED = re.compile(r"^pyland: ended: (.*)$", re.MULTILINE)
_TOTAL = re.compile(r"^\s+([a-z_]+)\s+(\d+)$", re.MULTILINE)


class NoTotalsError(ValueError):
    """The output does not end in totals, or not in all of them."""


@dataclass(frozen=True)
class Totals:
    """The counters of a run of pyland, by name."""

    reason: str
    counts: Mapping[str, int]

    def __getitem__(self, name: str) -> int:
        return self.counts[name]

    @property
    def fallback(self) -> int:
        """Forwarded tasks that BPF dispatched without a decision."""
        return sum(self[name] for name in self.counts if name.startswith("fallback_"))

    @property
    def user_share(self) -> float:
        """The part of the forwarded tasks that Python decided; 1 when no task was forwarded."""
        return self["user_dispatched"] / self["forwarded"] if self["forwarded"] else 1.0


def parse_totals(output: str) -> Totals:
    """The reason and the totals at the end of pyland's output; raises NoTotalsError."""
    ends = list(_ENDED.finditer(output))
    if not ends:
        raise NoTotalsError("no line 'pyland: ended: REASON'")
    # Rows of statistics that come before the end may look like totals.
    last = ends[-1]
    counts = {name: int(value) for name, value in _TOTAL.findall(output, last.end())}
    missing = [name for name in TOTALS if name not in counts]
    if missing:
        raise NoTotalsError(f"totals without {', '.join(missing)}")
    return Totals(last[1], counts)


def parse_rows(output: str) -> list[dict[str, float]]:
    """The rows that `--stats` prints, each by the titles of the table's last header."""
    titles: list[str] = []
    rows = []
    for line in output.splitlines():
        words = line.split()
        if len(words) < 3:
            continue
        if all(re.fullmatch(r"[a-z_]+", word) for word in words):
            titles = words
        elif len(words) == len(titles):
            with contextlib.suppress(ValueError):
                rows.append(dict(zip(titles, map(float, words), strict=True)))
    return rows


def kernel_state(name: str = "state") -> str:
    """The text of one of the kernel's files about sched_ext; empty if there is no such file."""
    try:
        return (SCHED_EXT / name).read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def enabled() -> bool:
    """True if the kernel says that pyland schedules."""
    return kernel_state() == "enabled" and kernel_state("root/ops").startswith("pyland")


def compaction() -> str:
    """The setting of the kernel that pyland changes while it runs; empty if there is none."""
    try:
        return COMPACTION.read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def page_faults(pid: int) -> int:
    """Minor and major page faults of a process, which psutil does not know."""
    stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    # minflt and majflt are fields 10 and 12; the name in brackets may hold blanks.
    after_name = stat.rpartition(")")[2].split()
    return int(after_name[7]) + int(after_name[9])


def until(condition: Callable[[], bool], seconds: float, step_s: float = 0.02) -> float | None:
    """Seconds until the condition was true; None if it was not true in time."""
    begin = time.monotonic()
    while not condition():
        if time.monotonic() - begin > seconds:
            return None
        time.sleep(step_s)
    return time.monotonic() - begin


def kernel_log(lines: int = 40) -> str:
    """The last lines about scheduling in the kernel's log."""
    log = subprocess.run(["dmesg"], capture_output=True, text=True, check=False).stdout
    about = re.compile(r"sched_ext|pyland|stall|lockup|BUG:|WARNING: CPU|Oops", re.IGNORECASE)
    return "\n".join([line for line in log.splitlines() if about.search(line)][-lines:])


@dataclass(frozen=True)
class End:
    """How a run ended."""

    status: int
    seconds: float
    output: str

    @property
    def totals(self) -> Totals:
        """The run's totals; raises NoTotalsError."""
        return parse_totals(self.output)


class Scheduler(Command):
    """pyland with these options; it schedules when the `with` block begins, and ends with it."""

    def __init__(self, *options: str, program: Sequence[str | Path] = (PYLAND,)) -> None:
        self.options = options
        super().__init__(*program, *options)

    def __enter__(self) -> Self:
        try:
            self.wait_enabled()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        # Try a signal first: a killed pyland cannot restore the setting of the kernel.
        if self.running:
            with contextlib.suppress(ProcessLookupError, TimeoutError):
                os.killpg(self.pid, signal.SIGCONT)
                self._process.send_signal(signal.SIGINT)
                self.wait(10)
        super().__exit__()

    @property
    def starts(self) -> int:
        """How often pyland has begun to schedule: once, and once more for each restart."""
        return self.output.count("pyland: scheduling")

    def wait_enabled(self, starts: int = 1, seconds: float = START_S) -> float:
        """Seconds until the kernel has pyland as its scheduler; RuntimeError if pyland ends."""
        # The kernel changes its state, then enable_seq, and pyland prints its line last.
        took = until(
            lambda: (enabled() and self.starts >= starts) or not self.running,
            seconds,
        )
        if took is None or not self.running:
            raise RuntimeError(f"pyland did not get to schedule:\n{self.about()}")
        return took

    def end(self, number: signal.Signals = signal.SIGINT) -> End:
        """Sends the signal, and waits for the end."""
        begin = time.monotonic()
        self._process.send_signal(number)
        status = self.wait()
        return End(status, time.monotonic() - begin, self.output)

    @contextlib.contextmanager
    def stopped(self) -> Iterator[None]:
        """All processes of pyland are stopped, as by Ctrl-Z, until the block ends."""
        os.killpg(self.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.killpg(self.pid, signal.SIGCONT)

    @property
    def worker_pid(self) -> int:
        """The process that decides; RuntimeError when there is none."""
        with contextlib.suppress(psutil.Error):
            if children := psutil.Process(self.pid).children():
                # The supervisor starts it before its other children.
                return min(children, key=psutil.Process.create_time).pid
        raise RuntimeError(f"no process decides:\n{self.about()}")

    def rows(self) -> list[dict[str, float]]:
        """The rows of statistics that were printed so far."""
        return parse_rows(self.output)

    def memory_kib(self) -> dict[str, int]:
        """Resident and locked memory of the process that decides; psutil has only the former."""
        status = Path(f"/proc/{self.worker_pid}/status").read_text(encoding="utf-8")
        found = re.findall(r"^(VmRSS|VmLck):\s+(\d+) kB$", status, re.MULTILINE)
        return {name: int(value) for name, value in found}

    def page_faults(self) -> int:
        """All page faults of the process that decides, from its start."""
        return page_faults(self.worker_pid)

    def about(self) -> str:
        """What pyland and the kernel printed, for the report of a failure."""
        command = " ".join(["pyland", *self.options])
        life = "running" if self.running else f"ended with {self._process.returncode}"
        return (
            f"{command}: {life}; the kernel: {kernel_state()} {kernel_state('root/ops')}\n"
            f"--- its output\n{self.output[-6000:]}\n--- the kernel's\n{kernel_log()}"
        )
