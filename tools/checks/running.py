# SPDX-License-Identifier: GPL-2.0-only
"""Runs the commands of a check, and counts what came of them."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sysconfig
import tempfile
import xml.etree.ElementTree as ET
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "build" / "test"
PYTHON = str(Path(sysconfig.get_path("scripts")) / "python")

# What tools/vm exits with when the lab has no such kernel, as automake's tests do for a skip.
UNAVAILABLE = 77
# pytest's own: it ran, tests failed.
TESTS_FAILED = 1


@dataclass(frozen=True)
class Outcome:
    """What a stage came to; ``note`` says in a few words why, when that is not plain."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0
    note: str = ""

    def __str__(self) -> str:
        counts = f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped"
        if not self.passed + self.failed + self.skipped:
            counts = "ok"
        return f"{counts} ({self.note})" if self.note else counts


@dataclass(frozen=True)
class Stage:
    """One named part of the whole; ``run`` does it and never raises for a failing check."""

    name: str
    about: str
    run: Callable[[], Outcome]


def call(*command: str | Path, seconds: float = 600, quiet: bool = False) -> int:
    """Exit status of a command that has no input; 124, as timeout(1) says, when it takes longer.

    With ``quiet`` its output is shown only when it fails.
    """
    print("+", *command, flush=True)
    with contextlib.ExitStack() as stack:
        log = stack.enter_context(tempfile.TemporaryFile()) if quiet else None
        process = stack.enter_context(
            subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log and subprocess.STDOUT,
                # Its own process group, so that a timeout ends its children too.
                start_new_session=True,
            )
        )
        try:
            status = process.wait(timeout=seconds)
        except BaseException as error:
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
            if not isinstance(error, subprocess.TimeoutExpired):
                raise
            print(f"still running after {seconds:.0f} s: ended", flush=True)
            status = 124
        if log and status:
            log.seek(0)
            print(log.read().decode(errors="replace"), flush=True)
        return status


def all_of(*commands: Sequence[str | Path]) -> Outcome:
    """Runs checks that are right or wrong as a whole, all of them."""
    wrong = [
        " ".join([Path(command[0]).name, *map(str, command[1:2])])
        for command in commands
        if call(*command)
    ]
    return Outcome(failed=1, note=f"{', '.join(wrong)} failed") if wrong else Outcome()


def pytest(
    name: str, folder: str, *arguments: str, prefix: Sequence[str] = (), seconds: float = 600
) -> Outcome:
    """Runs pytest, in the lab with a prefix, and counts from the results it leaves."""
    if not any((ROOT / folder).rglob("test_*.py")):
        return Outcome(skipped=1, note=f"no tests in {folder}")
    report = RESULTS / f"{name}.xml"
    report.parent.mkdir(parents=True, exist_ok=True)
    report.unlink(missing_ok=True)
    # Relative paths: the lab sees the same tree.
    python = str(Path(PYTHON).relative_to(ROOT)) if prefix else PYTHON
    command = [python, "-m", "pytest", folder, *arguments]
    command += [f"--junitxml={report.relative_to(ROOT)}", "-p", "no:cacheprovider"]
    status = call(*prefix, *command, seconds=seconds)
    if prefix and status == UNAVAILABLE:
        return Outcome(skipped=1, note="the lab has no such kernel")
    try:
        suites = list(ET.parse(report).getroot().iter("testsuite"))
    except (OSError, ET.ParseError):
        return Outcome(failed=1, note=f"no results, exit status {status}")

    def total(key: str) -> int:
        return sum(int(suite.get(key, 0)) for suite in suites)

    failed, skipped = total("failures") + total("errors"), total("skipped")
    passed = max(total("tests") - failed - skipped, 0)
    if status and not (status == TESTS_FAILED and failed):
        return Outcome(passed, failed + 1, skipped, f"exit status {status}")
    return Outcome(passed, failed, skipped)
