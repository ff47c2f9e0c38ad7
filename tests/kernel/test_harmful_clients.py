# SPDX-License-Identifier: GPL-2.0-only
"""Clients of the statistics that do harm."""

from __future__ import annotations

import contextlib
import resource
import signal
import subprocess
import time
from collections.abc import Iterator

import pytest

from pyland.stats.places import DEFAULT_PATH
from tests.kernel.harness import (
    Record,
    Start,
    ended_well,
    python_decided,
    undisturbed,
)
from tests.support.statistics import Talker, asked, server_of
from tools.load.programs import Hogs
from tools.load.scheduler import until

ENDLESS = """
import socket, sys
while True:
    client = socket.socket(socket.AF_UNIX)
    client.connect(sys.argv[1])
    try:
        while True:
            client.sendall(b"x" * 1000000)
    except OSError:
        client.close()
"""
FLOOD = """
import socket, sys
client = socket.socket(socket.AF_UNIX)
client.connect(sys.argv[1])
print("connected", flush=True)
while True:
    client.sendall(b'{"req":"stats"}\\n' * 20)
    client.recv(1 << 20)
"""


@contextlib.contextmanager
def _harmful_clients() -> Iterator[None]:
    """A thousand: one never reads, one is stopped, one sends a line without end, one floods."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (before[1], before[1]))
    clients = [Talker(DEFAULT_PATH, 60) for _ in range(997)]
    for client in clients:
        client.socket.setblocking(False)
    processes = [
        subprocess.Popen(
            ["python3", "-c", program, str(DEFAULT_PATH)], stdout=subprocess.PIPE, text=True
        )
        for program in (ENDLESS, FLOOD, FLOOD)
    ]
    stopped = processes[-1]
    try:
        for client in clients:
            client.socket.send(b'{"req":"stats"}\n')
        with contextlib.suppress(BlockingIOError):
            while True:  # the first client reads nothing
                clients[0].socket.send(b'{"req":"stats_meta"}\n' * 100)
        assert stopped.stdout is not None
        stopped.stdout.readline()
        stopped.send_signal(signal.SIGSTOP)
        yield
    finally:
        for process in processes:
            process.kill()
            process.communicate()
        for client in clients:
            client.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.long
def test_harmful_clients_cost_the_scheduler_nothing(start: Start, record: Record) -> None:
    """Decisions go on as before, and a client that behaves has its answer."""
    scheduler = start("--stats", "1")
    with undisturbed(scheduler), Hogs(120, [0] * 4) as hogs:
        asked(DEFAULT_PATH)
        time.sleep(5)
        server = server_of(scheduler.pid)
        with _harmful_clients():
            rows = len(scheduler.rows())
            before = server.cpu_times()
            begin_s = time.monotonic()
            time.sleep(8)
            # Emulated, 200 requests take half a second of CPU time; hogs have the CPUs, too.
            answered_s = until(lambda: asked(DEFAULT_PATH, 60)["nr_cpus"] > 0, 1)
            passed_s = time.monotonic() - begin_s
            after = server.cpu_times()
            decided = [row["python"] for row in scheduler.rows()[rows + 1 :]]
            server.suspend()
            time.sleep(2)
            stopped = [row["python"] for row in scheduler.rows()[-1:]]
            server.resume()
        used_s = after.user + after.system - before.user - before.system
        shares = hogs.shares()
    end = scheduler.end()
    record(decided=decided, stopped=stopped, server=used_s / passed_s, answered_s=answered_s)
    record(uneven=shares.uneven, totals=dict(end.totals.counts))
    ended_well(end)
    python_decided(end.totals)
    assert min([*decided, *stopped]) > 20
    assert answered_s is not None
    assert used_s / passed_s < 0.3
