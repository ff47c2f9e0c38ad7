# SPDX-License-Identifier: GPL-2.0-only
"""A policy cannot become root, and the supervisor trusts nothing that it says."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import psutil
import pytest

from tests.kernel.harness import Start, ask, ended_well, folder_for_policies, swap, undisturbed
from tests.support.watcher import CALLERS, Watcher
from tools.load.programs import Hogs, Sleeper
from tools.load.scheduler import PYLAND, kernel_state, until

ATTACKS = Path(__file__).with_name("attacks.py")
ESCAPES = Path(__file__).with_name("escapes.py")
STOPS = Path(__file__).with_name("stops.py")


@contextmanager
def reports() -> Iterator[Path]:
    """A folder that any user can write to."""
    with folder_for_policies() as folder:
        folder.chmod(0o1777)
        yield folder


@pytest.mark.parametrize("caller", CALLERS)
def test_policy_code_never_runs_with_rights(start: Start, caller: str) -> None:
    """Import, constructor, warm-up, decisions, threads; at the start, swaps and restarts."""
    program = CALLERS[caller]
    scheduler = start(program=program)
    watcher = Watcher(scheduler.pid)
    watcher.start()
    try:
        with Hogs(600, [0] * 3):
            swap(policy=f"{STOPS}:Stops")
            time.sleep(2)
            swap(policy="fifo")
            swap(policy=f"{STOPS}:Stops")
            time.sleep(2)
        cpu = Path("/sys/devices/system/cpu/cpu1/online")
        for value in ("0", "1"):
            starts = scheduler.starts
            cpu.write_text(value)
            scheduler.wait_enabled(starts + 1)
            time.sleep(2)
    finally:
        watcher.end()
    assert not watcher.wrong, watcher.wrong[0]
    # Import and constructor in the trial and the worker at each swap; a constructor at a restart.
    assert len(watcher.looked_at) >= 2 * 4 + 2
    assert scheduler.end().status == 0


def test_no_way_out(start: Start) -> None:
    """Every attempt is refused, in the policy's process and in a thread of it."""
    with reports() as folder:
        scheduler = start(
            *("--policy", f"{ESCAPES}:Tries", "--policy-opt", f"report={folder}/report")
        )
        with undisturbed(scheduler), Hogs(600, [0] * 4):
            assert until((folder / "report").exists, 60) is not None, scheduler.about()
            assert until(lambda: "chroot" in _thread(folder), 60) is not None
            lines = (folder / "report").read_text().splitlines()
    assert len(lines) >= 2 * 40
    assert not [line for line in lines if "WORKED" in line]
    ended_well(scheduler.end())


def _thread(folder: Path) -> str:
    text = (folder / "report").read_text()
    return text.partition("in a thread")[2]


def test_nonsense_and_noise_reach_nothing(start: Start) -> None:
    """Bytes that are no message, unexpected messages, and random numbers in all shared memory."""
    scheduler = start()
    with undisturbed(scheduler), Hogs(600, [0] * 4) as hogs, Sleeper(600) as sleeper:
        for kind in ("Lies", "Scribbles", "Floods"):
            swap(policy=f"{ATTACKS}:{kind}")
            time.sleep(5)
            assert ask("status")["policy"] == kind.lower()
            answer = swap(policy="deadline")
            assert (answer["previous"], answer["policy"]) == (kind.lower(), "deadline")
            assert decides_again(), kind
        wakeups, shares = sleeper.wakeups(early=True), hogs.shares(early=True)
    assert wakeups.max_us < 5e6
    assert shares.longest_gap_s < 5
    assert "\x1b" not in scheduler.output
    assert "\npyland: ended: a lie" not in scheduler.output
    assert scheduler.end().status == 0


def decisions() -> int:
    """How many tasks were queued as the policy decided."""
    return int(ask("status")["counters"]["user_dispatched"])


def decides_again() -> bool:
    """True if the policy decides further tasks."""
    before = decisions()
    return until(lambda: decisions() > before + 100, 30, step_s=0.5) is not None


@pytest.mark.counted
@pytest.mark.long
def test_lies_before_a_restart_are_not_taken_for_the_worker(start: Start) -> None:
    """The channel is full of lies, also of `Ready`, when a CPU goes and comes back."""
    scheduler = start("--policy", f"{ATTACKS}:Lies")
    cpu = Path("/sys/devices/system/cpu/cpu1/online")
    with Hogs(600, [0] * 4):
        assert until(lambda: decisions() > 1000, 60) is not None, scheduler.about()
        for value in ("0", "1"):
            starts = scheduler.starts
            cpu.write_text(value)
            scheduler.wait_enabled(starts + 1)
            assert ask("status")["policy"] == "lies"
        assert swap(policy="deadline")["previous"] == "lies"
    assert "the kernel filters no system calls" not in scheduler.output
    assert scheduler.end().status == 0


def test_a_policy_that_keeps_orders_away_is_ended(start: Start) -> None:
    """The swap is not done, and pyland says why it ends."""
    scheduler = start("--policy", f"{ATTACKS}:Deaf")
    with Hogs(600, [0] * 4):
        assert until(lambda: decisions() > 1000, 60) is not None, scheduler.about()
        with pytest.raises(AssertionError, match="pyland is not scheduling now"):
            swap(policy="fifo")
        assert scheduler.wait(60) == 1, scheduler.about()
    assert "pyland: ended: policy deaf: the process that runs it takes no orders" in (
        scheduler.output
    )
    assert kernel_state() == "disabled"


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("Ends",), "policy ends does not return and cannot be interrupted"),
        (
            ("Lies", "--policy-opt", 'lie={"kind": "Refused", "error": "lost\\u0007"}'),
            "policy lies: lost\\x07",
        ),
        (
            ("Lies", "--policy-opt", 'lie={"kind": "Stopped", "how": "RING"}'),
            "policy lies: the process that runs it stopped scheduling",
        ),
    ],
)
def test_a_lie_about_the_end_ends_the_liar(
    start: Start, options: tuple[str, ...], reason: str
) -> None:
    """pyland ends with 1 and blames the policy: the supervisor trusts the kernel's state only."""
    scheduler = start("--policy", f"{ATTACKS}:{options[0]}", *options[1:])
    with Hogs(600, [0] * 4):
        assert scheduler.wait(60) == 1, scheduler.about()
    assert f"pyland: ended: {reason}" in scheduler.output
    assert kernel_state() == "disabled"


@pytest.mark.counted
@pytest.mark.long
def test_what_it_starts_ends_with_it(start: Start) -> None:
    """Processes that a policy was allowed to start end after Ctrl-C, and after a SIGKILL too."""
    for number in (signal.SIGINT, signal.SIGTERM):
        scheduler = start("--allow-processes", "--policy", f"{ATTACKS}:Spawns")
        with Hogs(600, [0] * 4):
            assert until(lambda: len(_sleeping()) >= 3, 60) is not None, scheduler.about()
            assert until(partial(_no_zombies, scheduler.pid), 10) is not None
            assert scheduler.end(number).status == 0
        assert not _sleeping()
        assert kernel_state() == "disabled"


def _sleeping() -> list[int]:
    return [one.pid for one in psutil.process_iter(["cmdline"]) if "1234" in one.info["cmdline"]]


def _no_zombies(parent: int) -> bool:
    """True if the supervisor has reaped all children that have ended."""
    children = psutil.Process(parent).children()
    return all(one.status() != psutil.STATUS_ZOMBIE for one in children)


@pytest.mark.parametrize(
    ("user", "reason"),
    [
        ("root", "--user root: a policy does not run as root"),
        ("0", "--user 0: a policy does not run as root"),
        ("no-such-user", "--user 'no-such-user': there is no such user"),
    ],
)
def test_a_user_that_cannot_be(user: str, reason: str) -> None:
    """One line, exit code 2, and nothing is loaded."""
    done = subprocess.run(
        [PYLAND, "--user", user], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 2
    assert done.stderr.startswith(f"pyland: {reason}")
    assert done.stderr.count("\n") == 1
    assert kernel_state() == "disabled"


@pytest.mark.counted
@pytest.mark.long
def test_the_policy_runs_as_the_user_that_was_named(start: Start) -> None:
    """The user is given by name; root may still ask at the control socket."""
    scheduler = start("--user", "daemon")
    assert ask("status")["process"]["user"] == "1"
    assert os.stat("/run/pyland/control.sock").st_uid == 0
    ended_well(scheduler.end())
