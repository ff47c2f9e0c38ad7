# SPDX-License-Identifier: GPL-2.0-only
"""Which tasks move to which domain, so that all domains have their fair part of the load.

First between NUMA nodes, then between the domains of each node, as in scx_rusty 1.1.2: nodes
differ by 17 % before tasks leave their memory, domains by 5 %. One transfer is half of the
smaller of the two imbalances, and a domain pushes half of its imbalance in one pass.

It differs in five points, and each of them ends sooner or moves less:

- A round repeats its passes until no transfer helps. A pass only halves the imbalance, so one
  pass every 2 s takes 8 s for 16 tasks that began on one of two caches.
- The imbalance is computed anew after each transfer. scx_rusty compares with that at the
  pass's begin, and can move more than helps.
- A transfer has to lower the imbalance. One that leaves it as it is would be made back and
  forth in each round.
- A domain's fair part is that of its CPUs, so domains may differ in size.
- Nodes that differ by 17 % are balanced to 5 %: what has to leave its memory leaves it once.

Loads are floats in the units of `load`. Plain Python: a round with 1,024 tasks takes 2 ms, of
which sorting is most; NumPy arrays would have to be made for each round.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from typing import NamedTuple

NODE_TOLERANCE = 0.17
"""Nodes within this part of their fair load are balanced."""
DOMAIN_TOLERANCE = 0.05
"""Domains within this part of their fair load are balanced."""
TRANSFER = 0.5
"""One transfer is this part of the smaller imbalance."""
PUSH_MOST = 0.5
"""A domain pushes this part of its imbalance in one pass."""
TASKS_MAX = 1024
"""The most tasks of a domain that are looked at in a round."""
_PASSES_MAX = 16
# A transfer helps if it leaves less than this part of the imbalance: more than a rounding error.
_HELPS = 1 - 1e-6


class TaskLoad(NamedTuple):
    """A task that may move."""

    pid: int
    load: float
    allowed: int
    """The domains that it may use, as a mask: bit n for domain n."""
    preferred: int = 0
    """The domains that it prefers, as such a mask; 0: none."""


class Place:
    """A domain or a node, with its load and its fair part of all load."""

    __slots__ = ("delta", "fair", "load", "tolerance")

    def __init__(self, load: float, fair: float, tolerance: float) -> None:
        """What it has at the start of a round."""
        self.load, self.fair, self.tolerance = load, fair, tolerance
        self.delta = 0.0
        """What it has gained in this round; negative for what it has lost."""

    @property
    def imbalance(self) -> float:
        """Load above its fair part; negative below it."""
        return self.load - self.fair

    @property
    def pushes(self) -> bool:
        """True if it has too much."""
        return self.imbalance > self.fair * self.tolerance

    @property
    def pulls(self) -> bool:
        """True if it has too little."""
        return -self.imbalance > self.fair * self.tolerance

    def add(self, load: float) -> None:
        """It gains load, or loses it if that is negative."""
        self.load += load
        self.delta += load


class Domain(Place):
    """A domain, and those of its tasks that may move."""

    __slots__ = ("number", "tasks")

    def __init__(
        self, load: float, fair: float, tolerance: float, number: int, tasks: list[TaskLoad]
    ) -> None:
        """`tasks` are sorted by load, lowest first."""
        super().__init__(load, fair, tolerance)
        self.number, self.tasks = number, tasks


class Node(Place):
    """A NUMA node, and its domains."""

    __slots__ = ("domains",)

    def __init__(self, load: float, fair: float, tolerance: float) -> None:
        """Without domains."""
        super().__init__(load, fair, tolerance)
        self.domains: list[Domain] = []


class Move(NamedTuple):
    """A task leaves a domain for another one."""

    pid: int
    load: float
    source: int
    target: int


class DomainLoad(NamedTuple):
    """The facts about a domain from which the balancer starts."""

    load: float
    nr_cpus: int
    node: int = 0
    tasks: Sequence[TaskLoad] = ()
    """The tasks that ran lately; the first `TASKS_MAX` are looked at."""


def build(domains: Sequence[DomainLoad]) -> list[Node]:
    """The nodes with their domains, numbered as in `domains`, and what is fair for each.

    Raises ValueError if no domain has a CPU.
    """
    cpus = sum(one.nr_cpus for one in domains)
    if not cpus:
        raise ValueError("the domains have no CPU: there is nothing to balance")
    fair = sum(one.load for one in domains) / cpus
    nodes: dict[int, Node] = {}
    for number, one in enumerate(domains):
        tasks = sorted(one.tasks[:TASKS_MAX], key=_load)
        domain = Domain(one.load, fair * one.nr_cpus, DOMAIN_TOLERANCE, number, tasks)
        node = nodes.setdefault(one.node, Node(0.0, 0.0, NODE_TOLERANCE))
        node.load += domain.load
        node.fair += domain.fair
        node.domains.append(domain)
    return [nodes[number] for number in sorted(nodes)]


def balance(nodes: Sequence[Node]) -> list[Move]:
    """The moves of one round; the nodes and domains have their loads after them.

    A task moves once at most. Each move lowers the imbalance of the two nodes or of the two
    domains of a node that it is made for, and total load stays as it is.
    """
    moves: list[Move] = []
    if any(node.pushes for node in nodes):
        for node in nodes:
            node.tolerance = DOMAIN_TOLERANCE
    for _ in range(_PASSES_MAX):
        before = len(moves)
        _between_nodes(nodes, moves)
        for node in nodes:
            _within(node, moves)
        if len(moves) == before:
            break
    return moves


def imbalance(places: Iterable[Place]) -> float:
    """All imbalances, added up."""
    return sum(abs(place.imbalance) for place in places)


def _load(task: TaskLoad) -> float:
    return task.load


def _excess(place: Place) -> float:
    return place.imbalance


def _between_nodes(nodes: Sequence[Node], moves: list[Move]) -> None:
    """One pass: nodes with too much push half of that to those with too little."""
    for source in sorted(nodes, key=_excess, reverse=True):
        cutoff, pushed = source.imbalance * PUSH_MOST, 0.0
        for target in sorted(nodes, key=_excess):
            while source.pushes and target.pulls and pushed < cutoff:
                move = _between(source, target)
                if move is None:
                    break
                source.add(-move.load)
                target.add(move.load)
                moves.append(move)
                pushed += move.load


def _between(source: Node, target: Node) -> Move | None:
    """A task of one of the node's fullest domains, for one of the other node's emptiest."""
    for pusher in sorted(source.domains, key=_excess, reverse=True):
        for puller in sorted(target.domains, key=_excess):
            if pusher.imbalance > 0 > puller.imbalance and (
                move := _transfer(pusher, puller, source, target)
            ):
                return move
    return None


def _within(node: Node, moves: list[Move]) -> None:
    """One pass: domains with too much push half of that to those with too little."""
    for source in sorted(node.domains, key=_excess, reverse=True):
        cutoff, pushed = source.imbalance * PUSH_MOST, 0.0
        for target in sorted(node.domains, key=_excess):
            while source.pushes and target.pulls and pushed < cutoff:
                move = _transfer(source, target, source, target)
                if move is None:
                    break
                moves.append(move)
                pushed += move.load


def _transfer(source: Domain, target: Domain, giver: Place, taker: Place) -> Move | None:
    """Move the task that suits the imbalance of `giver` and `taker` best; None if none helps.

    `giver` and `taker` are the two domains, or their nodes. A task that prefers the target goes
    before one that does not.
    """
    excess, lack = giver.imbalance, -taker.imbalance
    wanted = min(excess, lack) * TRANSFER
    bit = 1 << target.number
    for preferring in (True, False):
        at = _nearest(source.tasks, wanted, excess, lack, bit, preferring=preferring)
        if at is not None:
            task = source.tasks.pop(at)
            source.add(-task.load)
            target.add(task.load)
            return Move(task.pid, task.load, source.number, target.number)
    return None


def _nearest(
    tasks: Sequence[TaskLoad],
    wanted: float,
    excess: float,
    lack: float,
    bit: int,
    *,
    preferring: bool,
) -> int | None:
    """The place of the task with the load nearest to `wanted`, of those that lower the imbalance.

    Of the nearest one below and the nearest one above, that which leaves less imbalance.
    """
    begin = bisect_left(tasks, wanted, key=_load)
    found: int | None = None
    least = (excess + lack) * _HELPS
    for places in (range(begin - 1, -1, -1), range(begin, len(tasks))):
        for at in places:
            task = tasks[at]
            if task.allowed & bit and (not preferring or task.preferred & bit):
                left = abs(excess - task.load) + abs(lack - task.load)
                if left < least:
                    found, least = at, left
                break
    return found
