# SPDX-License-Identifier: GPL-2.0-only
"""A sched_ext CPU scheduler for Linux whose policy is a Python class.

The names below, `pyland.policy` and `pyland.testing` are the public interface; it changes
only as the package's version says.
"""

from pyland.policy import (
    BASE_FIELDS,
    CPU_ANY,
    DECISION_FIELDS,
    EXTRA_FIELDS,
    FIELDS,
    NR_CLASSES,
    PREEMPT,
    Batch,
    Decision,
    Machine,
    Option,
    Policy,
    Slices,
    Task,
    TaskPool,
    class_flags,
    domain_queue,
    option,
)
from pyland.topology import Cpu, Topology

__all__ = [
    "BASE_FIELDS",
    "CPU_ANY",
    "DECISION_FIELDS",
    "EXTRA_FIELDS",
    "FIELDS",
    "NR_CLASSES",
    "PREEMPT",
    "Batch",
    "Cpu",
    "Decision",
    "Machine",
    "Option",
    "Policy",
    "Slices",
    "Task",
    "TaskPool",
    "Topology",
    "class_flags",
    "domain_queue",
    "option",
]
