# SPDX-License-Identifier: GPL-2.0-only
"""The control socket: what it answers, and what cannot hurt it."""

from __future__ import annotations

import json
import os
import socket
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyland.loading.wanted import Wanted
from pyland.supervisor import control
from pyland.supervisor.control import LINE_MAX, StatusRequest, SwapRequest
from pyland.supervisor.protocol import parse_request
from tests.support.served import STATUS, SWAP, Served, said


def fails(served: Served, data: bytes, words: str) -> None:
    answer = served.exchange(data)
    assert answer["ok"] is False
    assert words in answer["error"]
    assert "\n" not in answer["error"]


def test_a_request_is_answered_once_and_the_connection_closed(served: Served) -> None:
    assert served.exchange(STATUS) == {"ok": True, "status": {"policy": "x"}}
    assert served.exchange(json.dumps(SWAP).encode() + b"\n")["ok"]
    assert served.exchange(b'{"command": "swap", "reload": true}\nand more\n')["ok"]
    assert served.exchange(json.dumps(SWAP | {"layer": "build"}).encode() + b"\n")["ok"]
    assert [request.what for request in served.got] == [
        StatusRequest(),
        SwapRequest(Wanted("fifo", ("a=b",), "/somewhere")),
        SwapRequest(),
        SwapRequest(Wanted("fifo", ("a=b",), "/somewhere"), "build"),
    ]
    assert len(served.server.sources()) == 1


def test_a_line_may_come_in_pieces(served: Served) -> None:
    with closing(served.client()) as client:
        for byte in STATUS:
            client.sendall(bytes([byte]))
            served.step()
        assert said(client)["ok"]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\n", "no JSON"),
        (b"\xff\xfe\n", "no UTF-8"),
        (b"{\n", "no JSON"),
        (b"[]\n", "no JSON object"),
        (b"[" * 4000 + b"\n", "the request is n"),  # nested too deeply, or no JSON
        (b'{"command":' + b"[" * 500 + b"]" * 500 + b"}\n", "there is no command [[["),
        (b"9" * 4000 + b"\n", "no JSON object"),
        (b'{"command": "stop"}\n', 'there is no command "stop": it takes status or swap'),
        (b"{}\n", "there is no command null"),
        (b'{"command": ["status"]}\n', 'there is no command ["status"]'),
        (b'{"command": "status", "x": 1}\n', 'the request has a "x" that means nothing there'),
        (b'{"command": "swap"}\n', "policy is null: it takes the name of one"),
        (b'{"command": "swap", "reload": 1}\n', "reload is 1: it takes true or false"),
        (b'{"command": "swap", "reload": true, "policy": "x"}\n', 'has a "policy" that'),
        (b'{"command": "swap", "policy": ""}\n', 'policy is ""'),
        (b'{"command": "swap", "policy": "x"}\n', "folder is null: it takes an absolute path"),
        (b'{"command": "swap", "policy": "x", "folder": "a"}\n', 'folder is "a"'),
        (b'{"command": "swap", "policy": "x", "folder": "/\\u0000"}\n', "folder is"),
        (b'{"command": "swap", "policy": "x", "folder": "/\\ud800"}\n', "folder is"),
        (b'{"command": "swap", "policy": "x", "folder": "/", "options": "a"}\n', "options is"),
        (
            b'{"command": "swap", "policy": "x", "folder": "/", "layer": 1}\n',
            "layer is 1: it takes",
        ),
        (b'{"command": "swap", "reload": true, "layer": "a"}\n', 'has a "layer" that means'),
        (b'{"command": "swap", "policy": "x", "folder": "/", "options": [1]}\n', "options is [1]"),
        (b"x" * (LINE_MAX + 1), "longer than 4096 bytes"),
        (b"x" * LINE_MAX + b"\n", "no JSON"),
        (b" " * (LINE_MAX + 1) + STATUS, "longer than 4096 bytes"),
    ],
)
def test_a_wrong_request_gets_one_clear_line(served: Served, data: bytes, words: str) -> None:
    fails(served, data, words)
    assert served.got == []
    assert served.exchange(STATUS)["ok"]


def test_ten_megabytes_are_refused_at_the_first_page(served: Served) -> None:
    with closing(served.client()) as client:
        client.setblocking(False)
        client.send(b"x" * (10 << 20))
        served.step()
        with pytest.raises(BrokenPipeError):
            client.send(b"x")
        client.settimeout(5)
        assert "longer than" in said(client)["error"]
    assert served.exchange(STATUS)["ok"]


def test_a_client_that_does_not_finish_its_line_is_closed_after_a_while(served: Served) -> None:
    with closing(served.client()) as mute, closing(served.client()) as slow:
        served.step()
        served.now_s = 4.9
        slow.sendall(b"{")
        served.step()
        assert len(served.server.sources()) == 3
        served.now_s = 5.1  # more bytes do not buy more time
        slow.sendall(b" ")
        served.step()
        assert len(served.server.sources()) == 1
        for client in (mute, slow):
            assert said(client)["error"] == "no request within 5 s"


def test_a_client_that_ends_in_the_middle_of_a_line_is_closed(served: Served) -> None:
    with closing(served.client()) as client:
        client.sendall(b'{"command"')
        client.shutdown(socket.SHUT_WR)
        served.step()
        assert said(client)["error"] == "the request has no end of line"
    with closing(served.client()):
        pass
    served.step()
    assert len(served.server.sources()) == 1


def test_the_oldest_idle_client_makes_room(served: Served) -> None:
    with closing(served.client()) as asking:
        asking.sendall(STATUS)
        served.step(answering=False)
        idle = []
        for _ in range(control.CONNECTIONS_MAX + 4):
            served.now_s += 0.1
            idle.append(served.client())
            served.step()
        assert len(served.server.sources()) == control.CONNECTIONS_MAX
        assert said(idle[0])["error"] == "more than 16 clients"
        idle[-1].sendall(STATUS)
        served.step()
        assert said(idle[-1])["ok"]
        for one in idle:
            one.close()
        served.step()
        # The client that waits for an answer is still connected.
        served.server.answer(served.got[0], {"ok": True})
        assert said(asking)["ok"]


def test_when_all_wait_for_answers_the_next_is_sent_away(served: Served) -> None:
    clients = []
    for _ in range(control.CONNECTIONS_MAX):
        clients.append(served.client())
        clients[-1].sendall(STATUS)
        served.step(answering=False)
    assert served.exchange(b"")["error"] == "more than 16 clients"
    for request in served.got:
        served.server.answer(request, {"ok": True})
    for client in clients:
        assert said(client)["ok"]
        client.close()


def test_a_client_that_does_not_read_or_is_gone_costs_nothing(served: Served) -> None:
    mute, gone = served.client(), served.client()
    for client in (mute, gone):
        client.sendall(STATUS)
    served.step(answering=False)
    gone.close()
    served.step()  # and a hang-up does not keep the loop busy
    for request in served.got:
        served.server.answer(request, {"ok": True, "much": "x" * (8 << 20)})
        served.server.answer(request, {"ok": True})
    assert len(served.server.sources()) == 1
    with mute.makefile("rb") as lines:
        assert not lines.read().endswith(b"\n")
    mute.close()


def test_a_descriptor_that_is_closed_by_now_is_ignored(served: Served) -> None:
    with closing(served.client()) as client:
        served.step()
        fd = served.server.sources()[1]
        client.sendall(b"nonsense\n")
        served.step()
        served.server.handle(fd, 0)
        served.server.handle(9999, 0)


def test_no_bytes_raise_out_of_the_server(tmp_path: Path) -> None:
    served = Served(tmp_path / "run/c.sock", os.getuid())

    @settings(max_examples=300, deadline=None)
    @given(st.lists(st.binary(max_size=200) | st.sampled_from([b"\n", b"{", STATUS]), max_size=5))
    def bombard(pieces: list[bytes]) -> None:
        with closing(served.client()) as client:
            for piece in pieces:
                with suppress(OSError):
                    client.sendall(piece)
                served.step()
        served.step()
        assert served.exchange(STATUS)["ok"]
        assert len(served.server.sources()) == 1

    bombard()
    served.server.close()


@settings(max_examples=60, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: (
            st.lists(inner) | st.dictionaries(st.text() | st.sampled_from([*SWAP]), inner)
        ),
    )
)
def test_any_json_is_a_request_or_a_value_error(value: Any) -> None:
    for one in (value, {**SWAP, "policy": value}, {**SWAP, "folder": value, "x": 1}):
        with suppress(ValueError):
            assert isinstance(parse_request(json.dumps(one).encode()), StatusRequest | SwapRequest)
