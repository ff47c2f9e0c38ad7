# SPDX-License-Identifier: GPL-2.0-only
"""These tests change the scheduler of the running machine: they need root and sched_ext.

`tools/vm --cpus 2 --memory 2G -- .venv/bin/python -m pytest tests/kernel` runs them in the lab.
PYLAND_TEST_SECONDS (15) is the length of tests that run for a minute when it is 60. PYLAND_RESULTS
names a folder for the figures that the tests measure.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path

import pytest

from tests.kernel.harness import Record, Start
from tests.kernel.turns import Shared
from tools.load import build
from tools.load import scheduler as system
from tools.load.scheduler import Scheduler

_running: list[Scheduler] = []
_shared = Shared()


def _reason_to_skip() -> str:
    if not system.SCHED_EXT.is_dir():
        return f"the running kernel ({os.uname().release}) has no sched_ext: use tools/vm"
    if os.geteuid():
        return "only root may change the scheduler: use sudo, or tools/vm"
    return ""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that share a pyland come first; none runs where pyland cannot be the scheduler.

    `tools/test` runs all of them in the lab. A skipped test says what is missing here.
    """
    here = Path(__file__).parent
    items.sort(key=lambda item: "shared" not in getattr(item, "fixturenames", ()))
    if reason := _reason_to_skip():
        for item in items:
            if here in item.path.parents:
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add the output of pyland and of the kernel to the report of a failure."""
    report = yield
    if report.failed:
        for scheduler in filter(None, (*_running, _shared.scheduler)):
            report.sections.append(("pyland", scheduler.about()))
    return report


@pytest.fixture(autouse=True, scope="session")
def _as_the_owner_of_this_tree() -> Iterator[None]:
    """Set the variables of sudo for the owner of the tree: root alone may not run its policies."""
    owner = build.ROOT.stat()
    with pytest.MonkeyPatch.context() as environment:
        if owner.st_uid:
            environment.setenv("SUDO_UID", str(owner.st_uid))
            environment.setenv("SUDO_GID", str(owner.st_gid))
        yield


def _no_scheduler() -> None:
    _shared.end()
    assert system.until(lambda: system.kernel_state() == "disabled", 10) is not None, (
        f"a scheduler is loaded already: {system.kernel_state('root/ops')}"
    )


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts pyland with options and returns it when it schedules; it ends with the test."""
    _no_scheduler()

    def started(*options: str, program: Sequence[str | Path] = (system.PYLAND,)) -> Scheduler:
        scheduler = Scheduler(*options, program=program)
        _running.append(scheduler)
        scheduler.wait_enabled()
        return scheduler

    try:
        yield started
    finally:
        while _running:
            _running.pop().__exit__(None, None, None)


@pytest.fixture(scope="session")
def shared() -> Iterator[Shared]:
    """A pyland that many tests use, one after the other, each with the policy that it swaps to."""
    yield _shared
    _shared.end()


@pytest.fixture
def record(
    request: pytest.FixtureRequest, record_property: Callable[[str, object], None]
) -> Record:
    """Records figures: for `pytest -s`, in the JUnit report, and in PYLAND_RESULTS."""
    figures: dict[str, object] = {}

    def noted(**values: object) -> None:
        for name, value in values.items():
            record_property(name, value)
            print(f"\n{request.node.name}: {name} {value}", end="", flush=True)
        figures.update(values)
        if folder := os.environ.get("PYLAND_RESULTS"):
            path = Path(folder) / f"{request.node.name}.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            text = json.dumps({"kernel": os.uname().release, **figures}, indent=2)
            path.write_text(text + "\n", encoding="utf-8")

    return noted
