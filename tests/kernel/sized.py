# SPDX-License-Identifier: GPL-2.0-only
"""`layered`, which says when it has given other CPUs to its layers."""

from __future__ import annotations

import time

from pyland.policies.layered.policy import Layered


class Sized(Layered):
    """Prints the time, and the CPUs and the use of each layer, when a layer's CPUs change."""

    _shown: tuple[int, ...] = ()

    def tick(self) -> None:
        super().tick()
        sizer = self._work.sizer
        cpus = tuple(sizer.cpus)
        if cpus != self._shown:
            self._shown = cpus
            use = [f"{one.owned:.2f}+{one.open:.2f}" for one in sizer.utilisation]
            print("sized", time.monotonic_ns(), *(f"{mask:x}" for mask in cpus), *use)
