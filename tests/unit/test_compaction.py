# SPDX-License-Identifier: GPL-2.0-only
"""The setting that pyland changes is put back, however a run ends."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from pyland.host.compaction import Compaction


class Machine:
    """Files instead of the kernel's setting and of /run."""

    def __init__(self, folder: Path, value: str = "1") -> None:
        self.setting, self.memory = folder / "setting", folder / "memory"
        self.setting.write_text(value)

    def run(self, name: str) -> Compaction:
        return Compaction(name, self.setting, self.memory)

    @property
    def value(self) -> str:
        return self.setting.read_text().strip()

    def killed(self, name: str, *, restorer: bool) -> None:
        """A run that ends by SIGKILL, with or without the process that restores."""
        pid = os.fork()
        if pid == 0:
            run = self.run(name)
            if restorer:
                run.put_back_in_any_case()
            with run.switched_off():
                os.kill(os.getpid(), signal.SIGKILL)
        os.waitpid(pid, 0)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_it_is_off_inside_and_as_before_afterwards(machine: Machine) -> None:
    with machine.run("a").switched_off():
        assert machine.value == "0"
        assert machine.memory.exists()
    assert machine.value == "1"
    assert not machine.memory.exists()


def test_what_was_off_stays_off(tmp_path: Path) -> None:
    machine = Machine(tmp_path, "0")
    with machine.run("a").switched_off():
        assert not machine.memory.exists()
    assert machine.value == "0"


def test_a_killed_run_puts_it_back(machine: Machine) -> None:
    machine.killed("a", restorer=True)
    end_s = time.monotonic() + 10
    while machine.memory.exists() and time.monotonic() < end_s:
        time.sleep(0.01)
    assert machine.value == "1"
    assert not machine.memory.exists()


def test_when_all_of_it_was_killed_the_next_run_does(machine: Machine) -> None:
    machine.killed("a", restorer=False)
    assert machine.value == "0"
    machine.killed("b", restorer=False)
    with machine.run("c").switched_off():
        assert machine.value == "0"
    assert machine.value == "1"
    assert not machine.memory.exists()


def test_a_restorer_that_comes_late_leaves_the_next_run_alone(machine: Machine) -> None:
    machine.killed("a", restorer=False)
    with machine.run("b").switched_off():
        machine.run("a").put_back()
        assert machine.value == "0"
    assert machine.value == "1"


@pytest.mark.parametrize("inside", [False, True])
def test_what_an_administrator_sets_meanwhile_stays(machine: Machine, inside: bool) -> None:
    if inside:
        with machine.run("a").switched_off():
            machine.setting.write_text("2")
    else:
        machine.killed("a", restorer=False)
        machine.setting.write_text("2")
        with machine.run("b").switched_off():
            assert machine.value == "0"
    assert machine.value == "2"


@pytest.mark.parametrize("text", ["", "1", "x y", "1 a b", "-1 a"])
def test_a_file_of_something_else_says_nothing(machine: Machine, text: str) -> None:
    machine.memory.write_text(text)
    with machine.run("a").switched_off():
        assert machine.value == "0"
    assert machine.value == "1"


def test_a_machine_without_it_is_scheduled_too(machine: Machine) -> None:
    machine.setting.unlink()
    with machine.run("a").switched_off():
        pass
    assert not machine.setting.exists()


def test_what_cannot_be_remembered_is_not_changed(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    with Compaction("a", machine.setting, tmp_path / "absent" / "memory").switched_off():
        assert machine.value == "1"


def test_a_process_is_one_run() -> None:
    assert Compaction.of_this_process() == Compaction.of_this_process()
    assert Compaction.of_this_process().run.startswith(f"{os.getpid()}-")
