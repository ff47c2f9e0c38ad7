# SPDX-License-Identifier: GPL-2.0-only
"""The workload programs while they run, and what they measured."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

import psutil

from tools.load import build
from tools.load.command import PATIENCE, Command


class _Program(Command):
    """One of the programs of this folder; its last line is a JSON object."""

    def __init__(
        self,
        name: str,
        seconds: float,
        *words: str,
        alias: str | None = None,
        uid: int | None = None,
        **options: int | None,
    ) -> None:
        """The options that are not None are passed on, as `--run-us` for `run_us`.

        `alias` is the name that its tasks have instead; `uid` is the user that they run as.
        """
        self._seconds = max(1, round(seconds))
        given = {"seconds": self._seconds, **options}
        for option, value in given.items():
            if value is not None:
                words += (f"--{option.replace('_', '-')}", str(value))
        program = build.program(name) if alias is None else build.alias(name, alias)
        user = () if uid is None else ("setpriv", "--reuid", str(uid), "--clear-groups")
        super().__init__(*user, program, *words)

    def _measured(self, early: bool = False) -> Any:
        status = self.stop() if early else self.wait(self._seconds + PATIENCE)
        if status:
            raise RuntimeError(f"{self.name} ended with status {status}: {self.output}")
        return json.loads(self.output.splitlines()[-1])


@dataclass(frozen=True)
class Hog:
    """The figures of one hog in the window."""

    pid: int
    nice: int
    cpu_ns: int
    progress: int
    longest_gap_ns: int


@dataclass(frozen=True)
class Shares:
    """The figures of all hogs, over one window of time."""

    window_ns: int
    hogs: tuple[Hog, ...]

    @property
    def uneven(self) -> float:
        """Greatest distance of a hog's CPU time from the mean, as a part of the mean: 0 is fair."""
        mean = self.mean_ns()
        return max(abs(hog.cpu_ns - mean) for hog in self.hogs) / mean

    @property
    def longest_gap_s(self) -> float:
        """The longest time for which a hog did not run, in seconds."""
        return max(hog.longest_gap_ns for hog in self.hogs) / 1e9

    def mean_ns(self, nice: int | None = None) -> float:
        """Mean CPU time in ns of all hogs, or of the hogs with this nice value."""
        times = [hog.cpu_ns for hog in self.hogs if nice in (None, hog.nice)]
        return sum(times) / len(times)


class _Announced(_Program):
    """A program that prints a line when all its tasks have begun; only then the block begins."""

    def __enter__(self) -> Self:
        waiting = 0.0
        # A program that cannot start prints an error, which is not a JSON line.
        while not re.match(r"\{.*\n", self.output):
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(0.05)
            waiting += 0.05
            if not self.running or waiting > PATIENCE:
                output = self.output
                super().__exit__()
                raise RuntimeError(f"the {self.name} did not start: {output}")
        return self

    def _announced(self) -> Any:
        return json.loads(self.output.splitlines()[0])


class Crowd(_Announced):
    """Thousands of runnable tasks; each yields after `run_us` of CPU time."""

    def __init__(self, seconds: float, tasks: int, run_us: int = 50) -> None:
        super().__init__("crowd", seconds, tasks=tasks, run_us=run_us)


class Hogs(_Announced):
    """A process that computes for each nice value; all have begun when the `with` block begins."""

    def __init__(
        self,
        seconds: float,
        nice: Sequence[int],
        *,
        cpu: int | None = None,
        policy: int | None = None,
        alias: str | None = None,
        uid: int | None = None,
    ) -> None:
        words = [part for value in nice for part in ("--nice", str(value))]
        super().__init__("hogs", seconds, *words, alias=alias, uid=uid, cpu=cpu, policy=policy)
        self.pids: tuple[int, ...] = ()

    def __enter__(self) -> Self:
        super().__enter__()
        self.pids = tuple(self._announced()["pids"])
        return self

    def cpu_s(self) -> dict[int, float]:
        """CPU time of each hog so far, in seconds; it grows in steps of 10 ms."""
        times = {pid: psutil.Process(pid).cpu_times() for pid in self.pids}
        return {pid: each.user + each.system for pid, each in times.items()}

    def shares(self, early: bool = False) -> Shares:
        """The figures at the end; with `early` the program ends now."""
        measured = self._measured(early)
        return Shares(measured["window_ns"], tuple(Hog(**hog) for hog in measured["hogs"]))


@dataclass(frozen=True)
class Wakeups:
    """Wakeup latencies of an interactive task."""

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
        """How often the task would have woken up on an idle machine."""
        return self.seconds * 1e6 / (self.sleep_us + self.run_us)


class Sleeper(_Program):
    """A task that sleeps and runs, again and again; with `cpu` on that CPU only."""

    def __init__(
        self,
        seconds: float,
        *,
        cpu: int | None = None,
        sleep_us: int = 10_000,
        run_us: int = 1_000,
        alias: str | None = None,
        uid: int | None = None,
    ) -> None:
        super().__init__(
            "sleeper", seconds, alias=alias, uid=uid, cpu=cpu, sleep_us=sleep_us, run_us=run_us
        )

    def wakeups(self, early: bool = False) -> Wakeups:
        """The figures at the end; with `early` the program ends now."""
        return Wakeups(**self._measured(early))


@dataclass(frozen=True)
class Periods:
    """Periods of a sound server, and the wakeup latencies of its clients."""

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
        super().__init__(
            "realtime",
            seconds,
            period_us=period_us,
            driver_us=driver_us,
            clients=clients,
            client_us=client_us,
            cpu=cpu,
        )

    def periods(self, early: bool = False) -> Periods:
        """The figures at the end; with `early` the program ends now."""
        return Periods(**self._measured(early))


@dataclass(frozen=True)
class Spawned:
    """How many short-lived processes were started, and how many ended with the right status."""

    seconds: float
    started: int
    finished: int
    rate: float
    mean_us: float
    slowest_us: float


class Spawner(_Program):
    """Forks that end at once, `rate` per second; with `run` each runs /bin/true."""

    def __init__(self, seconds: float, rate: int, run: bool = False) -> None:
        super().__init__("spawner", seconds, *(["--exec"] if run else []), rate=rate)

    def spawned(self) -> Spawned:
        """The figures at the end."""
        return Spawned(**self._measured())


@dataclass(frozen=True)
class Frames:
    """The frames of a game; their times are multiples of the screen's period."""

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
    """A frame loop: the main thread and each helper use this much CPU time in a frame."""

    def __init__(
        self,
        seconds: float,
        *,
        fps: int = 60,
        helpers: int = 2,
        main_us: int = 3000,
        helper_us: int = 3000,
    ) -> None:
        super().__init__(
            "game", seconds, fps=fps, helpers=helpers, main_us=main_us, helper_us=helper_us
        )

    def frames(self, early: bool = False) -> Frames:
        """The figures at the end; with `early` the program ends now."""
        return Frames(**self._measured(early))


def figures(result: Wakeups | Periods | Spawned | Frames) -> dict[str, float]:
    """The figures of a result by name."""
    return {field.name: getattr(result, field.name) for field in fields(result)}
