# SPDX-License-Identifier: GPL-2.0-only
"""A control socket for tests, and its clients."""

from __future__ import annotations

import json
import select
import socket
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from pyland.supervisor.control import ControlServer, Request

NOBODY = 65534
STATUS = b'{"command": "status"}\n'
SWAP = {"command": "swap", "policy": "fifo", "options": ["a=b"], "folder": "/somewhere"}


class Served:
    """A server that the test steps: no step may block."""

    def __init__(self, path: Path, owner: int) -> None:
        self.path = path
        self.server = ControlServer(owner=owner, path=path)
        self.now_s = 0.0
        self.got: list[Request] = []

    def client(self) -> socket.socket:
        client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        client.settimeout(5)
        client.connect(str(self.path))
        return client

    def step(self, *, answering: bool = True) -> None:
        """Do what the supervisor does in each turn of its loop, until nothing is left to do."""
        for _ in range(100):
            poll = select.poll()
            for fd in self.server.sources():
                poll.register(fd, select.POLLIN)
            ready = [fd for fd, _ in poll.poll(0)]
            for fd in ready:
                self.server.handle(fd, self.now_s)
            self.server.expire(self.now_s)
            for request in self.server.requests():
                self.got.append(request)
                if answering:
                    self.server.answer(request, {"ok": True, "status": {"policy": "x"}})
            if not ready:
                return
        raise AssertionError("a descriptor is ready for ever")

    def exchange(self, data: bytes) -> dict[str, Any]:
        with closing(self.client()) as client:
            client.sendall(data)
            self.step()
            return said(client)


def said(client: socket.socket) -> dict[str, Any]:
    """The answer, one line; asserts that the connection is closed after it."""
    with client.makefile("rb") as lines:
        line = lines.readline()
        with suppress(ConnectionResetError):  # it was closed before all was read
            assert lines.read() == b""
    answer = json.loads(line)
    assert isinstance(answer, dict)
    return answer
