# SPDX-License-Identifier: GPL-2.0-only
"""Parts that share CPUs: each has its time there by the weight of its tasks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from pyland.compose.part_machine import PartMachine
from pyland.compose.seat import EARLY_NS, LATE_NS
from pyland.domains import mask_of
from pyland.machine import Machine

if TYPE_CHECKING:
    from pyland.compose.place import Place

BEGIN_NS = 1 << 37
"""The key that parts which share CPUs begin with."""
_SLEEPS_NS = 50_000_000
"""The credit of a part without waiting tasks: it uses less than its share because they sleep."""
_WAITS_NS = 1_000_000_000
"""That of one with waiting tasks: on the CPUs that it may use it cannot have its share."""
_STEP_NS = 1_000_000
"""Keys are moved in steps of at least this: order within a part may suffer from each."""
_SILENT_NS = 64_000_000
"""After so long without a decision the next one gets the present time of its part."""
_WINDOW_NS = 100_000_000
"""The speed of keys is measured over at least this time."""
_SAME = 1 << 32


class _Clock:
    """The virtual time of a part, and the keys of its policy."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.served_ns = 0
        """What a task of weight 100 of the part has had."""
        self._used_ns = place.machine.used_ns
        self.token = 0
        """The seat whose keys these are."""
        self.own_ns = 0
        """Where the keys of its policy are. Tasks that sleep have lower ones, and count little."""
        self._seen_ns = self._seen_at_ns = 0
        # For the speed: where both were when the measurement began.
        self._begun_at_ns = self._served_then_ns = self._own_then_ns = 0
        self._rate = self._most_rate = _SAME

    def follow(self, now_ns: int) -> None:
        """Take what the part has used since the last call, and its newest key."""
        seat, used_ns = self.place.seat, self.place.machine.used_ns
        # The sum is smaller if the part has other domains than before.
        if used_ns > self._used_ns:
            self.served_ns += (used_ns - self._used_ns) * 100 // max(seat.load[1], 100)
        self._used_ns = used_ns
        front_ns = seat.front_ns
        if not front_ns or (front_ns == self._seen_ns and self.token == seat.token):
            return
        passed_ns, self._seen_at_ns, self._seen_ns = now_ns - self._seen_at_ns, now_ns, front_ns
        own_ns = seat.own_front_ns
        if self.token != seat.token or seat.was_far:
            self.token, self.own_ns = seat.token, own_ns
            self._rate = self._most_rate = seat.rate or _SAME
            seat.was_far = False
            self._measure_anew(now_ns)
            return
        apart_ns, fast_ns = own_ns - self.own_ns, passed_ns * _SAME // self._rate
        self.own_ns += max(min(apart_ns, 3 * fast_ns), -fast_ns // 2)
        if now_ns - self._begun_at_ns >= _WINDOW_NS:
            self._measure()
            self._measure_anew(now_ns)

    def _measure(self) -> None:
        """How fast the part's time passes, by its policy's keys."""
        moved_ns = self.own_ns - self._own_then_ns
        served_ns = self.served_ns - self._served_then_ns
        rate = served_ns * _SAME // moved_ns if moved_ns > served_ns else _SAME
        # Virtual times are as fast as the part's time, but for what is still on its way.
        rate = _SAME if rate > _SAME * 3 // 4 else max((self._rate + rate) // 2, 1)
        self._most_rate = min(2 * self._most_rate, _SAME)
        self._rate = min(rate, self._most_rate)

    def _measure_anew(self, now_ns: int) -> None:
        self._begun_at_ns = now_ns
        self._served_then_ns, self._own_then_ns = self.served_ns, self.own_ns

    def lead(self, begin_ns: int, now_ns: int) -> None:
        """Move the keys of the part to its virtual time."""
        seat = self.place.seat
        if self.token != seat.token:
            return
        time_ns = begin_ns + self.served_ns
        seat.least_ns, seat.most_ns = max(time_ns - EARLY_NS, 0), time_ns + LATE_NS
        if now_ns - self._seen_at_ns > _SILENT_NS:
            seat.begin_at(time_ns)
        elif abs(seat.key(self.own_ns) - time_ns) > _STEP_NS:
            seat.rate = 0 if self._rate == _SAME else self._rate
            seat.move(self.own_ns, time_ns)


class Sharing:
    """Parts of one rank that may use the same CPUs.

    A CPU takes the task with the lowest key, and the keys of two policies may have nothing in
    common: times of arrival move on faster than virtual times, and their tasks would never run. So
    the keys of each part are moved such that on the average they are its virtual time: what it has
    used, by the weight of its runnable tasks. Within a part the policy's order stays.
    """

    def __init__(self, places: Iterable[Place]) -> None:
        """`places` begin with keys of `BEGIN_NS`, or near those of the one that keeps its keys."""
        self._clocks = [_Clock(place) for place in places]
        machines = [clock.place.machine for clock in self._clocks]
        for mine in machines:
            mine.others = [other for other in machines if other is not mine]

    def look(self, now_ns: int) -> None:
        """Move the keys of the parts; to be called every few milliseconds, after their `look`."""
        clocks = self._clocks
        for clock in clocks:
            clock.follow(now_ns)
        front_ns = max(clock.served_ns for clock in clocks)
        begin_ns = BEGIN_NS
        for clock in clocks:
            credit_ns = _WAITS_NS if clock.place.machine.waits else _SLEEPS_NS
            clock.served_ns = max(clock.served_ns, front_ns - credit_ns)
            if clock.place.machine.keeps_keys and clock.token:
                begin_ns = clock.own_ns - clock.served_ns
        for clock in clocks:
            if not clock.place.machine.keeps_keys:
                clock.lead(begin_ns, now_ns)


def shared(places: Iterable[Place]) -> list[Sharing]:
    """The parts that share CPUs, by rank, or may do so later; their first keys become equal."""
    by_rank: dict[int, list[Place]] = {}
    for place in places:
        by_rank.setdefault(place.machine.rank, []).append(place)
    found: list[Sharing] = []
    for group in by_rank.values():
        machines = [place.machine for place in group]
        if not overlap(machines) and all(one.places_domains for one in machines):
            continue
        found.append(Sharing(group))
        if not any(one.keeps_keys for one in machines):
            for place in group:
                place.seat.begin_at(BEGIN_NS)
    return found


def overlap(parts: Iterable[PartMachine]) -> bool:
    """True if two parts may use the same CPU."""
    taken = 0
    for part in parts:
        if taken & part.reach:
            return True
        taken |= part.reach
    return False


def confine_newcomers(machine: Machine, parts: Iterable[PartMachine]) -> None:
    """If a part has not all CPUs, a task that was never decided is so before it runs.

    Else it would go to any idle CPU, and stay there while no other task wants that. Such tasks are
    in the domains of the caches. A part within a part gets decided tasks only.
    """
    whole = mask_of(machine.topology.online)
    confined = any(part.places_domains and whole & ~part.reach for part in parts)
    if confined and not isinstance(machine, PartMachine):
        for llc in range(machine.topology.nr_llcs):
            machine.domains[llc].set(direct=False)
