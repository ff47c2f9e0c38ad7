# SPDX-License-Identifier: GPL-2.0-only
"""Which instructions a guest executes, one after the other: an exact profile of a few cycles.

Most of scheduling runs with interrupts off, where a sampler sees nothing; the emulator sees all.
The recorder starts when the guest makes the file `record` in /run/lab, and stops when the guest
removes it: QEMU translates each instruction by itself and logs its address, which takes a
microsecond for each. The file `recording` exists meanwhile.
"""

from __future__ import annotations

import os
import select
import socket
import threading
import time
from array import array
from pathlib import Path

_LOOK_EVERY_S = 0.05
# QEMU writes to the pipe for a moment after it was told to stop.
_QUIET_S = 1.0


class Recorder(threading.Thread):
    """Records when the guest asks for it; the addresses go to a file, eight bytes for each."""

    def __init__(self, control: Path, output: Path) -> None:
        super().__init__(daemon=True)
        self._control, self._output = control, output
        self._monitor = control / "monitor"
        self._pipe = control / "instructions"
        os.mkfifo(self._pipe)

    def arguments(self) -> list[str]:
        """Arguments for QEMU."""
        path = str(self._monitor).replace(",", ",,")
        return ["-monitor", f"unix:{path},server=on,wait=off"]

    def run(self) -> None:
        """Ends after the first recording, or with the guest."""
        wish = self._control / "record"
        while not wish.exists():
            time.sleep(_LOOK_EVERY_S)
        # Opened for both directions: an open for one waits for the other end.
        pipe = os.open(self._pipe, os.O_RDWR)
        addresses = array("Q")
        with socket.socket(socket.AF_UNIX) as monitor:
            monitor.connect(str(self._monitor))
            self._tell(monitor, f"logfile {self._pipe}", "one-insn-per-tb on", "log exec,nochain")
            (self._control / "recording").touch()
            rest, stopped = b"", False
            while True:
                if select.select([pipe], [], [], _QUIET_S)[0]:
                    *lines, rest = (rest + os.read(pipe, 1 << 20)).split(b"\n")
                    addresses.extend(filter(None, map(_address, lines)))
                elif stopped:
                    break
                if not stopped and not wish.exists():
                    stopped = True
                    self._tell(monitor, "log none", "one-insn-per-tb off")
        self._output.write_bytes(addresses.tobytes())
        (self._control / "recording").unlink()
        os.close(pipe)

    def _tell(self, monitor: socket.socket, *commands: str) -> None:
        for command in commands:
            monitor.sendall(command.encode() + b"\n")


def _address(line: bytes) -> int:
    """The second number in `Trace 0: 0x7f0012345678 [00000000/ffffffff81790562/18c0c2b0/...]`."""
    if not line.startswith(b"Trace "):
        return 0
    return int(line.split(b"/", 2)[1], 16)


def read(path: Path) -> array[int]:
    """The addresses that a recorder wrote, in their order."""
    return array("Q", path.read_bytes())
