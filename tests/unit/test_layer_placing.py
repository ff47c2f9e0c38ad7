# SPDX-License-Identifier: GPL-2.0-only
"""Where domains let tasks of each layer run, whatever the layers use."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyland.domains import NR_SERVED, Domains
from pyland.policies.layered.cores import Cores
from pyland.policies.layered.layers import Layer, Options
from pyland.policies.layered.placing import Placing, State
from pyland.policies.layered.sizing import Sizer
from pyland.policies.layered.utilisation import Usage
from pyland.testing import make_topology

machines = st.sampled_from(
    [
        make_topology(2),
        make_topology(4, threads=2),
        make_topology(8, llcs=2),
        make_topology(16, nodes=2, llcs=2, threads=2),
    ]
)


@st.composite
def layer_lists(draw: st.DrawFn) -> list[Layer]:
    def one() -> Layer:
        kind: Any = draw(st.sampled_from(("Confined", "Grouped", "Open")))
        names = ("protected", "exclusive", "preempt", "skip_remote_node", "idle_confined")
        options: dict[str, Any] = {name: draw(st.booleans()) for name in names}
        options["xllc_mig_min_us"] = draw(st.sampled_from((0.0, 100.0)))
        if kind != "Open":
            least = draw(st.integers(0, 4))
            options["util_range"] = (0.2, 0.8)
            options["cpus_range"] = draw(st.sampled_from((None, (least, least + 2))))
        return Layer("x", kind, ((),), Options(**options))

    return [one() for _ in range(draw(st.integers(1, 5)))]


states = st.builds(State, st.booleans(), st.booleans(), st.sampled_from(((), (True,) * 4)))


@settings(max_examples=100, deadline=None)
@given(machines, layer_lists(), st.data())
def test_the_promises_of_placing(topology: Any, layers: list[Layer], data: st.DataObject) -> None:
    cores = Cores(topology)
    sizer = Sizer(layers, cores)
    placing = Placing(sizer)
    domains = Domains(topology)
    for _ in range(3):
        used = [data.draw(st.floats(0, 8)) for _ in layers]
        for _ in range(3):
            sizer.step(0.1, [Usage(use * 0.1) for use in used])
        placing.refresh([data.draw(states) for _ in layers])
        _check(sizer, placing)
        for number, place in enumerate(placing.places):
            domains[number].set(**place._asdict())
        assert all(len(domains.served(cpu)) <= NR_SERVED for cpu in topology.online)


def _check(sizer: Sizer, placing: Placing) -> None:
    cores, layers = sizer.cores, sizer.layers
    assert len(placing.places) == placing.nr_domains
    enough = cores.nr_cpus > cores.unit
    siblings = 0
    for layer, mask in zip(layers, sizer.cpus, strict=True):
        if layer.options.exclusive and not layer.is_open:
            for core in cores.all:
                own = core.cpus & mask
                siblings |= own & ~(own & -own)
    for index, layer in enumerate(layers):
        foreign = sizer.protected & ~(0 if layer.is_open else sizer.cpus[index])
        for llc in range(placing.nr_llcs):
            place = placing.places[placing.table[index][llc]]
            reach = place.cpus | place.spill
            assert place.cpus, "a task has no home"
            assert not place.cpus & place.spill
            assert not reach & ~cores.mask
            if enough:
                assert not reach & foreign, "a protected CPU is touched"
            if sizer.cpus[index] & ~siblings:
                assert not reach & siblings, "a sibling of an exclusive layer is used"
            if layer.kind == "Confined" and sizer.cpus[index]:
                assert not reach & ~sizer.cpus[index], "a confined layer escapes"
            assert place.preempt == layer.options.preempt
            assert place.direct == (len(layers) == 1)
    for llc in range(placing.nr_llcs):
        unknown = placing.places[llc]
        assert unknown.cpus
        if enough and sizer.protected != cores.mask:
            assert not (unknown.cpus | unknown.spill) & sizer.protected


def test_an_idle_confined_layer_spills_when_it_is_full() -> None:
    options = Options(util_range=(0.2, 0.8), cpus_range=(1, 1), idle_confined=True)
    layers = [Layer("grp", "Grouped", ((),), options), Layer("rest", "Open", ((),))]
    placing = Placing(Sizer(layers, Cores(make_topology(4))))
    own = placing.domain(0, 0)
    assert placing.places[own].spill == 0
    placing.refresh([State(saturated=True), State()])
    assert placing.places[own].spill == 0b1111 & ~placing.places[own].cpus
    placing.refresh([State(saturated=True, kept_off=True), State(kept_off=True)])
    free = 0b1111 & ~placing.places[own].cpus
    assert placing.places[own].spill == free
    assert placing.places[placing.domain(1, 0)].cpus == free
    assert placing.places[placing.domain(1, 0)].spill == 0
    assert placing.reach(-2 - own) == 0b1111


def test_a_floating_layer_is_at_home_in_the_whole_node() -> None:
    topology = make_topology(8, nodes=2, llcs=2)
    options = Options(placement="Floating", xllc_mig_min_us=100.0)
    placing = Placing(Sizer([Layer("all", "Open", ((),), options)], Cores(topology)))
    homes = [placing.places[placing.domain(0, llc)].cpus for llc in range(4)]
    assert homes == [0b1111, 0b1111, 0b11110000, 0b11110000]
    assert placing.places[placing.domain(0, 0)].spill == 0b11110000


@pytest.mark.parametrize(
    ("ignored", "yield_ns"), [(0.0, None), (0.25, 750_000), (0.75, 250_000), (1.0, 0)]
)
def test_a_yield_costs_a_part_of_the_slice(ignored: float, yield_ns: int | None) -> None:
    options = Options(yield_ignore=ignored, slice_us=1000, prev_over_idle_core=True)
    layers = [Layer("a", "Open", ((),), options), Layer("rest", "Open", ((),))]
    placing = Placing(Sizer(layers, Cores(make_topology(2))), slice_us=5000)
    place = placing.places[placing.domain(0, 0)]
    assert (place.yield_ns, place.search) == (yield_ns, "previous")
    assert placing.places[placing.domain(1, 0)].yield_ns is None
