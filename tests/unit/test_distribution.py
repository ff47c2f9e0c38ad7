# SPDX-License-Identifier: GPL-2.0-only
"""Histograms: buckets, percentiles, and the text that bpftrace's readers know."""

from __future__ import annotations

import random

import pytest

from pyland.stats.distribution import (
    MEASURES,
    NR_BUCKETS,
    Distribution,
    bucket_limit,
    bucket_start,
    drawn,
    summary,
)
from tests.support.native_arithmetic import native

WAKEUP = MEASURES[0]
QUEUE = MEASURES[-1]


def _of(**numbers: int) -> Distribution:
    """Numbers of buckets: `_of(b3=5)` has five values of [4, 8)."""
    buckets = [0] * NR_BUCKETS
    for name, number in numbers.items():
        buckets[int(name[1:])] = number
    total = sum(bucket_start(bucket) * number for bucket, number in enumerate(buckets))
    return Distribution(total * 1000, buckets)


def test_bpf_puts_each_number_in_the_bucket_that_has_it() -> None:
    numbers = [0, 1, 2, 3, 4, 7, 8, 1023, 1024, (1 << 30) - 1, 1 << 30, 1 << 31, (1 << 64) - 1]
    numbers += [random.getrandbits(random.randrange(1, 33)) for _ in range(2000)]
    for number in numbers:
        bucket = native().bucket_of(number)
        assert bucket_start(bucket) <= number
        assert number < bucket_limit(bucket) or bucket == NR_BUCKETS - 1


def test_it_looks_as_bpftrace_prints_it() -> None:
    """The form of `hist()` in bpftrace 0.19 and later: columns, labels and bars."""
    lines = list(drawn(_of(b0=1, b1=2, b2=0, b3=40, b10=13, b11=80, b21=7).buckets))
    assert lines[:4] == [
        "[0]                    1 |                                                    |",
        "[1]                    2 |@                                                   |",
        "[2, 4)                 0 |                                                    |",
        "[4, 8)                40 |@@@@@@@@@@@@@@@@@@@@@@@@@@                          |",
    ]
    assert (
        "[512, 1K)             13 |@@@@@@@@                                            |" in lines
    )
    assert lines[11] == f"[1K, 2K)              80 |{'@' * 52}|"
    assert (
        lines[-1]
        == "[1M, 2M)               7 |@@@@                                                |"
    )
    assert len(lines) == 22


def test_empty_ends_are_left_out_and_nothing_is_no_line() -> None:
    assert [line.split()[0] for line in drawn(_of(b5=1, b7=2).buckets)] == ["[16,", "[32,", "[64,"]
    assert list(drawn(_of().buckets)) == []


def test_bars_are_those_of_a_division_with_32_bits() -> None:
    """1 of 49, times 49 for the width: in 64 bits some such bars would be one longer."""
    for number, most in ((1, 52), (13, 52), (999_999_937, 999_999_938), (41, 79)):
        first, second = drawn(_of(b4=number, b5=most).buckets)
        exact = number * 52 / most
        assert exact - 1.001 <= first.count("@") <= exact + 0.001
        assert second.count("@") == 52


@pytest.mark.parametrize("percent", [0.1, 50, 90, 99, 99.9, 100])
def test_a_percentile_is_in_the_bucket_of_the_exact_one(percent: float) -> None:
    generator = random.Random(percent)
    values = sorted(int(generator.expovariate(1 / 300)) for _ in range(5000))
    buckets = [0] * NR_BUCKETS
    for value in values:
        buckets[value.bit_length()] += 1
    found = Distribution(sum(values) * 1000, buckets).percentile(percent)
    exact = values[max(-int(-len(values) * percent // 100), 1) - 1]
    bucket = exact.bit_length()
    assert bucket_start(bucket) <= found <= bucket_limit(bucket)


def test_percentiles_of_few_values() -> None:
    assert _of().percentile(50) == 0
    assert _of(b0=10).percentile(99) == 0
    assert _of(b1=10).percentile(99) == 1
    half = _of(b4=50, b8=50)
    assert half.percentile(50) == 16
    assert 128 < half.percentile(51) < 256
    assert half.percentile(100) == 256


def test_the_summary_has_the_unit() -> None:
    assert summary(_of(b4=3), WAKEUP) == (
        "p50 12, p90 15.2, p99 15.9, p99.9 16, average 8 us; 3 values"
    )
    length = Distribution(6, _of(b2=3).buckets)
    assert summary(length, QUEUE).endswith("average 2 tasks; 3 values")
