# SPDX-License-Identifier: GPL-2.0-only
"""pyland.service under a real systemd: its sandbox, its reload, its watchdog, its journal."""

from __future__ import annotations

import signal
import urllib.request
from collections.abc import Iterator

import pytest

from tests.kernel.harness import Unchanged
from tests.kernel.service_manager import ServiceManager, installed
from tools.load.scheduler import enabled, kernel_state, until

PORT = 9124
STEP_S = 0.2  # each look starts a process
MINE = """
from pyland import Policy, Task

class Mine(Policy):
    def enqueue(self, task: Task) -> None:
        self.dispatch(task, vtime_ns=task.awake_runtime_ns)
"""
EDITED = MINE.replace("(Policy):", '(Policy):\n    name = "edited"\n')
FILE = "/run/etc/mine.py"
# A service whose filter is that of scx_loader's, as far as pyland meets it first.
LOADER = """
[Service]
Type=exec
ExecStart=scx_pyland --policy rr
SystemCallFilter=~@setuid:EPERM @chown:EPERM @memlock:EPERM
"""
# As scx.service of the scx project.
SCX = """
[Service]
EnvironmentFile=/etc/default/scx
ExecStart=/bin/bash -c 'exec ${SCX_SCHEDULER_OVERRIDE:-$SCX_SCHEDULER} ${SCX_FLAGS_OVERRIDE:-$SCX_FLAGS} '
Restart=on-failure
"""  # noqa: E501

pytestmark = pytest.mark.skipif(not installed(), reason="there is no systemd here")


@pytest.fixture(scope="module")
def manager() -> Iterator[ServiceManager]:
    """One for all tests here: its start costs as much as pyland's."""
    unchanged = Unchanged()
    with ServiceManager() as manager:
        yield manager
    assert until(lambda: kernel_state() == "disabled", 30) is not None
    assert until(lambda: bool(unchanged), 10) is not None


def _restarts(manager: ServiceManager) -> int:
    return int(manager.shows("pyland", "NRestarts")["NRestarts"])


def _is_active(manager: ServiceManager) -> bool:
    return manager.systemctl("is-active", "pyland").stdout.strip() == "active"


def _status(manager: ServiceManager) -> str:
    return manager.shows("pyland", "StatusText")["StatusText"]


def _reloads(manager: ServiceManager) -> None:
    """A new file takes over; a broken one is refused, and the old one goes on."""
    main = manager.shows("pyland", "MainPID")
    loaded = kernel_state("enable_seq")
    manager.write(FILE, EDITED)
    assert manager.systemctl("reload", "pyland").returncode == 0
    assert _status(manager) == "scheduling with edited"
    manager.write(FILE, MINE + "(")
    assert manager.systemctl("reload", "pyland").returncode != 0
    assert _is_active(manager)
    assert _status(manager) == "scheduling with edited"
    manager.write(FILE, MINE)
    manager.systemctl("kill", "--signal", "HUP", "--kill-who=main", "pyland")

    def told() -> bool:
        return (6, "pyland: policy mine was reloaded") in manager.journal("pyland")

    assert until(told, 30, STEP_S) is not None
    assert _status(manager) == "scheduling with mine"
    assert manager.shows("pyland", "MainPID") == main
    assert kernel_state("enable_seq") == loaded
    (refused,) = [text for level, text in manager.journal("pyland") if level == 3]
    assert refused.startswith(f"pyland: reload: --policy {FILE}:Mine: SyntaxError: ")


def _is_watched(manager: ServiceManager) -> None:
    """A supervisor that does not answer is replaced; here the second one has no /var/run."""
    manager.run("rm", "/var/run")
    manager.run("mount", "-o", "remount,ro", "/var")
    manager.systemctl("kill", "--signal", "STOP", "--kill-who=main", "pyland")
    assert until(lambda: _restarts(manager) == 1 and _is_active(manager), 120, STEP_S) is not None
    assert enabled()
    assert any(
        level == 4 and text.startswith("pyland: no statistics are served: /var/run/scx/root")
        for level, text in manager.journal("pyland")
    )


@pytest.mark.long
def test_the_service(manager: ServiceManager) -> None:
    manager.write(FILE, MINE)
    manager.write(
        "/etc/default/pyland", f'PYLAND_FLAGS="--policy {FILE}:Mine --metrics {PORT} --stats 2"\n'
    )
    manager.write("/run/systemd/system/pyland.service.d/test.conf", "[Service]\nWatchdogSec=5\n")
    manager.systemctl("daemon-reload")
    started = manager.systemctl("start", "pyland")
    assert started.returncode == 0, manager.journal("pyland")
    assert enabled()
    assert _status(manager) == "scheduling with mine"
    assert manager.run("test", "-S", "/run/scx/root/stats").returncode == 0
    with urllib.request.urlopen(f"http://127.0.0.1:{PORT}/metrics", timeout=30) as answer:
        assert b'pyland_policy_info{policy="mine"} 1' in answer.read()
    status = manager.run("pyland", "status").stdout
    assert "capabilities: none" in status
    _reloads(manager)
    _is_watched(manager)
    assert manager.systemctl("stop", "pyland").returncode == 0
    assert kernel_state() == "disabled"
    told = manager.journal("pyland")
    ends = [text for _, text in told if text.startswith("pyland: ended: ")]
    assert ends == ["pyland: ended: stopped by a signal"]  # the killed one could say nothing
    assert [level for level, text in told if text.startswith("pyland: totals: ")] == [7]

    manager.write("/etc/default/pyland", "PYLAND_FLAGS=--slice-us=1\n")
    assert manager.systemctl("start", "pyland").returncode != 0
    assert until(
        lambda: manager.shows("pyland", "ActiveState") == {"ActiveState": "failed"}, 20, STEP_S
    )
    assert manager.shows("pyland", "ExecMainStatus", "NRestarts") == {
        "ExecMainStatus": "2",
        "NRestarts": "0",
    }
    assert manager.journal("pyland")[-1] == (3, "pyland: --slice-us 1: it takes 100 to 1000000")


@pytest.mark.long
def test_it_starts_as_other_schedulers_of_scx_do(manager: ServiceManager) -> None:
    """By scx.service it schedules; where it could not leave root it says so."""
    manager.write("/run/systemd/system/loader.service", LOADER)
    manager.write("/run/systemd/system/scx.service", SCX)
    manager.write("/etc/default/scx", "SCX_SCHEDULER=scx_pyland\nSCX_FLAGS='--policy rr'\n")
    manager.systemctl("daemon-reload")
    manager.systemctl("start", "loader")
    wanted = {"ActiveState": "failed", "ExecMainStatus": "2"}
    assert until(lambda: manager.shows("loader", *wanted) == wanted, 30, STEP_S) is not None
    ((level, text),) = manager.journal("loader")
    assert level == 3
    assert "the system calls setresuid, setresgid, setgroups are refused here" in text
    assert manager.systemctl("start", "scx").returncode == 0
    assert until(enabled, 90) is not None, manager.journal("scx")
    manager.systemctl("kill", "--signal", str(int(signal.SIGINT)), "scx")
    wanted = {"ActiveState": "inactive", "Result": "success"}
    assert until(lambda: manager.shows("scx", *wanted) == wanted, 20, STEP_S) is not None
    assert kernel_state() == "disabled"
