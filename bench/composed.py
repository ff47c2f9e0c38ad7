# SPDX-License-Identifier: GPL-2.0-only
"""The cost of being a part: one batch with `deadline` alone, and in 1 to 12 parts.

    python -m bench.composed [--policy NAME]
    valgrind --tool=callgrind python -m bench.composed --calls 2000 --size 8 --parts 12

Calls of `decide` with made-up batches, without rings, from C as the loop makes them. The variants
take turns, and of each the fastest of many short runs counts: what the machine does meanwhile has
little effect. In parts a batch becomes several smaller ones, and the policy itself costs more for
these: the last column is what twelve such policies cost if nothing divides and joins.

With `--calls` it only makes so many calls, for a tool that counts instructions: the difference
between two numbers of calls is what these cost. `--parts 0` is the policy alone.
"""

from __future__ import annotations

import argparse
import random
import timeit
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

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
    """`nr` parts with this policy; the number of a task says in which part it is."""

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


class One(Composed):
    """One part with all tasks, for the benchmark on rings."""

    parts: ClassVar = {"all": Part()}


class Twelve(Composed):
    """Twelve parts that share all CPUs, for the benchmark on rings."""

    reads = ()
    parts: ClassVar = {f"p{number}": Part() for number in range(12)}

    def part_of(self, task: Task) -> str:
        return f"p{task.pid % 12}"


def tasks(nr: int) -> list[dict[str, Any]]:
    """The fields of `nr` tasks."""
    chance = random.Random(1)
    made = []
    for number in range(nr):
        values: dict[str, Any] = dict.fromkeys(FIELDS, 1000)
        values.update(seq=number + 1, pid=number + 100, weight=100, used_ns=1_000_000, state=0)
        values.update(cpu=number % _CPUS, comm=b"%d" % chance.randrange(1000))
        values.update(enqueue_ns=1_000_000_000 + number, awake_runtime_ns=1_000_000)
        made.append(values)
    return made


def call(policy: type[Policy], made: list[dict[str, Any]]) -> Callable[[], None]:
    """A function that lets the policy decide a batch of tasks that it knows."""
    one = OfflineMachine(make_topology(cpus=_CPUS), policy).policy
    nr = len(made)
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
    from_c = partial(one.decide, batch)

    def decide() -> None:
        batch.rows = rows
        from_c()

    return decide


def apart(policy: type[Policy], nr: int) -> Callable[[], None]:
    """The calls of as many policies as there are parts, each with its own tasks."""
    groups: dict[int, list[dict[str, Any]]] = {}
    for values in tasks(nr):
        groups.setdefault(int(values["comm"]) % PARTS[-1], []).append(values)
    calls = [call(policy, mine) for mine in groups.values()]
    if len(calls) == 1:
        return calls[0]

    def decide() -> None:
        for one in calls:
            one()

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
    parser.add_argument("--calls", type=int)
    parser.add_argument("--size", type=int, default=8)
    parser.add_argument("--parts", type=int, default=PARTS[-1])
    given = parser.parse_args()
    policy = given.policy
    alone = choose(policy, folder=Path("/")).policy
    if given.calls is not None:
        chosen = composed(policy, given.parts) if given.parts else alone
        decide = call(chosen, tasks(given.size))
        for _ in range(given.calls):
            decide()
        return
    heads = "".join(f" {nr} part{'s' * (nr > 1)} |" for nr in PARTS)
    print(f"| batch | `{policy}` |{heads} {PARTS[-1]} policies |")
    print("|---|---|" + "---|" * (len(PARTS) + 1))
    for nr in SIZES:
        variants = [alone, *(composed(policy, parts) for parts in PARTS)]
        calls = [call(one, tasks(nr)) for one in variants]
        base, *others = fastest_us([*calls, apart(alone, nr)], nr)
        cells = "".join(f" {us:.2f} ({us / base - 1:+.0%}) |" for us in others)
        print(f"| {nr} | {base:.2f} |{cells}")


if __name__ == "__main__":
    main()
