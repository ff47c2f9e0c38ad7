# SPDX-License-Identifier: GPL-2.0-only
"""The domains that the policy of a part sees, as domains of the whole machine."""

from __future__ import annotations

from collections.abc import Callable

from pyland.decision import CPU_ANY, domain_queue
from pyland.domains import DomainGauges, Domains, DomainSettings
from pyland.topology import Topology

RANKS_OF_PART = 1 << 16
"""The machine has this many ranks for each rank of a part: those that the part's policy sets."""


class PartDomains(Domains):
    """A part's own numbering: at first a domain for each last-level cache of its CPUs.

    Whatever the policy of the part sets, its tasks stay on the part's CPUs, and its ranks are
    those of the part's rank. A domain of the whole machine is taken when it is first needed.
    """

    def __init__(
        self,
        topology: Topology,
        whole: Domains,
        take: Callable[[], int],
        own: DomainSettings,
        *,
        alone: bool,
        shown: bool = True,
    ) -> None:
        """`take` gives the number of an unused domain, `own` is what the part as a whole may use.

        With `alone` the part is the whole machine: its domains have the machine's numbers, and the
        machine's domains stay as they are until the policy sets one. Without `shown` the machine's
        domains are never set.
        """
        self._shown = shown
        self._alone = alone
        self._whole, self._take, self._own = whole, take, own
        self._numbers: dict[int, int] = {}
        self.places: dict[int, int] = {}
        """By the `cpu` of a part's decision that names a domain, the `cpu` on the whole machine."""
        super().__init__(topology)
        self.begin()

    def begin(self) -> None:
        """Begin anew for a policy: the domains of an earlier policy lose their CPUs."""
        self._begin()
        for number in self._numbers.values():
            self._whole[number].set(cpus=0, spill=0)
        self.places.clear()
        for domain in self.known():
            queue = domain_queue(domain.number)
            if not self._shown or (self._alone and not self._numbers):
                self.places[queue] = queue
            else:
                self._show(domain.number)
        self.places[CPU_ANY] = self.places[domain_queue(0)]

    def saved(self) -> list[DomainSettings]:
        """What the policy has set, for `restore`; empty if it has set nothing."""
        return [domain.settings for domain in self.known()] if self.nr else []

    def restore(self, saved: list[DomainSettings]) -> None:
        """Set what `saved` returned, after `begin`."""
        for number, settings in enumerate(saved):
            self._set(self._domain(number), settings)

    def used(self) -> list[int]:
        """The numbers of its domains on the whole machine."""
        return [*self._numbers.values()]

    def _write_all(self) -> None:
        for domain in self.known():
            self._show(domain.number)

    def _write(self, number: int, cpus: int) -> None:
        self._show(number)

    def _show(self, number: int) -> None:
        """Set a domain of the part on the whole machine."""
        if not self._shown:
            return
        mine, own = self._all[number].settings, self._own
        if not self.nr:
            # Nothing is set yet: the domains of the caches spill to all CPUs that the part may use.
            mine = mine._replace(spill=own.spill, preempt=own.preempt, direct=own.direct)
        at = self._numbers.get(number)
        if at is None:
            at = self._numbers[number] = number if self._alone else self._take()
        self.places[domain_queue(number)] = domain_queue(at)
        most = RANKS_OF_PART // 2 - 1
        reach = own.cpus | own.spill
        cpus, spill = mine.cpus & reach, mine.spill & reach
        if not cpus | spill:
            # Without any CPU its tasks would go by their affinity, and leave the part's CPUs.
            cpus = own.cpus
        self._whole[at].set(
            cpus=cpus,
            spill=spill,
            rank=own.rank * RANKS_OF_PART + max(-most, min(mine.rank, most)),
            preempt=mine.preempt and own.preempt,
            direct=mine.direct and own.direct,
            search=mine.search,
            preempt_first=mine.preempt_first,
            yield_ns=mine.yield_ns,
        )

    def _gauges(self, number: int) -> DomainGauges:
        at = self._numbers.get(number)
        return DomainGauges() if at is None else self._whole[at].gauges
