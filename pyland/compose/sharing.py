# SPDX-License-Identifier: GPL-2.0-only
"""Parts that share CPUs: each has its time there by the weight of its tasks."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import TYPE_CHECKING

from pyland.compose.part_machine import PartMachine
from pyland.compose.seat import EARLY_NS, LATE_NS

if TYPE_CHECKING:
    from pyland.compose.place import Place

BEGIN_NS = 1 << 37
"""The key that parts which share CPUs begin with."""
_CREDIT_NS = 10_000_000
"""What a part whose tasks come back may use on each of its CPUs before the others go on."""
_APART_NS = 200_000_000
"""The most that a part may be behind the next faster one of those that it competes with.

It falls further behind only if its CPUs have not enough time for its weight: that is no debt."""
_WAITS_NS = 200_000_000
"""For so long after one of its tasks waited for a CPU, a part counts as one that waits."""
_STEP_NS = 1_000_000
"""Keys are moved by at least this, because a move may change the order within a part."""
_SILENT_NS = 24_000_000
"""After so long without a decision the next one gets the present time of its part.

With 64 ms a task of `rr` that sleeps for 60 ms waited for 35 ms beside hogs of another part: its
key is the time when it woke up, and so 60 ms after that of its part."""
_WINDOW_NS = 100_000_000
"""The speed of keys is measured over at least this time."""
_SAME = 1 << 32
"""The speed of keys that are as fast as the part's time."""
_KEYS_NS = (1 << 62) - 1
"""A policy's keys above this count as this."""


class _Clock:
    """The virtual time of a part, and the keys of its policy."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.served_ns = 0
        """The part's virtual time: what a task of weight 100 of it has had."""
        self._used_ns = place.machine.used_ns
        self.token = 0
        """The seat whose keys these are."""
        self.own_ns = 0
        """Where the keys of its policy are: most decisions have no higher key."""
        self.waits = False
        """True if its tasks wait from time to time, and one was runnable at the last look."""
        self._waited_at_ns = -_WAITS_NS
        self._was_empty, self._is_busy = True, False
        self._weight = 100
        self._seen_ns = self._seen_at_ns = 0
        # For the speed: where both were when the measurement began.
        self._begun_at_ns = self._served_then_ns = self._own_then_ns = 0
        self._rate = self._most_rate = _SAME
        """The speed that was measured, and the highest one that is tried: keys are to stay in
        their range."""

    @property
    def credit_ns(self) -> int:
        """How far a part that does not compete may be from the others, as virtual time."""
        nr_cpus = self.place.machine.reach.bit_count()
        return _CREDIT_NS * nr_cpus * 100 // max(self._weight, 100)

    def competes(self, waited_for: int) -> bool:
        """True if its tasks wait, or run on CPUs of parts that wait: the mask `waited_for`."""
        machine = self.place.machine
        return self.waits or (self._is_busy and machine.reach & waited_for != 0)

    @property
    def apart_ns(self) -> int:
        """The most by which the next part may be behind this one; a light one takes long steps."""
        return _APART_NS * 100 // min(self._weight, 100)

    def follow(self, now_ns: int) -> None:
        """Take what the part has used since the last call, and its newest key."""
        seat, machine = self.place.seat, self.place.machine
        used_ns, is_empty, before = machine.used_ns, machine.is_empty, self._weight
        if not is_empty:
            self._weight = seat.batch.weight_runnable
        if used_ns != self._used_ns:
            # A task that has just slept used the time, and counts no more.
            self.served_ns += (used_ns - self._used_ns) * 100 // max(before, self._weight)
            self._used_ns = used_ns
        if machine.waits:
            self._waited_at_ns = now_ns
        self._is_busy = not (is_empty or self._was_empty)
        self.waits = self._is_busy and now_ns - self._waited_at_ns < _WAITS_NS
        self._was_empty = is_empty
        front_ns = seat.front_ns
        if not front_ns or (front_ns == self._seen_ns and self.token == seat.token):
            return
        decided_at_ns = seat.batch.now_ns
        passed_ns = max(decided_at_ns - self._seen_at_ns, 0)
        self._seen_at_ns, self._seen_ns = decided_at_ns, front_ns
        own_ns = min(max(seat.own_front_ns, 0), _KEYS_NS)
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

    def wake(self, now_ns: int) -> None:
        """Follow a part that has slept; it has no claim yet at the next look.

        More of its tasks may have come by then, and its claim is by the weight of all.
        """
        self.follow(now_ns)
        self._was_empty = True

    def _measure(self) -> None:
        """How fast the part's time passes, by its policy's keys."""
        moved_ns = self.own_ns - self._own_then_ns
        served_ns = self.served_ns - self._served_then_ns
        rate = served_ns * _SAME // moved_ns if moved_ns > served_ns else _SAME
        # Virtual times are about as fast as the part's time.
        rate = _SAME if rate > _SAME * 3 // 4 else max((self._rate + rate) // 2, 1)
        self._most_rate = min(2 * self._most_rate, _SAME)
        self._rate = min(rate, self._most_rate)

    def _measure_anew(self, now_ns: int) -> None:
        self._begun_at_ns = now_ns
        self._served_then_ns, self._own_then_ns = self.served_ns, self.own_ns

    def stay_near(self, slowest_ns: int) -> None:
        """Bring the time of a part that does not compete near that of the slowest that does."""
        credit_ns = self.credit_ns
        self.served_ns = max(min(self.served_ns, slowest_ns + credit_ns), slowest_ns - credit_ns)

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
        """None of the places has decided a task yet."""
        self._clocks = [_Clock(place) for place in places]
        machines = [clock.place.machine for clock in self._clocks]
        self._begin_ns = BEGIN_NS
        """The key of a part that has used nothing."""
        self._slowest_ns = 0
        """The virtual time of the slowest part that competes."""
        self._has_begun = not any(one.keeps_keys for one in machines)
        """False until the keys are known of a part that keeps its own."""
        for mine in machines:
            mine.others = [other for other in machines if other is not mine]

    def look(self, now_ns: int) -> None:
        """Move the keys of the parts; to be called every few milliseconds, after their `look`."""
        awake = [clock for clock in self._clocks if not clock.place.sleeps]
        for clock in awake:
            clock.follow(now_ns)
        if awake:
            self._compare(awake)
        for clock in awake:
            if clock.place.machine.keeps_keys and clock.token:
                self._begin_ns, self._has_begun = clock.own_ns - clock.served_ns, True
        for clock in awake:
            if not clock.place.machine.keeps_keys:
                clock.lead(self._begin_ns, now_ns)

    def wake(self, place: Place, now_ns: int) -> None:
        """Follow a part that has slept, and move its keys; of no effect if it is not one of these.

        To be called after its `look`.
        """
        for clock in self._clocks:
            if clock.place is place:
                clock.wake(now_ns)
                clock.stay_near(self._slowest_ns)
                clock.lead(self._begin_ns, now_ns)
                if self._has_begun and clock.token != place.seat.token:
                    # Its policy is new, and the key of the one before is old.
                    place.seat.begin_at(self._begin_ns + clock.served_ns)

    def _compare(self, clocks: list[_Clock]) -> None:
        """Only parts that compete for a CPU have claims to time, and debts."""
        waited_for = 0
        for clock in clocks:
            if clock.waits:
                waited_for |= clock.place.machine.reach
        competing = [one for one in clocks if one.competes(waited_for)]
        competing.sort(key=lambda one: -one.served_ns)
        for at, (ahead, behind) in enumerate(pairwise(competing), start=1):
            # Those that are behind stay as they are among themselves.
            lost_ns = ahead.served_ns - behind.served_ns - ahead.apart_ns
            if lost_ns > 0:
                for one in competing[at:]:
                    one.served_ns += lost_ns
        slowest = competing[-1] if competing else max(clocks, key=lambda one: one.served_ns)
        self._slowest_ns = slowest.served_ns
        for clock in clocks:
            if clock not in competing:
                clock.stay_near(self._slowest_ns)


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
