# SPDX-License-Identifier: GPL-2.0-only
"""What the policies of all parts need together: fields, times, and an order for undecided tasks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from pyland.compose.place import Place
from pyland.policy import FIELDS, Interim


class Needs(NamedTuple):
    """Attributes of `Policy`, as a composed policy has them."""

    fields: tuple[str, ...]
    more_fields: tuple[str, ...]
    lasts_ns: int
    lasts_slices: int
    margin_ns: int
    interim: Interim
    interval_ns: int
    exact_slices: bool


def needs_of(
    places: Sequence[Place], own: Iterable[str], reads: Iterable[str], often_ns: int
) -> Needs:
    """What these parts need, and the composed policy itself.

    It needs the fields `own` of each task, and `reads` of new tasks; its `tick` is called every
    `often_ns` at least, 0: as often as a part wants.
    """
    policies = [place.seat.policy for place in places]
    wanted = {"seq", "pid", "cpu", "state", *own}
    more = {"seq", "pid", *reads}
    for place in places:
        wanted.update(place.seat.policy.fields, place.reserve.policy.fields)
        more.update(place.seat.policy.more_fields)
    intervals = [one.interval_ns for one in policies if one.interval_ns]
    return Needs(
        fields=tuple(name for name in FIELDS if name in wanted),
        more_fields=tuple(name for name in FIELDS if name in more),
        lasts_ns=min(one.lasts_ns for one in policies),
        lasts_slices=min(one.lasts_slices for one in policies),
        margin_ns=max(one.margin_ns for one in policies),
        interim=_common_interim({one.interim for one in policies}),
        interval_ns=min(filter(None, [often_ns, *intervals]), default=0),
        exact_slices=any(one.exact_slices for one in policies),
    )


def _common_interim(interims: set[Interim]) -> Interim:
    """How tasks of all parts are ordered until their decisions come.

    If the tasks of one part are held, those of all parts are. If some parts go by virtual times
    and others by arrival, all go by virtual times: by these a task keeps its place among others.
    """
    if "hold" in interims:
        return "hold"
    return "arrival" if interims == {"arrival"} else "vtime"
