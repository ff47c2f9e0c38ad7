# SPDX-License-Identifier: GPL-2.0-only
"""The process that serves statistics, with slow and hostile clients."""

from __future__ import annotations

import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from pyland.stats.process import StatisticsProcess
from pyland.stats.scx_stats import LINE_MAX
from pyland.stats.server import CLIENTS_MAX, CPU_SHARE, Server
from tests.support.statistics import NR_CPUS, Kernel, Talker, asked, serving


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "stats"


@pytest.fixture
def process(path: Path) -> Iterator[StatisticsProcess]:
    with serving(Kernel(), path) as process:
        asked(path)
        yield process


@pytest.fixture
def many_files() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, before[1]), before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def _server(process: StatisticsProcess) -> psutil.Process:
    return psutil.Process(process._pid)


def test_it_has_no_rights(process: StatisticsProcess, path: Path) -> None:
    server = _server(process)
    with server.oneshot():
        status = Path(f"/proc/{server.pid}/status").read_text(encoding="utf-8")
        fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert fields["NoNewPrivs"] == "1" or os.geteuid() != 0
    assert fields["Seccomp"] == "2"
    if os.geteuid() == 0:
        assert 0 not in map(int, fields["Uid"].split())
        assert int(fields["CapEff"], 16) == int(fields["CapBnd"], 16) == 0
    assert server.nice() == min(os.nice(0) + 5, 19)
    open_files = []
    for one in Path(f"/proc/{server.pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # a client has just left
            open_files.append(os.readlink(one))
    kinds = {name.partition(":")[0] for name in open_files}
    kinds.discard(f"/proc/{os.getpid()}/stat")  # as if this process decided
    assert kinds <= {"/dev/null", "socket", "pipe", "anon_inode"}, open_files
    assert sum(name.startswith("socket:") for name in open_files) <= 2


def test_a_thousand_clients(many_files: None, process: StatisticsProcess, path: Path) -> None:
    clients = [Talker(path) for _ in range(1000)]
    for client in clients:
        client.socket.sendall(b'{"req":"stats"}\n')
    assert all(client.answer()["args"]["resp"]["nr_cpus"] == NR_CPUS for client in clients)
    assert _server(process).memory_info().rss < 200 << 20
    for client in clients:
        client.close()


def test_of_too_many_clients_the_silent_ones_of_one_user_go(
    many_files: None, process: StatisticsProcess, path: Path
) -> None:
    first = Talker(path)
    first.ask("stats")
    others = [Talker(path) for _ in range(CLIENTS_MAX)]
    newest = Talker(path)
    assert newest.ask("stats")["nr_cpus"] == NR_CPUS
    assert first.answer() == {}
    assert others[-1].ask("stats")["nr_cpus"] == NR_CPUS
    for client in (first, *others, newest):
        client.close()


def test_a_client_that_never_reads(process: StatisticsProcess, path: Path) -> None:
    """It costs one answer of memory; then nothing more is read from it."""
    silent = Talker(path)
    silent.socket.setblocking(False)
    sent = 0
    until_s = time.monotonic() + 3
    while time.monotonic() < until_s:
        with suppress(BlockingIOError):
            sent += silent.socket.send(b'{"req":"stats_meta"}\n' * 100)
        time.sleep(0.001)
    before = _server(process).cpu_times().user
    assert asked(path)["nr_cpus"] == NR_CPUS
    time.sleep(1)
    assert _server(process).cpu_times().user - before < 0.2
    assert sent < 4 << 20
    assert _server(process).memory_info().rss < 200 << 20
    silent.close()


def test_a_line_without_an_end(process: StatisticsProcess, path: Path) -> None:
    """1 GB is offered, and little of it is read."""
    client = Talker(path)
    block = b"x" * (1 << 20)
    sent = 0
    with suppress(BrokenPipeError, ConnectionResetError):
        while sent < 1 << 30:
            sent += client.socket.send(block)
    assert sent < 8 << 20
    found = client.answer()
    assert found["errno"] == 22
    assert f"at most {LINE_MAX} bytes" in found["args"]["resp"]
    client.close()
    assert asked(path)["nr_cpus"] == NR_CPUS


def test_a_stopped_client(process: StatisticsProcess, path: Path) -> None:
    program = (
        "import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); "
        "print('up', flush=True)\n"
        'while 1: s.sendall(b\'{"req":"stats_meta"}\\n\' * 50); s.recv(1 << 16)'
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE
    ) as client:
        assert client.stdout is not None
        client.stdout.readline()
        client.send_signal(signal.SIGSTOP)
        begin_s = time.monotonic()
        for _ in range(10):
            assert asked(path)["nr_cpus"] == NR_CPUS
        assert time.monotonic() - begin_s < 5
        client.kill()


def test_a_flood_has_a_share_of_one_cpu(process: StatisticsProcess, path: Path) -> None:
    """Clients that ask all the time, and one that asks once among them."""
    program = (
        "import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1])\n"
        'while 1: s.sendall(b\'{"req":"stats"}\\n\' * 20); s.recv(1 << 20)'
    )
    floods = [
        subprocess.Popen([sys.executable, "-c", program, str(path)], stderr=subprocess.DEVNULL)
        for _ in range(2)
    ]
    try:
        time.sleep(1)
        server = _server(process)
        before, begin_s = server.cpu_times(), time.monotonic()
        assert asked(path)["nr_cpus"] == NR_CPUS
        time.sleep(4)
        after, passed_s = server.cpu_times(), time.monotonic() - begin_s
        used_s = after.user + after.system - before.user - before.system
        assert 0.02 < used_s / passed_s < CPU_SHARE + 0.05
    finally:
        for flood in floods:
            flood.kill()
            flood.wait()


def test_a_killed_one_is_replaced_and_keeps_the_policys_name(path: Path) -> None:
    with serving(Kernel(), path) as process:
        process.policy_is("mine")
        client = Talker(path)
        assert client.ask("stats")["policy"] in ("deadline", "mine")
        time.sleep(0.1)
        assert asked(path)["policy"] == "mine"
        first = _server(process)
        first.kill()
        assert client.answer() == {}
        client.close()
        first.wait(5)
        said = process.mend(0.0)
        assert "it was killed" in said
        assert process.mend(0.5) == ""
        assert process.mend(1.5) == ""
        assert _server(process).pid != first.pid
        assert asked(path)["policy"] == "mine"


def test_without_room_for_a_process_it_is_tried_again(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel's limit is made up: none holds for root."""

    def refused() -> int:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    with monkeypatch.context() as full:
        full.setattr("os.fork", refused)
        with serving(Kernel(), path) as process:
            said = process.mend(0.0)
            assert said == (
                "pyland: no process can serve statistics: Resource temporarily unavailable"
            )
            assert process.mend(0.0) == ""
            full.undo()
            assert process.mend(time.monotonic() + 2) == ""
            assert asked(path)["nr_cpus"] == NR_CPUS


def test_a_stopped_one_delays_no_supervisor(path: Path) -> None:
    with serving(Kernel(), path) as process:
        asked(path)
        server = _server(process)
        server.suspend()
        begin_s = time.monotonic()
        for number in range(20_000):
            process.policy_is(f"policy{number}")
            process.mend(float(number))
        process.close()
        assert time.monotonic() - begin_s < 5
        assert not server.is_running()


def test_it_ends_with_its_supervisor(path: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path\n"
        "from tests.support.statistics import Kernel, Talker, serving\n"
        "with serving(Kernel(), sys.argv[1]) as process:\n"
        "    Talker(Path(sys.argv[1])).ask('stats')\n"
        "    print(process._pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(path)],
        stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2],
    ) as supervisor:  # fmt: skip
        assert supervisor.stdout is not None
        server = psutil.Process(int(supervisor.stdout.readline()))
        supervisor.kill()
        supervisor.wait()
        psutil.wait_procs([server], timeout=5)
        assert not server.is_running() or server.status() == psutil.STATUS_ZOMBIE


def test_no_sockets_no_process() -> None:
    with serving(Kernel(), "none") as process:
        process.policy_is("other")
        assert process.mend(0) == ""
        assert process._pid == 0


class _Echo:
    ends = False
    received_max = 100

    def take(self, received: bytearray) -> bytes | None:
        data = bytes(received)
        received.clear()
        return data or None

    def close(self) -> None:
        pass


def test_another_user_does_not_lose_its_connection(tmp_path: Path) -> None:
    """If there are too many, a client is ended. It belongs to the user with the most clients."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "s"))
    listener.listen(64)
    listener.setblocking(False)
    server = Server(clients_max=4)
    server.listen(listener, _Echo)
    clients = []
    for _ in range(6):
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(5)
        client.connect(str(tmp_path / "s"))
        clients.append(client)
        server.turn(1)
        if len(clients) == 1:  # as if another user had come first
            next(iter(server._clients.values())).user = 12345
    for client in (clients[0], clients[-1]):
        client.sendall(b"here")
        server.turn(1)
        assert client.recv(10) == b"here"
    assert clients[1].recv(10) == b""
    server.close()
    for one in (*clients, listener):
        one.close()
