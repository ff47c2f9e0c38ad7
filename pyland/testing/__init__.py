# SPDX-License-Identifier: GPL-2.0-only
"""A machine in virtual time, to try policies on: no root, no kernel, no waiting.

    from pyland.testing import OfflineMachine, make_topology

    machine = OfflineMachine(make_topology(cpus=2), MyPolicy)
    hog = machine.add("hog")
    machine.wake(hog)
    machine.run(100_000_000)
    print(machine.trace)

The same inputs always give the same decisions.
"""

from pyland.testing.layout import make_topology
from pyland.testing.machine import OfflineMachine
from pyland.testing.task import OfflineTask
from pyland.testing.trace import Decided, Trace

__all__ = ["Decided", "OfflineMachine", "OfflineTask", "Trace", "make_topology"]
