# SPDX-License-Identifier: GPL-2.0-only
"""The options of scx_rusty, by their names there."""

from __future__ import annotations

from pyland.errors import UsageError
from pyland.policy import Policy, option


class RustyOptions(Policy):
    """Declares and checks them."""

    slice_us_underutil: int = option(20_000, "slice while a CPU idles", least=100, most=100_000)
    slice_us_overutil: int = option(1000, "slice while no CPU idles", least=100, most=100_000)
    interval: float = option(2.0, "seconds between rounds of the balancer", least=0.1, most=3600)
    tune_interval: float = option(0.1, "seconds between looks of the tuner", least=0.05, most=60)
    load_half_life: float = option(1.0, "half-life of all averages, in s", least=0.01, most=3600)
    cache_level: int = option(
        3, "a domain is a cache of this level; 3 is the last", least=1, most=4
    )
    cpumasks: str = option("", "a domain's CPUs each, instead: such as 0x0f,0xf0")
    greedy_threshold: int = option(
        1, "tasks that wait before idle CPUs of the node take one; 0: never", least=0, most=1 << 20
    )
    greedy_threshold_x_numa: int = option(
        0, "the same for CPUs of other nodes", least=0, most=1 << 20
    )
    no_load_balance: bool = option(False, "no task changes its domain for good")
    kthreads_local: bool = option(
        False, "kernel threads of one CPU run there at once; here they always do"
    )
    balanced_kworkers: bool = option(False, "kworkers are left to the kernel's own balancing")
    fifo_sched: bool = option(False, "first come, first served")
    direct_greedy_under: float = option(
        90.0,
        "percent; tasks go at once to idle CPUs of domains that are less busy",
        least=0,
        most=100,
    )
    kick_greedy_under: float = option(
        100.0, "percent; idle CPUs of such domains look for tasks that wait", least=0, most=100
    )
    direct_greedy_numa: bool = option(False, "tasks go at once to CPUs of other nodes, too")
    partial: bool = option(False, "only SCHED_EXT tasks: give the command --partial instead")
    mempolicy_affinity: bool = option(False, "prefer the nodes of a task's memory policy")
    perf: int = option(0, "performance that CPUs are set to, 0 is left alone", least=0, most=1024)

    def check_options(self) -> None:
        """Raise UsageError for options that pyland lacks, or that exclude each other."""
        if self.cpumasks.strip() and self.cache_level != 3:
            raise UsageError(
                "--policy-opt cache_level: cpumasks says already what a domain is; give one of them"
            )
        if self.cache_level != 3:
            raise UsageError(
                f"--policy-opt cache_level={self.cache_level}: only 3, the last-level cache, is "
                "known here; give cpumasks instead"
            )
        if self.partial:
            raise UsageError("--policy-opt partial: it is an option of pyland: give --partial")
        if self.mempolicy_affinity:
            raise UsageError(
                "--policy-opt mempolicy_affinity: memory policies of tasks are not known to pyland"
            )
