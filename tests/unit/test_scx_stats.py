# SPDX-License-Identifier: GPL-2.0-only
"""The protocol of scx_stats over a real socket, as its clients need it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pyland.stats import scx_stats
from pyland.stats.counters import COUNTERS
from tests.support.statistics import NR_CPUS, Kernel, Talker, as_rustland, serving

KINDS = ("i64", "u64", "float", "string")


@pytest.fixture
def kernel() -> Kernel:
    return Kernel()


@pytest.fixture
def client(kernel: Kernel, tmp_path: Path) -> Iterator[Talker]:
    with serving(kernel, tmp_path / "root/stats"):
        client = Talker(tmp_path / "root/stats")
        yield client
        client.close()


def test_a_struct_that_scx_rustland_can_read(kernel: Kernel, client: Talker) -> None:
    kernel.add(forwarded=10, user_dispatched=4, direct=5, late=1, nr_running=2)
    kernel.user.nr_held = 3
    as_rustland(client.ask("stats"))
    _fresh()
    kernel.add(forwarded=6, user_dispatched=6, direct=1, fallback_lag=2, events_lost=1, bounced=1)
    found = as_rustland(client.ask("stats"))
    assert found["nr_cpus"] == NR_CPUS
    assert found["nr_running"] == 2
    assert (found["nr_queued"], found["nr_scheduled"]) == (2, 3)
    assert (found["nr_user_dispatches"], found["nr_kernel_dispatches"]) == (6, 3)
    assert (found["nr_sched_congested"], found["nr_bounce_dispatches"]) == (1, 1)
    assert found["nr_cancel_dispatches"] == found["nr_failed_dispatches"] == 0


def test_each_connection_counts_for_itself(kernel: Kernel, client: Talker, tmp_path: Path) -> None:
    assert client.ask("stats")["direct"] == 0
    kernel.add(direct=5)
    other = Talker(tmp_path / "root/stats")
    _fresh()
    assert other.ask("stats")["direct"] == 0
    assert client.ask("stats", target="top")["direct"] == 5
    kernel.add(direct=2)
    _fresh()
    assert other.ask("stats", target="top")["direct"] == 2
    assert client.ask("stats")["direct"] == 2
    other.close()


def test_all_counters_are_there_under_their_names(client: Talker) -> None:
    meta, found = client.ask("stats_meta"), client.ask("stats")
    fields = meta[scx_stats.TOP]["fields"]
    assert fields.keys() == found.keys()
    for one in COUNTERS:
        assert fields[one.name] == {"datum": "u64", "desc": f"{one.unit}: {one.meaning}"}
        assert type(found[one.name]) is int


def test_the_description_is_what_the_clients_take(kernel: Kernel, client: Talker) -> None:
    """The rules of scx_stats' verify_meta, and of scxstats_to_openmetrics.py."""
    meta = client.ask("stats_meta")
    assert [name for name, struct in meta.items() if "top" in struct] == [scx_stats.TOP]
    names: list[str] = []
    for name, struct in meta.items():
        assert struct["name"] == name
        assert struct.get("top", "true") == "true"
        assert all(key.startswith("_") for key in struct.get("user", {}))
        prefix = struct.get("user", {}).get("_om_prefix", "")
        for field, what in struct["fields"].items():
            assert len({"datum", "array", "dict"} & what.keys()) == 1
            if "datum" in what:
                assert what["datum"] in KINDS
                names += [prefix + field] if what["datum"] != "string" else []
            else:
                assert what["dict"]["key"] in ("i64", "u64", "string")
                assert meta[what["dict"]["datum"]["struct"]]["user"]["_om_label"]
    assert len(names) == len(set(names))
    kernel.own.gauge("waiting", 3)
    _only_dicts_of_structs(client.ask("stats"))


def _only_dicts_of_structs(found: dict[str, Any]) -> None:
    for value in found.values():
        if isinstance(value, dict):
            for struct in value.values():
                _only_dicts_of_structs(struct)


def test_the_policys_own_numbers(kernel: Kernel, client: Talker) -> None:
    kernel.own.gauge("waiting", 2.5)
    kernel.own.count("boosts", 7)
    client.ask("stats")
    kernel.own.count("boosts", 4)
    _fresh()
    found = client.ask("stats")
    assert found["policy"] == "deadline"
    assert found["policy_gauges"] == {"waiting": {"policy_gauge": 2.5}}
    assert found["policy_counts"] == {"boosts": {"policy_count": 4}}


def test_the_names_of_classes(kernel: Kernel, client: Talker) -> None:
    kernel.own.name_class(3, "game")
    assert client.ask("stats", target="classes") == {"3": "game"}


def test_what_a_policy_writes_does_not_matter(kernel: Kernel, client: Talker) -> None:
    kernel.user.cycles, kernel.user.nr_held = 2**64 - 1, 2**64 - 1
    kernel.own_memory[:] = b"\xff" * len(kernel.own_memory)
    client.ask("stats")
    kernel.user.cycles = 0
    _fresh()
    found = client.ask("stats")
    as_rustland(found)
    assert found["cycles"] == 0
    assert found["policy_gauges"] == found["policy_counts"] == {}


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b'{"req": "bogus"}', 'unknown command "bogus"'),
        (b'{"req": "stats", "args": {"target": "nope"}}', 'unknown stat target "nope"'),
        (b'{"req": "\\u001b[2J"}', 'unknown command "\\x1b[2J"'),
        (b"", "no JSON"),
        (b"{", "no JSON"),
        (b"\xff\xfe", "no JSON"),
        (b"[" * 4000, "no JSON"),
        (b"9" * 4090, "an object"),
        (b"[]", "an object"),
        (b"{}", "an object"),
        (b'{"req": 5}', "an object"),
        (b'{"req": "stats", "args": []}', "of texts"),
        (b'{"req": "stats", "args": {"target": 5}}', "of texts"),
        (b'{"req": "stats", "args": null}', "of texts"),
    ],
)
def test_an_error_is_answered_and_the_connection_goes_on(
    line: bytes, words: str, client: Talker
) -> None:
    found = client.send(line)
    assert found["errno"] == 22
    assert words in found["args"]["resp"]
    assert client.ask("stats")["nr_cpus"] == NR_CPUS


def test_answers_come_in_order_without_args_and_in_pieces(client: Talker) -> None:
    client.socket.sendall(b'{"req":"stats_meta"}\n{"req":"x"}\n{"re')
    assert scx_stats.TOP in client.answer()["args"]["resp"]
    assert client.answer()["errno"] == 22
    assert client.send(b'q":"stats"}')["args"]["resp"]["nr_cpus"] == NR_CPUS


def test_a_client_that_sends_no_more_has_all_its_answers(client: Talker) -> None:
    client.socket.sendall(b'{"req":"stats"}\n' * 5)
    client.socket.shutdown(1)
    assert [client.answer()["errno"] for _ in range(5)] == [0] * 5
    assert client.answer() == {}


def test_an_answer_is_one_printable_line(kernel: Kernel) -> None:
    session = scx_stats.Session(kernel.source("\x7f\u202e\x1b"))
    answer = session.take(bytearray(b'{"req":"stats"}\n'))
    assert answer is not None
    text = answer.decode("ascii")
    assert text[:-1].isprintable()
    assert json.loads(text)["args"]["resp"]["policy"] == "\x7f\u202e\x1b"


def _fresh() -> None:
    """Wait until the server reads the counters anew."""
    time.sleep(0.02)
