# SPDX-License-Identifier: GPL-2.0-only
"""A sched_ext CPU scheduler for Linux whose brain is a Python class.

What is named here, `pyland.policy` and `pyland.testing` are the public interface; it
changes only as the package's version says.
"""

from pyland.policy import (
    CPU_ANY,
    DECISION_FIELDS,
    PREEMPT,
    Batch,
    Machine,
    Policy,
    Slices,
    Task,
    domain_queue,
    option,
)

__all__ = [
    "CPU_ANY",
    "DECISION_FIELDS",
    "PREEMPT",
    "Batch",
    "Machine",
    "Policy",
    "Slices",
    "Task",
    "domain_queue",
    "option",
]
