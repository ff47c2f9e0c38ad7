# SPDX-License-Identifier: GPL-2.0-only
"""BPF's arithmetic is right for all numbers of a policy, a clock or a weight."""

from __future__ import annotations

from hypothesis import assume, given
from hypothesis import strategies as st

from tests.support.native_arithmetic import native

lib = native()

WRAPS = 1 << 64
YEAR_NS = 365 * 24 * 3600 * 10**9

anything = st.integers(0, WRAPS - 1) | st.sampled_from(
    [0, 1, (1 << 63) - 1, 1 << 63, (1 << 63) + 1, WRAPS - 1]
)
weights = st.integers(1, 10_000)
slices = st.integers(1, 10**10)
longest = st.integers(100_000, 10**10)


def signed(value: int) -> int:
    """A number of 64 bits as BPF compares it."""
    return (value + WRAPS // 2) % WRAPS - WRAPS // 2


@given(anything, anything)
def test_an_average_lies_between_the_two(old: int, new: int) -> None:
    assume(old)
    assert min(old, new) <= lib.average(old, new) <= max(old, new)
    assert lib.average(0, new) == new


@given(anything, anything, longest)
def test_every_slice_becomes_one_that_a_machine_can_live_with(
    one: int, other: int, longest_ns: int
) -> None:
    ceil_ns = max(longest_ns, lib.SLICE_CEIL_NS)
    first, second = (lib.slice_within(each, longest_ns) for each in sorted((one, other)))
    assert lib.SLICE_FLOOR_NS <= first <= second <= ceil_ns
    assert lib.slice_within(first, longest_ns) == first
    if lib.SLICE_FLOOR_NS <= one <= ceil_ns:
        assert lib.slice_within(one, longest_ns) == one


@given(slices, weights, longest)
def test_no_weight_makes_a_slice_of_ones_own_a_mistake(
    slice_ns: int, weight: int, longest_ns: int
) -> None:
    own_ns = lib.slice_of_weight(min(slice_ns, longest_ns), weight)
    assert not lib.is_no_slice(own_ns, longest_ns)
    assert lib.is_no_slice(max(longest_ns, lib.SLICE_CEIL_NS) * 100 + 1, longest_ns)
    assert lib.is_no_slice(WRAPS - 1, longest_ns)


@given(slices, weights, weights)
def test_a_slice_grows_with_the_weight_and_back(slice_ns: int, weight: int, other: int) -> None:
    light, heavy = (lib.slice_of_weight(slice_ns, each) for each in sorted((weight, other)))
    assert light <= heavy
    assert lib.slice_of_weight(slice_ns, 100) == slice_ns
    # Rounded down twice, each time by less than one at its own scale.
    back = lib.slice_at_weight_100(lib.slice_of_weight(slice_ns, weight), weight)
    assert slice_ns - 100 // weight - 1 <= back <= slice_ns


@given(slices)
def test_a_weight_that_is_not_known_yet_divides_by_nothing(slice_ns: int) -> None:
    assert lib.slice_at_weight_100(slice_ns, 0) == slice_ns
    assert lib.slice_within(lib.slice_of_weight(slice_ns, 0), 1) == lib.SLICE_FLOOR_NS
    assert lib.vtime_after(5, slice_ns, 0, 10**10) == 5 + slice_ns * 100


@given(st.integers(0, 10**11), st.integers(0, 10**11), longest)
def test_a_task_that_ran_here_is_preferred_within_a_slice_or_two(
    one_ns: int, other_ns: int, longest_ns: int
) -> None:
    least_ns, most_ns = sorted((one_ns, other_ns))
    within_ns = lib.near_within_ns(most_ns, longest_ns)
    assert most_ns <= within_ns <= max(most_ns, longest_ns // 2)
    assert within_ns <= 2 * most_ns
    assert lib.near_within_ns(least_ns, longest_ns) <= within_ns
    assert lib.near_within_ns(longest_ns // 4, longest_ns) >= longest_ns // 4 * 2


@given(anything, anything)
def test_the_usual_slice_grows_at_once_and_shrinks_slowly(usual_ns: int, slice_ns: int) -> None:
    after_ns = lib.usual_slice_ns(usual_ns, slice_ns)
    if slice_ns >= usual_ns:
        assert after_ns == slice_ns
    elif slice_ns == 0:
        assert after_ns == usual_ns
    else:
        assert usual_ns - usual_ns // 4 <= after_ns <= usual_ns


@given(slices, anything, longest)
def test_the_slices_of_a_decision_are_a_longest_one_at_most(
    slice_ns: int, wanted: int, longest_ns: int
) -> None:
    nr = lib.granted_slices(slice_ns, wanted, longest_ns)
    assert nr >= 1
    assert nr == 1 or (nr <= wanted and nr * slice_ns <= longest_ns)
    assert nr >= wanted or (nr + 1) * slice_ns > longest_ns


@given(slices, weights, st.booleans(), anything, anything, anything, slices)
def test_a_decision_lasts_alike_at_every_time(
    left_ns: int, weight: int, asleep: bool, until_ns: int, now_ns: int, shift: int, usual_ns: int
) -> None:
    """Only the difference of the two times counts, also across the point where they wrap."""

    def lasts(woke_up: bool, by_ns: int = 0) -> bool:
        until, now = (until_ns + by_ns) % WRAPS, (now_ns + by_ns) % WRAPS
        return bool(lib.slice_continues(left_ns, weight, woke_up, asleep, until, now, usual_ns))

    assert lasts(True) == lasts(True, shift)
    # A task that did not sleep continues at any time: only a sleep ends its decision.
    assert lasts(False) == lasts(False, shift) >= lasts(True)
    if lasts(True):
        assert asleep
        assert signed(until_ns - now_ns) > 0
    if lasts(False):
        assert left_ns >= lib.SLICE_FLOOR_NS
        assert left_ns * 100 // weight <= usual_ns


@given(anything, anything, anything)
def test_a_key_stays_within_sight_of_those_that_run(vtime_ns: int, now_ns: int, shift: int) -> None:
    assume(now_ns and (now_ns + shift) % WRAPS)
    kept_ns = lib.vtime_within(vtime_ns, now_ns)
    assert abs(signed(kept_ns - now_ns)) <= lib.VTIME_WINDOW_NS
    assert lib.vtime_within(kept_ns, now_ns) == kept_ns
    if abs(signed(vtime_ns - now_ns)) <= lib.VTIME_WINDOW_NS:
        assert kept_ns == vtime_ns
    shifted_ns = lib.vtime_within((vtime_ns + shift) % WRAPS, (now_ns + shift) % WRAPS)
    assert shifted_ns == (kept_ns + shift) % WRAPS


@given(anything, anything, anything)
def test_keys_keep_their_order(one: int, other: int, now_ns: int) -> None:
    assume(now_ns)
    ahead, behind = sorted((one, other), key=lambda each: signed(each - now_ns))
    kept = [lib.vtime_within(each, now_ns) for each in (ahead, behind)]
    assert signed(kept[1] - kept[0]) >= 0


@given(anything)
def test_the_first_keys_of_a_policy_are_its_own(vtime_ns: int) -> None:
    kept_ns = lib.vtime_within(vtime_ns, 0)
    if vtime_ns < lib.VTIME_FIRST_MAX_NS:
        assert kept_ns == vtime_ns
    else:
        assert abs(signed(kept_ns)) <= lib.VTIME_WINDOW_NS


@given(anything, anything, anything, weights, weights, longest)
def test_a_key_goes_on_by_what_was_used_and_never_back(
    last_ns: int, used_ns: int, more_ns: int, weight: int, other: int, longest_ns: int
) -> None:

    def gone_on(used: int, by: int) -> int:
        return signed(lib.vtime_after(last_ns, used, by, longest_ns) - last_ns)

    less, more = sorted((used_ns, more_ns))
    light, heavy = sorted((weight, other))
    assert 0 <= gone_on(less, weight) <= gone_on(more, weight) <= longest_ns * 100
    assert gone_on(used_ns, heavy) <= gone_on(used_ns, light)
    assert gone_on(used_ns, 100) == min(used_ns, longest_ns)


@given(anything, st.integers(0, YEAR_NS), anything, slices, anything)
def test_which_task_is_due_later_does_not_depend_on_where_keys_are(
    running_ns: int, ran_ns: int, vtime_ns: int, margin_ns: int, shift: int
) -> None:
    later = lib.is_due_later(running_ns, ran_ns, vtime_ns, margin_ns)
    shifted = ((running_ns + shift) % WRAPS, ran_ns, (vtime_ns + shift) % WRAPS, margin_ns)
    assert later == lib.is_due_later(*shifted)
    assert not lib.is_due_later(vtime_ns, 0, vtime_ns, margin_ns)
    assert not lib.is_due_later(vtime_ns, margin_ns, vtime_ns, margin_ns)
    assert lib.is_due_later(vtime_ns, margin_ns + 1, vtime_ns, margin_ns)


@given(st.integers(0, WRAPS // 2), st.integers(0, WRAPS // 2), st.integers(0, YEAR_NS))
def test_steps_of_keys_keep_their_order(vtime_ns: int, other_ns: int, step_ns: int) -> None:
    least_ns, most_ns = sorted((vtime_ns, other_ns))
    first_ns = lib.vtime_in_steps(least_ns, step_ns)
    assert first_ns <= lib.vtime_in_steps(most_ns, step_ns)
    assert 0 <= first_ns - least_ns < max(step_ns, 1)
    assert lib.vtime_in_steps(first_ns, step_ns) == first_ns


@given(slices, st.integers(0, YEAR_NS), slices, st.integers(0, 100_000), st.integers(1, 10_000))
def test_a_step_of_keys_is_short_where_distances_are(
    longest_ns: int, margin_ns: int, usual_ns: int, nr_waiting: int, nr_cpus: int
) -> None:
    """It is within what `deadline` has between tasks that wake up and those that compute."""
    step_ns = lib.key_step_ns(longest_ns, margin_ns, usual_ns, nr_waiting, nr_cpus)
    without_crowd_ns = min(longest_ns // 2, margin_ns + usual_ns)
    halved = [without_crowd_ns >> times for times in range(lib.KEY_STEP_HALVES + 1)]
    within = [each for each in halved if each <= 32 * longest_ns * nr_cpus // max(nr_waiting, 1)]
    assert step_ns == (within or halved[-1:])[0]


@given(st.integers(0, YEAR_NS))
def test_a_task_may_yield_soon(cost_ns: int) -> None:
    assert lib.yields_after(cost_ns) == min(cost_ns, 250_000)


@given(st.integers(0, YEAR_NS), st.integers(0, YEAR_NS), slices)
def test_a_pause_is_no_longer_than_the_shortest_slice(
    cost_ns: int, other_ns: int, shortest_ns: int
) -> None:
    first, second = (lib.pause_after(each, shortest_ns) for each in sorted((cost_ns, other_ns)))
    assert 0 <= first <= second <= shortest_ns
    assert lib.pause_after(0, shortest_ns) == 0
    assert lib.pause_after(100, 10**6) == 100 * lib.SCHED_PAUSE_CYCLES


@given(anything, slices, st.integers(0, YEAR_NS))
def test_preemptions_for_user_space_keep_their_distance(
    kick_ns: int, pause_ns: int, later_ns: int
) -> None:
    wait_ns = lib.preempts_again_in(kick_ns, pause_ns, (kick_ns + later_ns) % WRAPS)
    assert wait_ns == pause_ns + lib.WAKEUP_KICK_NS - later_ns


@given(anything, slices, st.integers(0, YEAR_NS))
def test_a_timer_never_rings_at_once(since_ns: int, slice_ns: int, ran_ns: int) -> None:
    wait_ns = lib.slice_ends_in(since_ns, slice_ns, (since_ns + ran_ns) % WRAPS)
    assert wait_ns == max(slice_ns - ran_ns, lib.PREEMPT_DELAY_NS)


@given(st.integers(1, 10_000 << 16), st.integers(0, 10**6 << 16), weights)
def test_an_effective_weight_is_a_part_of_the_share(share: int, load: int, weight: int) -> None:
    """The weight is in 256ths, at least 1, and at most all of the group's share."""
    got = lib.weight_in_group(share, load, weight)
    wanted = share * weight / max(load, weight << 16) * 256
    assert 256 <= got <= 10_000 << 8
    if 256 < got < 10_000 << 8:
        assert abs(got - wanted) <= wanted * 0.01 + 1


@given(st.integers(256, 64 << 8))
def test_rounding_a_weight_keeps_what_cpu_time_counts(weight: int) -> None:
    """The average of 1/weight has to be right, because a key grows by that."""
    samples = range(0, 1 << 16, 61)
    whole = weight >> 8
    grown = sum(1 / (whole + lib.rounds_up(weight, random)) for random in samples)
    assert abs(grown / len(samples) * weight / 256 - 1) < 0.005
