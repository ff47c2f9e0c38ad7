# SPDX-License-Identifier: GPL-2.0-only
"""Policies made of policies: each part schedules its own tasks on its own CPUs.

`Composed` is the policy to derive from, `Part` says what a part is. `seat` has a policy at work in
its part, `part_machine` the machine that it sees, `composed` sorts tasks into parts.
"""

from pyland.compose.composed import TRANSPORT, Composed
from pyland.compose.part import Part
from pyland.compose.place import MENDING

__all__ = ["MENDING", "TRANSPORT", "Composed", "Part"]
