# SPDX-License-Identifier: GPL-2.0-only
"""How long a batch takes from BPF to Python and back, and how long each part of the way.

A round trip begins when BPF writes the records and ends when BPF has read the decisions; two calls
of `bpf_prog_test_run`, a microsecond each, stand for enqueue and dispatch. The parts are measured
one by one: `yield` is a cycle without work, and is not included in `drain` and `submit`.
"""

from __future__ import annotations

import time
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from pyland._native import Exchange
from pyland.engine.loop import DispatchLoop
from pyland.loading.finder import choose
from pyland.policies import BUILTINS
from pyland.policy import Policy
from tools.rings.harness import Rings

BATCHES = (1, 4, 16, 64, 512)
ROUNDS = 2000


class Way:
    """A policy with its loop over a pair of rings."""

    def __init__(self, rings: Rings, name: str) -> None:
        machine = rings.machine()
        self.policy: Policy = choose(name, (), folder=Path("/")).policy.create(machine)
        self.loop = DispatchLoop(rings.shim, self.policy, machine)
        self.loop.warm_up(self.policy)
        machine.outgoing.clear()
        self.exchange: Exchange = self.loop._exchange()
        self.outgoing = machine.outgoing

    def decide(self, rows: list[tuple[Any, ...]]) -> list[int]:
        """The policy's decisions on a batch."""
        self.loop._batch.rows = rows
        flat: Any = self.policy.decide(self.loop._batch)
        if self.outgoing:
            flat, _ = self.loop._place(flat, [])
        assert isinstance(flat, list)
        return flat


def note(benchmark: Any, part: str, policy: str, batch: int, less_s: float = 0) -> None:
    """Store the figures of a benchmark under the names that the report reads."""
    us = max(benchmark.stats.stats.median - less_s, 0) / batch * 1e6
    benchmark.extra_info.update(part=part, policy=policy, batch=batch, us_per_task=us)


def empty_cycle_s(exchange: Exchange) -> float:
    """The median time of a cycle without work."""

    def once() -> float:
        begin = time.perf_counter()
        exchange.cycle([], 0, 0)
        return time.perf_counter() - begin

    return median(once() for _ in range(ROUNDS))


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("name", BUILTINS)
def test_round_trip(benchmark: Any, rings: Rings, name: str, batch: int) -> None:
    path = Way(rings, name)
    cycle, decide = path.exchange.cycle, path.decide

    def there_and_back() -> None:
        rings.produce(batch)
        rows = cycle([], 0, batch)
        assert rows
        cycle(decide(rows), 0, 0)
        assert rings.consume(batch) == batch

    benchmark.pedantic(there_and_back, rounds=ROUNDS, warmup_rounds=20)
    note(benchmark, "round trip", name, batch)


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("name", BUILTINS)
def test_policy(benchmark: Any, rings: Rings, name: str, batch: int) -> None:
    path = Way(rings, name)
    rings.produce(batch)
    rows = path.exchange.cycle([], 0, batch)
    assert rows
    benchmark.pedantic(lambda: path.decide(rows), rounds=ROUNDS, warmup_rounds=20)
    note(benchmark, "policy", name, batch)


@pytest.mark.parametrize("batch", BATCHES)
def test_drain(benchmark: Any, rings: Rings, batch: int) -> None:
    exchange = Way(rings, "deadline").exchange
    cycle = exchange.cycle
    less_s = empty_cycle_s(exchange)

    def arrive() -> None:
        rings.produce(batch)

    benchmark.pedantic(lambda: cycle([], 0, batch), setup=arrive, rounds=ROUNDS, warmup_rounds=20)
    note(benchmark, "drain", "-", batch, less_s)


@pytest.mark.parametrize("batch", BATCHES)
def test_submit(benchmark: Any, rings: Rings, batch: int) -> None:
    path = Way(rings, "deadline")
    rings.produce(batch)
    rows = path.exchange.cycle([], 0, batch)
    assert rows
    flat = path.decide(rows)
    less_s = empty_cycle_s(path.exchange)
    cycle = path.exchange.cycle

    def take() -> None:
        rings.consume(batch)

    benchmark.pedantic(lambda: cycle(flat, 0, 0), setup=take, rounds=ROUNDS, warmup_rounds=20)
    note(benchmark, "submit", "-", batch, less_s)


def test_yield(benchmark: Any, rings: Rings) -> None:
    """sched_yield when no other task wants the CPU, and the call around it."""
    cycle = Way(rings, "deadline").exchange.cycle
    benchmark.pedantic(lambda: cycle([], 0, 0), rounds=ROUNDS, warmup_rounds=20)
    note(benchmark, "yield", "-", 1)
