# SPDX-License-Identifier: GPL-2.0-only
"""A sched_ext CPU scheduler for Linux whose policy is a Python class.

The names below, `pyland.policy` and `pyland.testing` are the public interface; it changes
only as the package's version says.
"""

TYPE_CHECKING = False  # as `typing` has it, which a small command does not need
if TYPE_CHECKING:
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

# A command imports this file before its own, and `pyland status` is done sooner than all that a
# policy can use is imported: so each name is taken from its module when it is first asked for.
# Hidden from type checkers: they find a misspelt name because there is none of that name.
if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from pyland import policy, topology

        value = getattr(topology if name in ("Cpu", "Topology") else policy, name)
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
