# SPDX-License-Identifier: GPL-2.0-only
"""`vm.compact_unevictable_allowed` is 0 while pyland schedules, and what it was afterwards.

The kernel may otherwise move locked pages to compact memory, and what touches one
meanwhile waits. The value is put back by this process, or by one that waits for its end
and does nothing else: it is a child of init in a session of its own, so that it outlives
what ends pyland and all of its children. For the case that it is killed as well, the value
is written to a file first, and the next start takes it from there.
"""

from __future__ import annotations

import fcntl
import os
import select
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, Self

SETTING = Path("/proc/sys/vm/compact_unevictable_allowed")
MEMORY = Path("/run/pyland/compaction")
"""The value before the change, and which run made it."""

_OFF = "0"


@dataclass(frozen=True)
class Compaction:
    """The setting, as one run of pyland changes it."""

    run: str
    setting: Path = SETTING
    memory: Path = MEMORY

    @classmethod
    def of_this_process(cls) -> Self:
        """The run is the process: its number, and when it started."""
        started = "0"
        with suppress(OSError):
            started = Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19]
        return cls(f"{os.getpid()}-{started}")

    @contextmanager
    def switched_off(self) -> Iterator[None]:
        """Inside, the setting is 0; afterwards what it was, or what it was set to meanwhile.

        Two runs must not be inside at once. The folder of the memory exists.
        """
        # Where there is no such setting, or it cannot be changed, there is nothing to put back.
        with suppress(OSError):
            self._switch_off()
        try:
            yield
        finally:
            self.put_back()

    def _switch_off(self) -> None:
        with self._locked():
            before = self.setting.read_text().strip()
            left = self._remembered()
            if left is not None and before == _OFF:
                # A run was killed, and what it had changed is not what it had found.
                before = left[0]
            if before == _OFF:
                return
            new = self.memory.with_suffix(".new")
            new.unlink(missing_ok=True)
            new.write_text(f"{before} {self.run}\n")
            new.replace(self.memory)
            self.setting.write_text(_OFF)

    def put_back(self) -> None:
        """Put back what this run has changed, if it is still as this run has set it."""
        with suppress(OSError), self._locked():
            left = self._remembered()
            if left is None or left[1] != self.run:
                return  # done, or a later run will do it
            if self.setting.read_text().strip() == _OFF:
                self.setting.write_text(left[0])
            self.memory.unlink()

    def put_back_in_any_case(self) -> None:
        """Start the process that does it when this one has ended, in whatever way.

        To be called while there is little in memory and no thread but one.
        """
        supervisor = os.getpid()
        pid = os.fork()
        if pid == 0:
            # Its parent ends at once, so that it is a child of init.
            try:
                if os.fork() == 0:
                    self._wait_for_the_end(supervisor)
            finally:
                os._exit(0)
        os.waitpid(pid, 0)

    def _wait_for_the_end(self, supervisor: int) -> NoReturn:
        try:
            os.setsid()
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, signal.SIG_IGN)
            # None of the caller's files is held open: its reader would wait for this process.
            nothing = os.open(os.devnull, os.O_RDWR)
            for standard in (0, 1, 2):
                os.dup2(nothing, standard)
            os.closerange(3, os.sysconf("SC_OPEN_MAX"))
            os.chdir("/")
            with suppress(OSError):
                Path("/proc/self/comm").write_text("pyland-restore")
            with suppress(ProcessLookupError):
                poll = select.poll()
                poll.register(os.pidfd_open(supervisor), select.POLLIN)
                poll.poll()
            self.put_back()
        finally:
            os._exit(0)

    def _remembered(self) -> tuple[str, str] | None:
        """The value before the change, and the run that made it."""
        try:
            words = self.memory.read_text().split()
        except FileNotFoundError:
            return None
        if len(words) != 2 or not words[0].isdecimal():
            return None
        return words[0], words[1]

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One process at a time looks and changes: that of a killed run may come late."""
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        lock = os.open(self.memory.with_suffix(".lock"), flags, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)
