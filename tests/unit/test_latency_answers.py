# SPDX-License-Identifier: GPL-2.0-only
"""`pyland latency` at a server that answers something else than histograms."""

from __future__ import annotations

import json
import socket
import threading
from pathlib import Path
from typing import Any

import pytest

from pyland.stats.distribution import MEASURES
from pyland.stats.server import Server
from tests.support.latency import run_latency


class _Wrong:
    """Another scheduler's server, which answers each request with the same line."""

    ends = False
    received_max = 4096

    def __init__(self, answer: Any) -> None:
        self._answer = json.dumps({"errno": 0, "args": {"resp": answer}}).encode() + b"\n"

    def take(self, received: bytearray) -> bytes | None:
        if not received:
            return None
        received.clear()
        return self._answer

    def close(self) -> None:
        pass


@pytest.mark.parametrize(
    "answer",
    [
        {"nr_cpus": 2},
        {"all": {one.name: {"total": -1, "buckets": []} for one in MEASURES}, "keys": []},
        {"all": {one.name: {"total": 1, "buckets": [0] * 33} for one in MEASURES}, "keys": []},
        {"all": {one.name: {"total": 1, "buckets": ["x"]} for one in MEASURES}, "keys": []},
        [],
        None,
    ],
)
def test_an_answer_that_is_none(tmp_path: Path, answer: Any) -> None:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "s"))
    listener.listen()
    listener.setblocking(False)
    server = Server()
    server.listen(listener, lambda: _Wrong(answer))
    done = threading.Event()

    def serve() -> None:
        while not done.is_set():
            server.turn(0.05)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        found = run_latency(tmp_path / "s", "--seconds", "0.1")
    finally:
        done.set()
        thread.join()
        server.close()
        listener.close()
    assert found.returncode == 2
    assert "the scheduler there has no histograms" in found.stderr
