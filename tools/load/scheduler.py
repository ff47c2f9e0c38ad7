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
from types import TracebackType
from typing import Self

from pyland.kernel import counters
from tools.load import build
from tools.load.programs import Command

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
    """What a run of pyland counted, by name."""

    reason: str
    counts: Mapping[str, int]

    def __getitem__(self, name: str) -> int:
        return self.counts[name]

    @property
    def fallback(self) -> int:
        """Forwarded tasks that the kernel side dispatched without Python."""
        return sum(self[name] for name in self.counts if name.startswith("fallback_"))

    @property
    def user_share(self) -> float:
        """The part of the forwarded tasks that Python decided; 1 when none was forwarded."""
        return self["user_dispatched"] / self["forwarded"] if self["forwarded"] else 1.0


def parse_totals(output: str) -> Totals:
    """The reason and the totals at the end of pyland's output; raises NoTotalsError."""
    ends = list(_ENDED.finditer(output))
    if not ends:
        raise NoTotalsError("no line 'pyland: ended: REASON'")
    # Rows of statistics before it may look like totals.
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
    """One of the kernel's files about sched_ext, empty where it is not there."""
    try:
        return (SCHED_EXT / name).read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def enabled() -> bool:
    """Whether the kernel says that pyland schedules."""
    return kernel_state() == "enabled" and kernel_state("root/ops").startswith("pyland")


def compaction() -> str:
    """The setting that pyland changes while it runs."""
    try:
        return COMPACTION.read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def until(condition: Callable[[], bool], seconds: float, step_s: float = 0.02) -> float | None:
    """Seconds until the condition held, None when it did not in time."""
    begin = time.monotonic()
    while not condition():
        if time.monotonic() - begin > seconds:
            return None
        time.sleep(step_s)
    return time.monotonic() - begin


def kernel_log(lines: int = 40) -> str:
    """The end of what the kernel said about scheduling."""
    log = subprocess.run(["dmesg"], capture_output=True, text=True, check=False).stdout
    about = re.compile(r"sched_ext|pyland|stall|lockup|BUG:|WARNING: CPU|Oops", re.IGNORECASE)
    return "\n".join([line for line in log.splitlines() if about.search(line)][-lines:])


@dataclass(frozen=True)
class End:
    """How a run came to its end."""

    status: int
    seconds: float
    output: str

    @property
    def totals(self) -> Totals:
        """The run's totals; raises NoTotalsError."""
        return parse_totals(self.output)


class Scheduler(Command):
    """pyland with these options, from the `with` statement on enabled, to be stopped or killed."""

    def __init__(self, *options: str, program: Sequence[str | Path] = (PYLAND,)) -> None:
        self.options = options
        super().__init__(*program, *options)

    def __enter__(self) -> Self:
        try:
            self.wait_enabled()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # Not killed at once: it has something to put back.
        if self.running:
            with contextlib.suppress(ProcessLookupError, TimeoutError):
                os.killpg(self.pid, signal.SIGCONT)
                self._process.send_signal(signal.SIGINT)
                self.wait(10)
        super().__exit__(kind, error, traceback)

    @property
    def starts(self) -> int:
        """How often it said that it schedules: once, and once more for each restart."""
        return self.output.count("pyland: scheduling")

    def wait_enabled(self, starts: int = 1, seconds: float = START_S) -> float:
        """Seconds until the kernel has pyland as its scheduler; RuntimeError when it ends."""
        # The kernel's state says so a little before its enable_seq does; pyland after both.
        took = until(
            lambda: (enabled() and self.starts >= starts) or not self.running,
            seconds,
        )
        if took is None or not self.running:
            raise RuntimeError(f"pyland did not get to schedule:\n{self.about()}")
        return took

    def end(self, number: signal.Signals = signal.SIGINT) -> End:
        """Signals it, and waits for the end."""
        begin = time.monotonic()
        self._process.send_signal(number)
        status = self.wait()
        return End(status, time.monotonic() - begin, self.output)

    @contextlib.contextmanager
    def stopped(self) -> Iterator[None]:
        """All of it stopped, as by Ctrl-Z, for as long as the block takes."""
        os.killpg(self.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.killpg(self.pid, signal.SIGCONT)

    @property
    def worker_pid(self) -> int:
        """The process that dispatches; RuntimeError when there is none."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text(encoding="ascii")
        if not children:
            raise RuntimeError(f"no process dispatches:\n{self.about()}")
        return int(children.split()[0])  # the oldest; the other one prints

    def rows(self) -> list[dict[str, float]]:
        """The rows of statistics so far."""
        return parse_rows(self.output)

    def memory_kib(self) -> dict[str, int]:
        """Resident and locked memory of the process that dispatches."""
        status = Path(f"/proc/{self.worker_pid}/status").read_text(encoding="utf-8")
        found = re.findall(r"^(VmRSS|VmLck):\s+(\d+) kB$", status, re.MULTILINE)
        return {name: int(value) for name, value in found}

    def page_faults(self) -> int:
        """All page faults of the process that dispatches, since its start."""
        stat = Path(f"/proc/{self.worker_pid}/stat").read_text(encoding="utf-8")
        # The name in brackets may hold blanks; minflt and majflt are fields 10 and 12.
        after = stat.rpartition(")")[2].split()
        return int(after[7]) + int(after[9])

    def about(self) -> str:
        """What a reader of a failure wants to know."""
        command = " ".join(["pyland", *self.options])
        life = "running" if self.running else f"ended with {self._process.returncode}"
        return (
            f"{command}: {life}; the kernel: {kernel_state()} {kernel_state('root/ops')}\n"
            f"--- its output\n{self.output[-6000:]}\n--- the kernel's\n{kernel_log()}"
        )
