# SPDX-License-Identifier: GPL-2.0-only
"""Statistics of a live pyland: the protocol, metrics and monitor."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import socket
import subprocess
import time
import urllib.request
from pathlib import Path

from pyland.stats import scx_stats
from pyland.stats.places import DEFAULT_PATH
from tests.kernel.harness import (
    Record,
    Start,
    ended_well,
    folder_for_policies,
    swap,
    undisturbed,
)
from tests.kernel.turns import Shared
from tests.support.statistics import Talker, as_rustland, asked, parsed_metrics, server_of
from tools.load.programs import Hogs
from tools.load.scheduler import PYLAND, enabled, until

PORT = 9123
CPU1_ONLINE = Path("/sys/devices/system/cpu/cpu1/online")
COUNTING = """
from pyland import Policy, Task

class Counting(Policy):
    def enqueue(self, task: Task) -> None:
        self.machine.count("decided")
        self.machine.gauge("awake_ms", task.awake_runtime_ns / 1e6)
        self.dispatch(task)
"""
# Writes random bytes over the memory of its numbers, and then goes on with them.
HOSTILE = """
import random
from pyland import Policy, Task

class Hostile(Policy):
    def enqueue(self, task: Task) -> None:
        memory = self.machine._numbers._whole
        memory[:] = random.randbytes(len(memory))
        self.machine.note(task, "\\x1b[2J" * random.randrange(9))
        for name in ("a", "\\x1b[2J", f"task_{task.pid}"):
            try:
                self.machine.gauge(name, random.choice([float("nan"), 1e308, -1]))
            except ValueError:
                pass
        self.dispatch(task)
"""


def _metrics() -> dict[str, float]:
    """All samples without labels."""
    with urllib.request.urlopen(f"http://127.0.0.1:{PORT}/metrics", timeout=60) as answer:
        families = parsed_metrics(answer.read().decode())
    return {
        sample.name: sample.value
        for family in families
        for sample in family.samples
        if not sample.labels
    }


def test_clients_see_what_pyland_does(start: Start, record: Record) -> None:
    """The protocol, metrics and monitor say the same as pyland's own rows."""
    scheduler = start("--stats", "1", "--metrics", str(PORT), "--stats-mode", "666")
    with undisturbed(scheduler), Hogs(120, [0] * 4):
        with contextlib.closing(Talker(DEFAULT_PATH, 60)) as client:
            meta = client.ask("stats_meta")
            first, before = client.ask("stats"), _metrics()
            time.sleep(5)
            second, after = client.ask("stats"), _metrics()
        assert meta[scx_stats.TOP]["fields"].keys() == first.keys() == second.keys()
        found = as_rustland(second)
        assert found["nr_user_dispatches"] == second["user_dispatched"] > 20
        assert found["nr_running"] >= 1
        assert second["policy"] == "deadline"
        grown = after["pyland_forwarded_total"] - before["pyland_forwarded_total"]
        assert grown > 20
        assert after["pyland_cpus"] == found["nr_cpus"]
        assert after["pyland_wait_cpu_seconds_total"] > 0
        server = server_of(scheduler.pid)
        maps = Path(f"/proc/{server.pid}/maps").read_text(encoding="utf-8")
        modes = re.findall(r" (\S{4}) .*anon_inode:bpf", maps)
        assert modes
        # The wish for histograms is all that it can write.
        assert sorted(modes)[:-1] == ["r--s"] * (len(modes) - 1)
        assert sorted(modes)[-1] == "rw-s"
        smaps = Path(f"/proc/{server.pid}/smaps").read_text(encoding="utf-8")
        flags = re.findall(r"anon_inode:bpf.*\n(?:\w+: .*\n)*?VmFlags: (.*)\n", smaps)
        assert len(flags) == len(modes)
        # No system call makes the others writable again.
        assert sum(" mw " in f" {one} " for one in flags) == 1, flags
        record(server_rss_mib=server.memory_info().rss >> 20, modes=modes)
    ended_well(scheduler.end())
    assert not DEFAULT_PATH.exists()


def test_monitor_as_a_plain_user(start: Start) -> None:
    """It prints JSON, and goes on when pyland is started again."""
    first = start("--stats-mode", "666")
    with (
        Hogs(200, [19] * 4),  # nice, so that the second start soon ends
        subprocess.Popen(
            [PYLAND, "monitor", "--json", "--interval", "1"],
            stdout=subprocess.PIPE, text=True, user=65534, group=65534, extra_groups=[],
        ) as monitor,
    ):  # fmt: skip
        assert monitor.stdout is not None
        found = [json.loads(monitor.stdout.readline()) for _ in range(3)]
        assert all(one["forwarded"] > 0 for one in found)
        ended_well(first.end())
        second = start("--stats-mode", "666", "--policy", "fifo")
        policy = ""
        for _ in range(120):
            policy = json.loads(monitor.stdout.readline())["policy"]
            if policy == "fifo":
                break
        assert policy == "fifo"
        monitor.send_signal(signal.SIGINT)
        assert monitor.wait(30) == 0
        ended_well(second.end())


def test_a_policys_own_numbers(start: Start) -> None:
    """They follow a swap, and a hostile policy can show nothing that is not a number."""
    with folder_for_policies() as folder, Hogs(240, [19] * 4):
        (folder / "counting.py").write_text(COUNTING)
        (folder / "hostile.py").write_text(HOSTILE)
        scheduler = start(
            *("--policy", f"{folder}/counting.py:Counting"),
            *("--stats", "1", "--policy-numbers", "--metrics", str(PORT)),
        )
        client = Talker(DEFAULT_PATH, 60)
        client.ask("stats")
        time.sleep(3)
        found = client.ask("stats")
        assert found["policy"] == "counting"
        decided = found["policy_counts"]["decided"]["policy_count"]
        assert 0.5 < decided / found["user_dispatched"] < 2
        assert found["policy_gauges"]["awake_ms"]["policy_gauge"] >= 0
        assert until(lambda: "decided +" in scheduler.output, 10) is not None
        swap(policy=f"{folder}/hostile.py:Hostile")
        for _ in range(20):
            found = client.ask("stats")
            _metrics()
            for name in (*found["policy_gauges"], *found["policy_counts"]):
                assert name.isidentifier()
            time.sleep(0.1)
        assert found["policy"] == "hostile"
        swap(policy="deadline")
        assert until(lambda: client.ask("stats")["policy"] == "deadline", 10) is not None
        found = client.ask("stats")
        assert found["policy_gauges"] == found["policy_counts"] == {}
        client.close()
        assert scheduler.end().status == 0
    assert "\x1b" not in scheduler.output


def test_a_killed_server_is_replaced(shared: Shared) -> None:
    """One line says so; the policy decides on."""
    with shared.turn("deadline") as turn:
        asked(DEFAULT_PATH)
        first = server_of(turn.scheduler.pid)
        first.kill()
        assert until(lambda: "serves statistics has ended" in turn.output, 10) is not None
        assert asked(DEFAULT_PATH)["nr_cpus"] > 0
        assert server_of(turn.scheduler.pid).pid != first.pid


def test_the_socket_outlives_a_restart(start: Start) -> None:
    """When a CPU goes, the kernel may want pyland loaded anew: clients connect again."""
    scheduler = start()
    with contextlib.closing(Talker(DEFAULT_PATH, 60)) as client:
        assert client.ask("stats")["nr_cpus"] > 0
        inode = DEFAULT_PATH.lstat().st_ino
        starts = scheduler.starts
        CPU1_ONLINE.write_text("0", encoding="ascii")
        try:
            leaves = until(lambda: not enabled() or scheduler.starts > starts, 3) is not None
            scheduler.wait_enabled(starts + leaves)
            assert asked(DEFAULT_PATH)["nr_running"] >= 0
            assert DEFAULT_PATH.lstat().st_ino == inode
        finally:
            CPU1_ONLINE.write_text("1", encoding="ascii")
    scheduler.wait_enabled(scheduler.starts)
    assert scheduler.end().status == 0


def test_another_servers_socket_stays(start: Start) -> None:
    """pyland schedules without statistics, or refuses if it was told to serve there."""
    DEFAULT_PATH.parent.mkdir(parents=True, exist_ok=True)
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(DEFAULT_PATH))
        other.listen()
        try:
            refused = subprocess.run(
                [PYLAND, "--stats-socket", DEFAULT_PATH],
                capture_output=True, text=True, timeout=90, check=False,
            )  # fmt: skip
            assert refused.returncode == 2
            (line,) = refused.stderr.splitlines()
            assert f"another server listens at {DEFAULT_PATH}" in line
            scheduler = start()
            assert "no statistics are served: another server listens" in scheduler.output
            ended_well(scheduler.end())
            assert DEFAULT_PATH.exists()
        finally:
            DEFAULT_PATH.unlink()
