# SPDX-License-Identifier: GPL-2.0-only
"""The workload programs while they run, and what they measured."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tools.load import build

# Seconds to wait for a program that was told to end: emulation is slow, and the machine shared.
PATIENCE = 90.0


class Command:
    """A command in a session of its own; leaving the `with` block ends all of it.

    Its output goes to a file, so that it never waits for a reader.
    """

    def __init__(self, *command: str | Path) -> None:
        self.name = Path(command[0]).name
        self._log = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115
        self._process = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self.pid = self._process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()
        self._log.close()

    @property
    def output(self) -> str:
        """All that it wrote so far."""
        # Not through our own file position, which it shares.
        return os.pread(self._log.fileno(), 1 << 24, 0).decode(errors="replace")

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def wait(self, seconds: float = PATIENCE) -> int:
        """Exit status, negative for a signal; TimeoutError when it takes longer."""
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise TimeoutError(
                f"{self.name} still runs after {seconds:.0f} s:\n{self.output[-2000:]}"
            ) from None

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Asks it to end, and returns its exit status."""
        if self.running:
            self._process.send_signal(number)
        return self.wait()


class Stress(Command):
    """stress-ng with these options; its files go where files are lost anyway."""

    def __init__(self, options: str, seconds: float) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="pyland-stress-")
        command = ["stress-ng", *options.split(), "-t", f"{seconds:.0f}"]
        super().__init__(*command, "--temp-path", self._folder.name)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        super().__exit__(kind, error, traceback)
        self._folder.cleanup()


def available(name: str) -> bool:
    """Whether the machine has a command of this name."""
    return shutil.which(name) is not None


class _Program(Command):
    """One of the programs of this folder; its last line is a JSON object."""

    def __init__(self, name: str, seconds: float, *arguments: str) -> None:
        self._seconds = max(1, round(seconds))
        super().__init__(build.program(name), "--seconds", str(self._seconds), *arguments)

    def _measured(self, early: bool) -> Any:
        status = self.stop() if early else self.wait(self._seconds + PATIENCE)
        if status:
            raise RuntimeError(f"{self.name} ended with status {status}: {self.output}")
        return json.loads(self.output.splitlines()[-1])


@dataclass(frozen=True)
class Hog:
    """What one hog got in the window."""

    pid: int
    nice: int
    cpu_ns: int
    progress: int
    longest_gap_ns: int


@dataclass(frozen=True)
class Shares:
    """What all hogs got, in one window of time."""

    window_ns: int
    hogs: tuple[Hog, ...]

    @property
    def uneven(self) -> float:
        """Distance of the worst hog from the mean, as a part of the mean: 0 is fair."""
        mean = self.mean_ns()
        return max(abs(hog.cpu_ns - mean) for hog in self.hogs) / mean

    @property
    def longest_gap_s(self) -> float:
        """The longest that any hog did not run."""
        return max(hog.longest_gap_ns for hog in self.hogs) / 1e9

    def mean_ns(self, nice: int | None = None) -> float:
        """Mean CPU time of the hogs, or of those with this nice value."""
        times = [hog.cpu_ns for hog in self.hogs if nice in (None, hog.nice)]
        return sum(times) / len(times)


class _Announced(_Program):
    """One that prints a line when all of it has begun; the `with` block begins then."""

    def __enter__(self) -> Self:
        waiting = 0.0
        # What a program says that cannot start is no such line.
        while not re.match(r"\{.*\n", self.output):
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(0.05)
            waiting += 0.05
            if not self.running or waiting > PATIENCE:
                output = self.output
                super().__exit__(None, None, None)
                raise RuntimeError(f"the {self.name} did not start: {output}")
        return self

    def _announced(self) -> Any:
        return json.loads(self.output.splitlines()[0])


class Crowd(_Announced):
    """Runnable tasks by the thousand, which yield their CPU every so often."""

    def __init__(self, seconds: float, tasks: int, run_us: int = 50) -> None:
        super().__init__("crowd", seconds, "--tasks", str(tasks), "--run-us", str(run_us))


class Hogs(_Announced):
    """CPU burners, one for each nice value, that have all begun when this returns."""

    def __init__(
        self,
        seconds: float,
        nice: Sequence[int],
        *,
        cpu: int | None = None,
        policy: int | None = None,
    ) -> None:
        arguments = [part for value in nice for part in ("--nice", str(value))]
        if cpu is not None:
            arguments += ["--cpu", str(cpu)]
        if policy is not None:
            arguments += ["--policy", str(policy)]
        super().__init__("hogs", seconds, *arguments)
        self.pids: tuple[int, ...] = ()

    def __enter__(self) -> Self:
        super().__enter__()
        self.pids = tuple(self._announced()["pids"])
        return self

    def cpu_ticks(self) -> dict[int, int]:
        """CPU time of each so far, in clock ticks (10 ms)."""
        ticks = {}
        for pid in self.pids:
            stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
            ticks[pid] = int(stat[11]) + int(stat[12])
        return ticks

    def shares(self, early: bool = False) -> Shares:
        """Waits for the end, or with ``early`` makes this moment the end."""
        measured = self._measured(early)
        return Shares(measured["window_ns"], tuple(Hog(**hog) for hog in measured["hogs"]))


@dataclass(frozen=True)
class Wakeups:
    """How late an interactive task was, over all its wakeups."""

    seconds: float
    periods: int
    sleep_us: int
    run_us: int
    p50_us: float
    p90_us: float
    p99_us: float
    p999_us: float
    max_us: float
    page_faults: int
    locked: bool

    @property
    def possible_periods(self) -> float:
        """How often it would have woken up on an idle machine."""
        return self.seconds * 1e6 / (self.sleep_us + self.run_us)


class Sleeper(_Program):
    """Sleeps 10 ms, runs 1 ms, and so on; with ``cpu`` on that one alone."""

    def __init__(self, seconds: float, *, cpu: int | None = None) -> None:
        super().__init__("sleeper", seconds, *(["--cpu", str(cpu)] if cpu is not None else []))

    def wakeups(self, early: bool = False) -> Wakeups:
        """Waits for the end, or with ``early`` makes this moment the end."""
        return Wakeups(**self._measured(early))


@dataclass(frozen=True)
class Periods:
    """How a sound server fared: its periods, and how late its clients were in each."""

    seconds: float
    periods: int
    missed: int
    driver_p99_us: float
    driver_max_us: float
    wakeups: int
    p50_us: float
    p90_us: float
    p99_us: float
    max_us: float


class RealTime(_Program):
    """A task of the SCHED_FIFO class that wakes clients of the normal class once a period."""

    def __init__(
        self,
        seconds: float,
        *,
        period_us: int = 5333,
        driver_us: int = 50,
        clients: int = 3,
        client_us: int = 200,
        cpu: int | None = None,
    ) -> None:
        sizes = {
            "period-us": period_us,
            "driver-us": driver_us,
            "clients": clients,
            "client-us": client_us,
        }
        if cpu is not None:
            sizes["cpu"] = cpu
        arguments = [part for name, size in sizes.items() for part in (f"--{name}", str(size))]
        super().__init__("realtime", seconds, *arguments)

    def periods(self, early: bool = False) -> Periods:
        """Waits for the end, or with ``early`` makes this moment the end."""
        return Periods(**self._measured(early))


@dataclass(frozen=True)
class Spawned:
    """How many short-lived processes were started, and came to their proper end."""

    seconds: float
    started: int
    finished: int
    rate: float
    mean_us: float
    slowest_us: float


class Spawner(_Program):
    """Forks that end at once, at a rate per second; with ``run`` they are /bin/true."""

    def __init__(self, seconds: float, rate: int, run: bool = False) -> None:
        super().__init__("spawner", seconds, "--rate", str(rate), *(["--exec"] if run else []))

    def spawned(self) -> Spawned:
        """Waits for the end."""
        return Spawned(**self._measured(False))


@dataclass(frozen=True)
class Frames:
    """What a player saw of a game: times of frames are multiples of the screen's period."""

    seconds: float
    frames: int
    fps: float
    low1_fps: float
    p50_ms: float
    p99_ms: float
    max_ms: float
    late: int
    done_p99_ms: float
    helper_p50_us: float
    helper_p99_us: float


class Game(_Program):
    """A frame loop: its main thread and its helpers take so much CPU time in each frame."""

    def __init__(
        self,
        seconds: float,
        *,
        fps: int = 60,
        helpers: int = 2,
        main_us: int = 3000,
        helper_us: int = 3000,
    ) -> None:
        sizes = {"fps": fps, "helpers": helpers, "main-us": main_us, "helper-us": helper_us}
        arguments = [part for name, size in sizes.items() for part in (f"--{name}", str(size))]
        super().__init__("game", seconds, *arguments)

    def frames(self, early: bool = False) -> Frames:
        """Waits for the end, or with ``early`` makes this moment the end."""
        return Frames(**self._measured(early))


def figures(result: Wakeups | Periods | Spawned | Frames) -> dict[str, float]:
    """The numbers of a result by name."""
    return {field.name: getattr(result, field.name) for field in fields(result)}
