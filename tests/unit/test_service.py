# SPDX-License-Identifier: GPL-2.0-only
"""What a service manager is told, at a socket that a test listens at, and the unit's own text."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from pyland.errors import UsageError
from pyland.host import checks, rights
from pyland.output import printing
from pyland.supervisor.service import Service, told

UNIT = Path(__file__).resolve().parents[2] / "service" / "pyland.service"


class Manager:
    """The service manager's end."""

    def __init__(self, address: str | bytes) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address)
        self.socket.settimeout(5)

    def heard(self) -> list[str]:
        return self.socket.recv(4096).decode().split("\n")

    def heard_nothing(self) -> bool:
        self.socket.setblocking(False)
        try:
            self.socket.recv(4096)
        except BlockingIOError:
            return True
        finally:
            self.socket.settimeout(5)
        return False


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    manager = Manager(str(tmp_path / "notify"))
    with closing(manager.socket):
        yield manager


@pytest.fixture
def service(manager: Manager, tmp_path: Path) -> Service:
    return Service(str(tmp_path / "notify"), watchdog_s=3)


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The kernel's file about the scheduler."""
    monkeypatch.setattr(checks, "SCHED_EXT", tmp_path)
    (tmp_path / "state").write_text("enabled\n")
    return tmp_path / "state"


def test_it_tells_of_each_step(service: Service, manager: Manager) -> None:
    assert service
    service.loading("trying the policy")
    assert manager.heard() == ["STATUS=trying the policy"]
    service.ready("scheduling with mine")
    assert manager.heard() == ["READY=1", "STATUS=scheduling with mine"]
    before_us = time.monotonic_ns() // 1000
    service.reloading()
    first, second = manager.heard()
    assert first == "RELOADING=1"
    assert before_us <= int(second.removeprefix("MONOTONIC_USEC=")) <= time.monotonic_ns() // 1000
    service.stopping("ended: a\nREADY=1\x1b")
    assert manager.heard() == ["STOPPING=1", "STATUS=ended: a\\nREADY=1\\x1b"]


def test_the_watchdog_is_answered_only_while_the_kernel_schedules(
    service: Service, manager: Manager, state: Path
) -> None:
    service.alive(10.0)
    assert manager.heard() == ["WATCHDOG=1"]
    service.alive(10.9)
    assert manager.heard_nothing()  # three times in the watchdog's time are enough
    service.alive(11.1)
    assert manager.heard() == ["WATCHDOG=1"]
    for text in ("disabled\n", "disabling\n", "", None):
        if text is None:
            state.unlink()
        else:
            state.write_text(text)
        service.alive(20.0)
        assert manager.heard_nothing()


def test_a_busy_manager_is_told_later(service: Service, manager: Manager, state: Path) -> None:
    for nr in range(1000):
        service.alive(nr * 10.0)
    service.ready("scheduling with mine")  # finds no room
    while "WATCHDOG=1" in (lines := manager.heard()):
        if manager.heard_nothing():
            break
    assert "READY=1" not in lines
    service.alive(1e6)
    assert manager.heard() == ["READY=1", "STATUS=scheduling with mine"]
    assert manager.heard() == ["WATCHDOG=1"]


def test_an_abstract_address_works(tmp_path: Path) -> None:
    name = f"@pyland-test-{os.getpid()}"
    manager = Manager(b"\0" + name[1:].encode())
    with closing(manager.socket):
        Service(name).ready("x")
        assert manager.heard() == ["READY=1", "STATUS=x"]


@pytest.mark.parametrize("address", ["", "/", "@", "relative", "vsock:2:1", "/" + "x" * 200])
def test_without_a_manager_nothing_happens(address: str, state: Path) -> None:
    service = Service(address, watchdog_s=1)
    assert not service
    service.ready("x")
    service.alive(1.0)


def test_a_manager_that_has_gone_is_no_error(tmp_path: Path, state: Path) -> None:
    service = Service(str(tmp_path / "absent"), watchdog_s=1)
    service.ready("x")
    service.alive(1.0)
    service.stopping("x")


def test_the_variables_are_for_no_child() -> None:
    own = {"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": "3000000", "WATCHDOG_PID": str(os.getpid())}
    environment = {**own, "HOME": "/"}
    assert Service.of_this_process(environment)
    assert environment == {"HOME": "/"}
    assert not Service.of_this_process({})


@pytest.mark.parametrize(
    ("variables", "watched"),
    [
        ({"WATCHDOG_USEC": "3000000"}, True),
        ({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "1"}, False),
        ({"WATCHDOG_USEC": "soon"}, False),
        ({"WATCHDOG_USEC": "-1"}, False),
        ({}, False),
    ],
)
def test_whose_watchdog_it_is(
    variables: dict[str, str], watched: bool, manager: Manager, tmp_path: Path, state: Path
) -> None:
    service = Service.of_this_process({"NOTIFY_SOCKET": str(tmp_path / "notify"), **variables})
    service.alive(100.0)
    assert manager.heard_nothing() is not watched


def test_a_reload_by_a_signal_is_told_in_one_line() -> None:
    assert told({"ok": True, "policy": "mine"}) == "pyland: policy mine was reloaded"
    assert told({"ok": False, "error": "a\nb"}) == "pyland: the policy was not reloaded: a\\nb"


def test_a_level_is_in_front_of_each_line_of_the_journal_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    code = (
        "import os, sys\n"
        "found = os.fstat(1)\n"
        "if sys.argv[1] == 'journal':\n"
        "    os.environ['JOURNAL_STREAM'] = f'{found.st_dev}:{found.st_ino}'\n"
        "from pyland.output import printing\n"
        "printing.say('a\\nb', level=printing.ERROR)\n"
        "printing.say('c')\n"
    )
    monkeypatch.setenv("JOURNAL_STREAM", "1:1")  # of another stream
    for where, text in (("journal", "<3>a\n<3>b\nc\n"), ("elsewhere", "a\nb\nc\n")):
        command = [shutil.which("python3") or "python3", "-c", code, where]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        assert done.stdout == text
    assert not printing.is_journal()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has the rights that a filter then takes")
def test_a_filter_that_keeps_root_root_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    rights.check_rights()

    def refused(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "setresuid", refused)
    monkeypatch.setattr(os, "setgroups", refused)
    with pytest.raises(UsageError, match=r"^the system calls setresuid, setgroups are refused"):
        rights.check_rights()


def test_the_unit_restarts_after_a_failure_and_not_after_bad_options() -> None:
    text = UNIT.read_text(encoding="utf-8")
    assert re.search(r"^Type=notify$", text, re.MULTILINE)
    assert re.search(r"^Restart=on-failure$", text, re.MULTILINE)
    assert re.search(r"^RestartPreventExitStatus=2$", text, re.MULTILINE)
    # What the checks ask for, the unit gives.
    given = " ".join(re.findall(r"^CapabilityBoundingSet=(.*)$", text, re.MULTILINE)).split()
    assert {f"CAP_{name}" for name in rights._NEEDED} <= set(given)


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not installed")
def test_systemd_understands_the_unit(tmp_path: Path) -> None:
    unit = tmp_path / "pyland.service"
    # The program has to exist for it, and the manual does not.
    text = re.sub(r"^(Exec\w+)=pyland ", r"\1=/bin/true ", UNIT.read_text(), flags=re.MULTILINE)
    unit.write_text(text.replace("Documentation=man:pyland(1)\n", ""))
    done = subprocess.run(
        ["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False
    )
    told = [line for line in done.stderr.splitlines() if "pyland" in line]
    assert (done.returncode, told) == (0, [])
