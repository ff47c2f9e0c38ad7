# SPDX-License-Identifier: GPL-2.0-only
"""Runs the commands of a check, and counts the results."""

from __future__ import annotations

import contextlib
import os
import re
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

# Exit status of tools/vm when the lab has no such kernel; automake uses it for a skipped test.
UNAVAILABLE = 77
# Exit status of pytest when it ran and tests failed.
TESTS_FAILED = 1
# Exit status of pytest when no test was selected.
NO_TESTS = 5


@dataclass(frozen=True)
class Outcome:
    """The result of a stage; `note` gives the reason in a few words where it is not obvious."""

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
    """A named part of the checks; `run` does not raise when a check fails.

    With `beside` the stage can run at the same time as others that say so: its results do not
    depend on the load of the machine.
    """

    name: str
    about: str
    run: Callable[[], Outcome]
    beside: bool = False


def in_another_process(command: Sequence[str | Path]) -> Outcome:
    """Runs one stage by a command that ends with its totals, and prints its output at the end."""
    with tempfile.TemporaryFile() as log:
        process = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, check=False
        )
        log.seek(0)
        text = log.read().decode(errors="replace")
    print(text, end="", flush=True)
    found = re.search(r"^(\d+) passed, (\d+) failed, (\d+) skipped$", text[-200:], re.MULTILINE)
    if found is None:
        return Outcome(failed=1, note=f"no totals, exit status {process.returncode}")
    passed, failed, skipped = map(int, found.groups())
    return Outcome(passed, failed, skipped)


def call(*command: str | Path, seconds: float = 600, quiet: bool = False) -> int:
    """Exit status of a command without input; 124, as from timeout(1), after this many seconds.

    With `quiet` the output is shown only if the command fails.
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
    """Runs all of these commands, also after one has failed."""
    wrong = [
        " ".join([Path(command[0]).name, *map(str, command[1:2])])
        for command in commands
        if call(*command)
    ]
    return Outcome(failed=1, note=f"{', '.join(wrong)} failed") if wrong else Outcome()


def failures(name: str) -> list[str]:
    """The tests of a stage that failed, by their ids; empty if there are no results."""
    try:
        cases = list(ET.parse(RESULTS / f"{name}.xml").getroot().iter("testcase"))
    except (OSError, ET.ParseError):
        return []
    return [
        f"{case.get('file')}::{case.get('name')}"
        for case in cases
        if case.find("failure") is not None or case.find("error") is not None
    ]


def pytest(
    name: str,
    folder: str,
    *arguments: str,
    prefix: Sequence[str] = (),
    seconds: float = 600,
    may_be_empty: bool = False,
    files: Sequence[str] = (),
) -> Outcome:
    """Runs pytest, with `prefix` in the lab, and counts from the results file.

    A selection without any test is a failure, or a skip if it may be empty. With `files` only these
    are read, in place of the whole folder.
    """
    if not any((ROOT / folder).rglob("test_*.py")):
        return Outcome(skipped=1, note=f"no tests in {folder}")
    report = RESULTS / f"{name}.xml"
    report.parent.mkdir(parents=True, exist_ok=True)
    report.unlink(missing_ok=True)
    # Relative paths are the same in the lab, which sees the same tree.
    python = str(Path(PYTHON).relative_to(ROOT)) if prefix else PYTHON
    command = [python, "-m", "pytest", *(files or (folder,)), *arguments]
    command += [f"--junitxml={report.relative_to(ROOT)}", "-p", "no:cacheprovider"]
    status = call(*prefix, *command, seconds=seconds)
    if prefix and status == UNAVAILABLE:
        return Outcome(skipped=1, note="the lab has no such kernel")
    if may_be_empty and status == NO_TESTS:
        return Outcome(skipped=1, note="no such tests")
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
