# SPDX-License-Identifier: GPL-2.0-only
"""Files change on the disk while pyland runs: the running pyland keeps what it has loaded."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from pyland._native import lib
from tests.kernel.harness import Start, ask, ended_well, folder_for_policies, swap
from tools.load.build import ROOT
from tools.load.programs import Hogs
from tools.load.scheduler import PYLAND, Scheduler, kernel_state

PACKAGE = ROOT / "pyland"
OBJECT = PACKAGE / "pyland.bpf.o"
POLICY = """
from pyland import Policy


class Mine(Policy):
    def enqueue(self, task):
        self.dispatch(task, vtime_ns=task.total_runtime_ns)
"""


@contextmanager
def in_place_of(target: Path, with_: Path) -> Iterator[None]:
    """Put another file or folder over `target`, for all processes of this machine."""
    subprocess.run(["mount", "--bind", with_, target], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", target], check=True)


def another_build(folder: Path) -> Path:
    """A BPF object with the layout number of another build."""
    number = lib.pyland_layout().to_bytes(8, "little")
    data = OBJECT.read_bytes()
    assert data.count(number) == 1
    changed = folder / "other.o"
    changed.write_bytes(data.replace(number, bytes(8)))
    return changed


def restart(scheduler: Scheduler, value: str) -> None:
    """Take a CPU offline or online: the kernel wants the scheduler to be loaded again."""
    starts = scheduler.starts
    Path("/sys/devices/system/cpu/cpu1/online").write_text(value)
    scheduler.wait_enabled(starts + 1)


def test_an_object_of_another_build_is_refused() -> None:
    """One line names the remedy; nothing is attached."""
    with folder_for_policies() as folder, in_place_of(OBJECT, another_build(folder)):
        done = subprocess.run([PYLAND], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert done.stderr == (
        "pyland: the BPF object pyland.bpf.o is of another build than the rest of pyland: "
        "install pyland again\n"
    )
    assert kernel_state() == "disabled"


def test_the_package_changes_under_a_running_pyland(start: Start) -> None:
    """Another object, then an empty folder instead of the package: restarts and swaps work."""
    scheduler = start()
    with folder_for_policies() as folder, ExitStack() as mounts:
        mounts.enter_context(in_place_of(OBJECT, another_build(folder)))
        restart(scheduler, "0")
        (folder / "empty").mkdir()
        mounts.enter_context(in_place_of(PACKAGE, folder / "empty"))
        restart(scheduler, "1")
        assert swap(policy="vtime")["policy"] == "vtime"
        with Hogs(600, [0] * 4):
            time.sleep(3)
            status = ask("status")
        assert status["counters"]["user_dispatched"] > 0
    ended_well(scheduler.end())


def test_the_policys_file_changes_under_a_running_pyland(start: Start) -> None:
    """Broken, then removed: the loaded policy continues, a line says so, a swap back is refused."""
    with folder_for_policies() as folder:
        file = folder / "mine.py"
        file.write_text(POLICY)
        scheduler = start("--policy", f"{file}:Mine")
        file.write_text("this is no Python\n")
        restart(scheduler, "0")
        assert ask("status")["policy"] == "mine"
        assert f"policy mine: {file} is not what it was" in scheduler.output
        shutil.rmtree(folder)
        restart(scheduler, "1")
        with Hogs(600, [0] * 4):
            time.sleep(3)
            status = ask("status")
        assert status["policy"] == "mine"
        assert status["counters"]["user_dispatched"] > 0
        assert scheduler.end().status == 0
        folder.mkdir()  # for the end of the block
