# SPDX-License-Identifier: GPL-2.0-only
"""Sets `vm.compact_unevictable_allowed` to 0 while pyland schedules, and restores it afterwards.

With 1 the kernel may move locked pages to compact memory, and a thread that touches such a page
has to wait. This process restores the value. If this process is killed, another process restores
it, which does nothing else. That process is a child of init in a session of its own, so it
survives when pyland and all of its children are killed. In case it is killed as well, the value
is first written to a file, and the next start of pyland reads it there.
"""

from __future__ import annotations

import fcntl
import os
import select
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple, NoReturn, Self

SETTING = Path("/proc/sys/vm/compact_unevictable_allowed")
MEMORY = Path("/run/pyland/compaction")
"""The file with the value before the change, and with the run that made the change."""

_OFF = "0"


class Compaction(NamedTuple):
    """The setting, as one run of pyland changes it."""

    run: str
    setting: Path = SETTING
    memory: Path = MEMORY

    @classmethod
    def of_this_process(cls) -> Self:
        """For a run that is named after this process: its number and its start time."""
        started = "0"
        with suppress(OSError):
            started = Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19]
        return cls(f"{os.getpid()}-{started}")

    @contextmanager
    def switched_off(self) -> Iterator[None]:
        """In this block the setting is 0; afterwards it is restored, unless it was set meanwhile.

        Two runs must not be in this block at once. The folder of `memory` must exist.
        """
        # If there is no such setting, or it cannot be changed, there is nothing to restore.
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
                # An earlier run was killed: the value before its change is in the file.
                before = left[0]
            if before == _OFF:
                return
            new = self.memory.with_suffix(".new")
            new.unlink(missing_ok=True)
            new.write_text(f"{before} {self.run}\n")
            new.replace(self.memory)
            self.setting.write_text(_OFF)

    def put_back(self) -> None:
        """Restore the value if this run has changed it and it has not been changed again."""
        with suppress(OSError), self._locked():
            left = self._remembered()
            if left is None or left[1] != self.run:
                return  # it is restored already, or a later run will do it
            if self.setting.read_text().strip() == _OFF:
                self.setting.write_text(left[0])
            self.memory.unlink()

    def put_back_in_any_case(self) -> None:
        """Start the process that restores the value when this process has ended, however it ended.

        Call it early, while this process has little memory and a single thread.
        """
        supervisor = os.getpid()
        pid = os.fork()
        if pid == 0:
            # The parent of that process ends at once, so init becomes its parent.
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
            # Keep no file of the caller open: the reader of a pipe would wait for this process.
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
        """The value before the change, and the run that made the change; None if there is none."""
        try:
            words = self.memory.read_text().split()
        except FileNotFoundError:
            return None
        if len(words) != 2 or not words[0].isdecimal():
            return None
        return words[0], words[1]

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold a lock: the process that restores the value of a killed run may come late."""
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        lock = os.open(self.memory.with_suffix(".lock"), flags, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)
