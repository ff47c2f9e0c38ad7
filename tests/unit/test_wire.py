# SPDX-License-Identifier: GPL-2.0-only
"""Records are unpacked by the C compiler's own offsets."""

import struct

import pytest

from pyland._native import ffi, lib
from pyland.engine import wire
from pyland.policies.deadline import Deadline
from pyland.policy import BASE_FIELDS, FIELDS
from pyland.stats.counters import TOTALS


def test_fields_come_out_as_c_wrote_them() -> None:
    record = ffi.new("struct pyland_queued *")
    record.seq, record.pid, record.weight, record.state = 2**63, 77, 335, 2**64 - 1
    text = wire.record_format("pyland_queued", ("seq", "pid", "weight", "state"))
    assert struct.unpack(text, ffi.buffer(record)[:]) == (2**63, 77, 335, 2**64 - 1)


def test_no_field_skips_the_whole_record() -> None:
    size = ffi.sizeof("struct pyland_queued")
    assert struct.calcsize(wire.record_format("pyland_queued", ())) == size


def test_a_field_that_there_is_not_is_refused() -> None:
    with pytest.raises(ValueError, match="it has: seq, pid"):
        wire.record_format("pyland_queued", ("niceness",))


def test_a_base_record_has_no_extra_fields() -> None:
    base = lib.PYLAND_BASE_RECORD
    assert struct.calcsize(wire.record_format("pyland_queued", BASE_FIELDS, base)) == base
    with pytest.raises(ValueError, match="does not have all"):
        wire.record_format("pyland_queued", ("seq", "ppid"), base)


def test_policies_know_the_fields_of_a_record() -> None:
    names = [name for name, _ in ffi.typeof("struct pyland_queued").fields if name != "pad"]
    assert names == list(FIELDS)


def test_fields_out_of_order_are_refused() -> None:
    with pytest.raises(ValueError, match="comes earlier"):
        wire.record_format("pyland_queued", ("pid", "seq"))


def test_the_default_policy_asks_for_what_there_is() -> None:
    text = wire.record_format("pyland_queued", Deadline.fields)
    assert struct.calcsize(text) == ffi.sizeof("struct pyland_queued")


def test_a_cpus_counters_share_no_cache_line_with_another_cpus() -> None:
    assert ffi.sizeof("struct pyland_cpu") % 64 == 0


def test_every_total_has_a_source() -> None:
    made = {"running", "held", "cycles", "groups", "page_faults"}
    assert set(TOTALS) - made <= set(wire.numbers("pyland_cpu"))
