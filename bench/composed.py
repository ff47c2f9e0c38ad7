# SPDX-License-Identifier: GPL-2.0-only
"""The cost of being a part: one batch with `deadline` alone, and in 1 to 12 parts.

    python -m bench.composed [--policy NAME]

Calls of `decide` with made-up batches, without rings. The variants take turns, and of each the
fastest of many short runs counts: what the machine does meanwhile has little effect.
"""

from __future__ import annotations

import argparse
import random
import timeit
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from pyland.compose import Composed, Part
from pyland.loading.finder import choose
from pyland.policy import FIELDS, Batch, Policy, Task
from pyland.testing import OfflineMachine, make_topology

PARTS = (1, 2, 4, 12)
SIZES = (1, 8, 64, 512)
_CPUS = 12
_RUN_S = 100e-6
_PASSES = 1500


def composed(policy: str, nr: int) -> type[Composed]:
    """`nr` parts with this policy; a task is in that of its number."""

    class Bench(Composed):
        def make_parts(self) -> dict[str, Part]:
            if nr == 1:
                return {"all": Part(policy)}
            each = _CPUS // nr
            cpus = {f"p{n}": range(n * each, (n + 1) * each) for n in range(nr)}
            return {name: Part(policy, cpus=mine) for name, mine in cpus.items()}

        def part_of(self, task: Task) -> str:
            return f"p{int(task.comm) % nr}"

    return Bench


def call(policy: type[Policy], nr: int) -> Callable[[], None]:
    """A function that lets the policy decide a batch of `nr` tasks that it knows."""
    one = OfflineMachine(make_topology(cpus=_CPUS), policy).policy
    chance = random.Random(1)
    made = []
    for number in range(nr):
        values: dict[str, Any] = dict.fromkeys(FIELDS, 1000)
        values.update(seq=number + 1, pid=number + 100, weight=100, used_ns=1_000_000, state=0)
        values.update(cpu=number % _CPUS, comm=b"%d" % chance.randrange(1000))
        values.update(enqueue_ns=1_000_000_000 + number, awake_runtime_ns=1_000_000)
        made.append(values)
    batch = Batch(one.fields)
    batch.nr, batch.nr_runnable, batch.weight_runnable = nr, nr, 100 * nr
    batch.now_ns = 1_000_000_000

    def view(fields: Iterable[str]) -> list[tuple[Any, ...]]:
        return [tuple(values[name] for name in fields) for values in made]

    batch.view = view
    for _ in range(3):
        batch.rows = view(one.fields)
        flat: Any = one.decide(batch)
        for values in made:
            values["state"] = flat[flat.index(values["pid"]) + 4]
    rows = view(one.fields)

    def decide() -> None:
        batch.rows = rows
        one.decide(batch)

    return decide


def fastest_us(calls: list[Callable[[], None]], nr: int) -> list[float]:
    """Microseconds for each task, of each call."""
    repeats = max(int(_RUN_S / timeit.timeit(calls[0], number=10) * 10), 1)
    best = [float("inf")] * len(calls)
    for _ in range(_PASSES):
        for at, one in enumerate(calls):
            best[at] = min(best[at], timeit.timeit(one, number=repeats))
    return [seconds / repeats / nr * 1e6 for seconds in best]


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0], allow_abbrev=False)
    parser.add_argument("--policy", default="deadline")
    policy = parser.parse_args().policy
    alone = choose(policy, folder=Path("/")).policy
    print(f"| batch | `{policy}` |" + "".join(f" {nr} parts |" for nr in PARTS))
    print("|---|---|" + "---|" * len(PARTS))
    for nr in SIZES:
        variants = [alone, *(composed(policy, parts) for parts in PARTS)]
        base, *others = fastest_us([call(one, nr) for one in variants], nr)
        cells = "".join(f" {us:.2f} ({us / base - 1:+.0%}) |" for us in others)
        print(f"| {nr} | {base:.2f} |{cells}")


if __name__ == "__main__":
    main()
