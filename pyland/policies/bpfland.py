# SPDX-License-Identifier: GPL-2.0-only
"""Fair shares, with more credit for tasks that wake up often."""

from __future__ import annotations

from pyland.policy import CPU_ANY, Batch, Interim, Policy, option

# V starts here, so that a state of 0 means "no state yet".
_ORIGIN_NS = 1 << 36
_FREQUENCY_WINDOW_NS = 100_000_000
_FREQUENCY_MAX = 64
_BUSY_NS = 500_000_000


class Bpfland(Policy):
    """Fair shares, with more credit for tasks that wake up often (scx_bpfland).

    The key is virtual time plus the weighted CPU time since the last wakeup. A task that
    slept comes back with a credit of `slice_lag_us`, multiplied by its wakeups per 100 ms
    while few tasks wait; if the queue is half a second long, the credit is not multiplied.
    Slices shrink with the number of tasks that wait.

    From scx_bpfland 1.1.2. It differs where a policy sees less: V and the used time are
    known when a task is queued, not when it starts and stops; one count of waiting tasks
    stands for the queues of a CPU and a node; BPF finds idle CPUs. As in scx_bpfland, a
    task of low weight that never sleeps gets less than its share beside heavier tasks.
    """

    fields = (
        "seq",
        "pid",
        "weight",
        "used_ns",
        "awake_runtime_ns",
        "state",
        "wakeup_interval_ns",
    )

    lasts_ns = 100_000_000
    interim: Interim = "vtime"

    slice_us: int = option(1000, "the longest slice, divided by the tasks that wait", least=100)
    slice_min_us: int = option(100, "the shortest slice", least=100)
    slice_lag_us: int = option(40_000, "credit of a task that slept", least=0, most=1_000_000)

    def __init__(self) -> None:
        """No task has run yet."""
        self.resized()
        self._vtime_now = _ORIGIN_NS

    def resized(self) -> None:
        """Slices follow the number of tasks that wait."""
        self._nr_cpus = len(self.machine.topology.online)

    def decide(self, batch: Batch) -> list[int]:
        """Decide every task at once; its state is its virtual time."""
        base_ns, least_ns = self.slice_us * 1000, self.slice_min_us * 1000
        lag_ns = self.slice_lag_us * 1000
        vtime_now = self._vtime_now
        waiting = max(batch.nr_runnable - self._nr_cpus, 0)
        depth = max(_BUSY_NS // base_ns, 1)
        busy = waiting * base_ns >= _BUSY_NS
        shared_ns = base_ns // max(waiting, 1)
        out: list[int] = []
        for seq, pid, weight, used_ns, awake_ns, state, interval_ns in batch.rows:
            scale = 1
            if interval_ns and not busy:
                frequency = min(_FREQUENCY_WINDOW_NS // interval_ns, _FREQUENCY_MAX)
                scale = max(frequency * depth // (depth + waiting), 1)
            if state > vtime_now:
                vtime_now = state
            # A task uses more than the credit only while no other task waits: that is no debt.
            charged_ns = (used_ns if used_ns < lag_ns else lag_ns) * 100 // weight
            vtime_ns = state + charged_ns if state else vtime_now
            floor_ns = vtime_now - lag_ns * scale * weight // 100
            if floor_ns < 0:
                floor_ns = 0
            if vtime_ns < floor_ns:
                vtime_ns = floor_ns
            awake_most_ns = awake_ns if awake_ns < lag_ns else lag_ns
            slice_ns = shared_ns * weight // 100
            out += (
                seq,
                pid,
                CPU_ANY,
                slice_ns if slice_ns > least_ns else least_ns,
                vtime_ns + awake_most_ns * 100 // weight,
                vtime_ns or 1,
                0,
            )
        self._vtime_now = vtime_now
        return out
