# SPDX-License-Identifier: GPL-2.0-only
"""`pyland latency` as a user runs it, against a real server and memory that a test writes."""

from __future__ import annotations

import functools
import json
import re
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from pyland.stats.distribution import By
from pyland.stats.histograms import QUEUES, WATCHERS_MAX
from tests.support.latency import ROOT, run_latency
from tests.support.statistics import NR_SLOTS, Kernel, Talker, serving

TOTAL, BY_COMM = 1, 2 << list(By).index(By.COMM)


@pytest.fixture
def kernel() -> Kernel:
    return Kernel()


@pytest.fixture
def path(kernel: Kernel, tmp_path: Path) -> Iterator[Path]:
    with serving(kernel, tmp_path / "stats"):
        yield tmp_path / "stats"


def _until(is_true: Callable[[], bool]) -> None:
    until_s = time.monotonic() + 20
    while not is_true():
        assert time.monotonic() < until_s
        time.sleep(0.01)


@contextmanager
def _as_bpf(kernel: Kernel, keep: Callable[[], None]) -> Iterator[None]:
    """Write values as soon as they are wanted, as BPF would."""

    def write() -> None:
        _until(lambda: kernel.watch.wanted != 0)
        time.sleep(0.3)
        keep()

    thread = threading.Thread(target=write)
    thread.start()
    yield
    thread.join()


def test_values_of_the_time_of_the_look_only(kernel: Kernel, path: Path) -> None:
    kernel.keep("wakeup", 20, 1000)
    kernel.watch.wanted = 0

    def keep() -> None:
        kernel.keep("wakeup", 4, 30, cpu=0)
        kernel.keep("wakeup", 5, 60, cpu=1)
        kernel.keep("queue", 1, 4)

    with _as_bpf(kernel, keep):
        done = run_latency(path, "--seconds", "1.5")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "@wakeup_us:",
        f"[8, 16)               30 |{'@' * 26:<52}|",
        f"[16, 32)              60 |{'@' * 52}|",
        "p50 20, p90 29.6, p99 31.8, p99.9 32, average 13.3 us; 90 values",
        "",
        "@queue_length:",
        f"[1]                    4 |{'@' * 52}|",
        "p50 1, p90 1, p99 1, p99.9 1, average 1 tasks; 4 values",
    ]


def _is_wanted(kernel: Kernel) -> bool:
    return bool(kernel.watch.wanted)


def test_a_look_goes_on_with_the_pyland_that_is_loaded_anew(tmp_path: Path) -> None:
    """As when a CPU comes or goes: the counters and the server are those of another load."""
    path = tmp_path / "stats"
    done: list[subprocess.CompletedProcess[str]] = []
    look = threading.Thread(
        target=lambda: done.append(run_latency(path, "--seconds", "8", "--by", "comm", "--json"))
    )
    for turn in (1, 2):
        kernel = Kernel()
        with serving(kernel, path):
            if turn == 1:
                look.start()
            _until(functools.partial(_is_wanted, kernel))
            time.sleep(0.3)
            kernel.keep_of(By.COMM, b"both", "wakeup", 4, 10 * turn)
            kernel.keep_of(By.COMM, b"only%d" % turn, "wakeup", 5, 7, slot=1)
            kernel.keep("wakeup", 4, 10 * turn)
            if turn == 1:
                time.sleep(1.5)  # there is an answer with it
            else:
                look.join()
    (ended,) = done
    assert ended.returncode == 0
    assert "it has ended or was loaded anew meanwhile: of 8." in ended.stderr
    found = json.loads(ended.stdout)
    counts = {one["key"]: one["count"] for one in found["histograms"]}
    assert counts == {"both": 30, "only1": 7, "only2": 7}
    assert 3 < found["seconds"] < 8


def test_by_comm_with_names_that_do_harm(kernel: Kernel, path: Path) -> None:
    def keep() -> None:
        kernel.keep_of(By.COMM, b"\x1b[2Jx\xff\n]: y", "wakeup", 4, 1, slot=3)
        kernel.keep_of(By.COMM, b"sixteen-bytes-ab", "wakeup", 4, 7, slot=4)
        kernel.keep_of(By.COMM, b"sleeps", "run", 4, 7, slot=5)
        kernel.keep_of(By.COMM, b"", "wakeup", 9, 9, slot=NR_SLOTS - 1)

    with _as_bpf(kernel, keep):
        done = run_latency(path, "--seconds", "1.5", "--by", "comm")
    assert done.stdout.replace("\n", "").isprintable()
    titles = re.findall(r"^@wakeup_us\[(.*)\]:$", done.stdout, re.MULTILINE)
    assert titles == [r"\x1b[2Jx\xff\n]: y", "sixteen-bytes-ab", "(others)"]
    assert len(done.stdout.splitlines()) == 3 * 3 + 2

    with _as_bpf(kernel, keep):
        done = run_latency(path, "--seconds", "1.5", "--by", "comm", "--json")
    found = json.loads(done.stdout)
    assert found["by"] == "comm"
    by_key = {(one["key"], one["name"]): one for one in found["histograms"]}
    assert by_key["sleeps", "run"]["count"] == 7
    assert by_key["sleeps", "run"]["buckets"] == [{"from": 8, "to": 16, "count": 7}]
    assert by_key["(others)", "wakeup"]["p50"] == pytest.approx(384)
    assert done.stdout.isascii()


def test_classes_have_the_policys_names(kernel: Kernel, path: Path) -> None:
    kernel.own.name_class(3, "game")

    def keep() -> None:
        kernel.keep_of(By.CLASS, 3, "wakeup", 4, 1, slot=0)
        kernel.keep_of(By.CLASS, 5, "wakeup", 4, 2, slot=1)

    with _as_bpf(kernel, keep):
        done = run_latency(path, "--seconds", "1.5", "--by", "class")
    assert re.findall(r"\[(\w+)\]:$", done.stdout, re.MULTILINE) == ["game", "5"]


def test_queues_and_cgroups_have_names(kernel: Kernel, path: Path) -> None:
    root = Path("/sys/fs/cgroup").stat().st_ino

    def keep() -> None:
        numbers = (3, QUEUES["DOMAIN"] + 2, QUEUES["HOLDING"] + 1, (1 << 64) - 1, (1 << 64) - 2)
        for slot, number in enumerate(numbers):
            kernel.keep_of(By.QUEUE, number, "wakeup", 4, slot + 1, slot=slot)
        kernel.keep_of(By.CGROUP, root, "wakeup", 4, 1, slot=0)
        kernel.keep_of(By.CGROUP, 1 << 50, "wakeup", 4, 2, slot=1)

    for by, names in (
        (
            "queue",
            ["CPU 3", "domain 2", "held, LLC 1", "none: a CPU was idle", "none: next on its CPU"],
        ),
        ("cgroup", ["/", f"cgroup {1 << 50}, which is gone"]),
    ):
        with _as_bpf(kernel, keep):
            done = run_latency(path, "--seconds", "1.5", "--by", by)
        assert re.findall(r"^@wakeup_us\[(.*)\]:$", done.stdout, re.MULTILINE) == names


def test_the_numbers_of_queues_are_those_of_bpf() -> None:
    text = (ROOT / "bpf/queue_ids.h").read_text(encoding="utf-8")
    found = {
        name: 1 << int(shift)
        for name, shift in re.findall(r"#define (\w+)_DSQ\s+\(1ULL << (\d+)\)", text)
    }
    assert found | {"CPU": 0} == QUEUES


def test_nothing_is_kept_when_all_clients_have_left(kernel: Kernel, path: Path) -> None:
    first, second = Talker(path), Talker(path)
    first.ask("stats", target="latency")
    assert kernel.watch.wanted == TOTAL
    second.ask("stats", target="latency", by="comm")
    assert kernel.watch.wanted == TOTAL | BY_COMM
    epoch = kernel.watch.epochs[list(By).index(By.COMM)]
    second.close()
    _until(lambda: kernel.watch.wanted == TOTAL)
    first.close()
    _until(lambda: kernel.watch.wanted == 0)
    with closing(Talker(path)) as third:
        third.ask("stats", target="latency", by="comm")
        assert kernel.watch.epochs[list(By).index(By.COMM)] == epoch + 1


def test_a_server_that_was_killed_leaves_no_wish(kernel: Kernel, tmp_path: Path) -> None:
    kernel.watch.wanted = 31
    with serving(kernel, tmp_path / "stats"), closing(Talker(tmp_path / "stats")) as client:
        client.ask("stats")
        assert kernel.watch.wanted == 0


def test_requests_that_are_refused(path: Path) -> None:
    clients = [Talker(path) for _ in range(WATCHERS_MAX + 1)]
    for client in clients[:-1]:
        client.ask("stats", target="latency", by="comm")
    asked = b'{"req": "stats", "args": {"target": "latency", "by": "%s"}}'
    last = clients[-1]
    for by, told in (
        (b"comm", "clients look at histograms already"),
        (b"\\u001b[2J", "there are class, cgroup, comm, queue"),
    ):
        answer = last.send(asked % by)
        assert answer["errno"] == 22
        assert told in answer["args"]["resp"]
        assert answer["args"]["resp"].isprintable()
    assert "one kind only" in clients[0].send(asked % b"queue")["args"]["resp"]
    clients[0].close()
    _until(lambda: last.send(asked % b"comm")["errno"] == 0)
    for client in clients:
        client.close()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--seconds", "0"), "--seconds 0: it takes 0.1 to 86400 seconds"),
        (("--by", "pid"), "--by"),
        (("--of", "x"), "--of"),
        ((), "is pyland running?"),
    ],
)
def test_a_mistake_is_one_line(tmp_path: Path, arguments: tuple[str, ...], told: str) -> None:
    done = run_latency(tmp_path / "none", *arguments)
    assert done.returncode == 2
    assert told in done.stderr
    assert len(done.stderr.splitlines()) == 1
