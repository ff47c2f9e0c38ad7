# SPDX-License-Identifier: GPL-2.0-only
"""Commands that run beside a test or a benchmark, and end with it."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import Self

PATIENCE = 90.0
"""Seconds to wait for a program that has to end: long, because emulated machines are slow."""


class Command:
    """A command in a session of its own; the end of the `with` block kills the whole session.

    Its output goes to a file, so the command never waits for a reader.
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

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()
        self._log.close()

    @property
    def output(self) -> str:
        """All that the command has written so far."""
        # pread: the command shares the file's position.
        return os.pread(self._log.fileno(), 1 << 24, 0).decode(errors="replace")

    @property
    def running(self) -> bool:
        """True until the command has ended."""
        return self._process.poll() is None

    def wait(self, seconds: float = PATIENCE) -> int:
        """The exit status, negative for a signal; TimeoutError after this many seconds."""
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise TimeoutError(
                f"{self.name} still runs after {seconds:.0f} s:\n{self.output[-2000:]}"
            ) from None

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Sends the signal and returns the exit status; see `wait`."""
        if self.running:
            self._process.send_signal(number)
        return self.wait()


class Stress(Command):
    """stress-ng with these options; its files go to a folder that is removed with it."""

    def __init__(self, options: str, seconds: float) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="pyland-stress-")
        command = ["stress-ng", *options.split(), "-t", f"{seconds:.0f}"]
        super().__init__(*command, "--temp-path", self._folder.name)

    def __exit__(self, *_: object) -> None:
        super().__exit__()
        self._folder.cleanup()


def available(name: str) -> bool:
    """True if the machine has a command of this name."""
    return shutil.which(name) is not None
