# SPDX-License-Identifier: GPL-2.0-only
"""`pyland monitor` as a user runs it, against a real server."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from pyland.cli.main import main
from pyland.stats.table import COLUMNS
from tests.support.statistics import Kernel, serving
from tools.load.scheduler import parse_rows

ROOT = Path(__file__).parents[2]


@contextmanager
def monitor(*arguments: str, user: int | None = None) -> Iterator[subprocess.Popen[str]]:
    """The command; a plain user imports what it needs before it becomes one."""
    become = f"os.setgroups([]); os.setgid({user}); os.setuid({user})" if user else "pass"
    program = (
        "import os, sys; from pyland.cli import main; import signal\n"
        "import encodings.idna\n"
        f"{become}\nsys.exit(main.main(sys.argv[1:]))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT,
    ) as process:  # fmt: skip
        try:
            yield process
        finally:
            process.kill()


def _lines(process: subprocess.Popen[str], nr: int, within_s: float = 60) -> list[str]:
    """The next lines; the command is ended if they do not come."""
    assert process.stdout is not None
    timer = threading.Timer(within_s, process.kill)
    timer.start()
    try:
        return [process.stdout.readline().rstrip("\n") for _ in range(nr)]
    finally:
        timer.cancel()


@contextmanager
def _growing(kernel: Kernel) -> Iterator[None]:
    """Counters grow all the time."""
    done = threading.Event()

    def grow() -> None:
        while not done.wait(0.01):
            kernel.add(forwarded=3, user_dispatched=2, delay_ns=8000)
            kernel.own.count("boosts", 1)

    thread = threading.Thread(target=grow)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


@pytest.mark.parametrize(
    "command",
    [("monitor", "--interval", "0.2", "--stats-socket"), ("--monitor", "0.2", "--stats-socket")],
)
def test_rows_like_those_of_stats(command: Sequence[str], tmp_path: Path) -> None:
    kernel = Kernel()
    kernel.add(nr_running=1)
    path = str(tmp_path / "stats")
    with serving(kernel, path), _growing(kernel), monitor(*command, path) as process:
        lines = _lines(process, 5)
    rows = parse_rows("\n".join(lines) + "\n")
    assert len(rows) == 4
    assert all(row["run"] == 1 and 0 < row["python"] < row["forward"] < 200 for row in rows)
    assert rows[0]["delay_us"] == 4


def test_the_help_says_what_each_column_means(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["monitor", "--help"])
    told = capsys.readouterr().out
    for title, _ in COLUMNS:
        assert re.search(rf"^  {title} +\w", told, re.MULTILINE)


def test_json_has_all_fields(tmp_path: Path) -> None:
    kernel = Kernel()
    path = str(tmp_path / "stats")
    kernel.own.gauge("waiting", 3)
    arguments = ("monitor", "--json", "--interval", "0.1", "--stats-socket", path)
    with serving(kernel, path), _growing(kernel), monitor(*arguments) as process:
        found = [json.loads(line) for line in _lines(process, 3)]
    assert all(one["forwarded"] > 0 for one in found)
    assert found[0]["time"] < found[1]["time"]
    assert found[0]["interval_s"] == 0.1
    assert found[0]["policy_gauges"] == {"waiting": {"policy_gauge": 3}}


def test_the_policys_numbers_are_a_line_if_asked(tmp_path: Path) -> None:
    kernel = Kernel()
    path = str(tmp_path / "stats")
    kernel.own.gauge("waiting", 3)
    arguments = ("monitor", "--policy-numbers", "--interval", "0.2", "--stats-socket", path)
    with serving(kernel, path), _growing(kernel), monitor(*arguments) as process:
        *_, line = _lines(process, 3)
    assert line.startswith("  policy: waiting 3, boosts +")


def test_it_waits_for_pyland_and_survives_its_restart(tmp_path: Path) -> None:
    kernel = Kernel()
    path = str(tmp_path / "stats")
    with (
        _growing(kernel),
        monitor("monitor", "--interval", "0.1", "--stats-socket", path) as process,
    ):
        assert process.stderr is not None
        waits = f"pyland: no server listens at {path}: waiting for one\n"
        assert process.stderr.readline() == waits
        for _ in range(2):
            with serving(kernel, path):
                assert all(_lines(process, 3))
        assert process.stderr.readline() == waits
        assert process.poll() is None


def test_it_ends_when_its_reader_has_left(tmp_path: Path) -> None:
    path = str(tmp_path / "stats")
    arguments = ("monitor", "--interval", "0.1", "--stats-socket", path)
    with serving(Kernel(), path), monitor(*arguments) as process:
        _lines(process, 2)
        assert process.stdout is not None
        process.stdout.close()
        assert process.wait(10) == 0


def test_a_plain_user_needs_the_sockets_mode(
    tmp_path: Path, readable: None, plain_user: int
) -> None:
    path = tmp_path / "stats"
    arguments = ("monitor", "--interval", "0.1", "--stats-socket", str(path))
    with serving(Kernel(), path):
        with monitor(*arguments, user=plain_user) as process:
            assert process.wait(20) == 2
            assert process.stderr is not None
            (line,) = process.stderr.read().splitlines()
            assert "--stats-group and --stats-mode set which users may connect" in line
        path.chmod(0o666)
        with monitor(*arguments, user=plain_user) as process:
            assert all(_lines(process, 3))


def test_another_schedulers_socket_is_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "stats"
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()
        with monitor("monitor", "--interval", "0.1", "--stats-socket", str(path)) as process:
            client, _ = other.accept()
            with client:
                time.sleep(0.1)
                client.sendall(b'{"errno":0,"args":{"resp":{"total":5}}}\n' * 2)
                assert process.wait(20) == 2
            assert process.stderr is not None
            assert "the scheduler there is not pyland" in process.stderr.read()
