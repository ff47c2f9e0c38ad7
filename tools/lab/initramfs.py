# SPDX-License-Identifier: GPL-2.0-only
"""The first file system of the lab's guest: a shell, the modules that 9p needs, one script."""

from __future__ import annotations

import lzma
from pathlib import Path

BUSYBOX = Path("/bin/busybox")

# The guest's root is the host's, read-only; the working tree is writable at its own path. Both are
# cached without revalidation, because only the guest writes there while it runs: importing Python
# over an uncached 9p takes ten times as long. One static program does everything, because each
# program of the host, with its libraries, takes half a second to come over 9p.
#
# Where instructions are counted, the emulated CPUs take turns. A turn lasts half of the time to the
# next event of a device, usually 1.5 ms, and an interrupt for the other CPU waits so long. The
# clock chip's periodic interrupt, which the kernel does not use (it has the HPET), keeps turns
# below 61 us: schbench's longest wakeups are 0.1 ms with it, and 1.6 ms without.
INIT = """#!/bin/sh
b=/bin/busybox
$b mkdir -p /proc /sys /dev /new
$b mount -t devtmpfs dev /dev
for module in $($b cat /modules/order 2>/dev/null); do
    $b insmod /modules/$module
done
nine="-t 9p -o trans=virtio,version=9p2000.L,msize=512000"
$b mount $nine,ro,cache=loose root /new || $b poweroff -f
for folder in tmp run var/tmp; do
    $b mount -t tmpfs -o mode=1777 tmp /new/$folder
done
$b mkdir -p /new/run/lab
$b mount $nine,cache=none control /new/run/lab
if [ -e /new/run/lab/config ]; then
    $b mount -t tmpfs boot /new/boot
    $b ln -s /run/lab/config "/new/boot/config-$($b uname -r)"
fi
$b mount -t proc proc /new/proc
$b mount -t sysfs sys /new/sys
$b mount -t cgroup2 cgroup2 /new/sys/fs/cgroup
$b mount -t bpf bpf /new/sys/fs/bpf
$b mount -t debugfs debug /new/sys/kernel/debug 2>/dev/null
$b mount -t tracefs trace /new/sys/kernel/tracing 2>/dev/null
$b mkdir -p /dev/shm /dev/pts
$b mount -t tmpfs shm /dev/shm
$b mount -t devpts -o mode=620,ptmxmode=666 devpts /dev/pts
$b ln -s /proc/self/fd /dev/fd
for number in 0:stdin 1:stdout 2:stderr; do
    $b ln -s /proc/self/fd/${number%:*} /dev/${number#*:}
done
$b mount --move /dev /new/dev
$b ip link set lo up
$b hostname lab
. /new/run/lab/environment
$b mkdir -p "/new$LAB_TREE"
$b mount $nine,cache=loose tree "/new$LAB_TREE"
if [ -n "$LAB_SHARE" ]; then
    $b mkdir -p "/new$LAB_CWD"
    $b mount $nine,cache=loose share "/new$LAB_CWD"
fi
if [ -n "$LAB_SHORT_TURNS" ]; then
    # Register A: 8192 times a second. Register B: with the interrupt.
    for step in 112:012 113:043 112:013 113:102; do
        $b printf "\\\\${step#*:}" | $b dd of=/new/dev/port bs=1 seek=${step%:*} conv=notrunc
    done 2>/dev/null
fi
$b cp $b /new/run/busybox
exec $b switch_root /new /run/busybox sh /run/lab/guest.sh
"""

# The guest's first process. The exit status goes through the control folder. The command runs in
# the foreground: a shell makes background commands ignore Ctrl-C. Its output goes through pipes:
# programs write colours to a terminal, and a port opens only once, while /dev/stdout may be opened
# again. The script does not wait for processes that outlive the command.
GUEST = """
b=/run/busybox
for port in /sys/class/virtio-ports/*; do
    read -r name <$port/name
    eval "port_$name=/dev/${port##*/}"
done
$b mkfifo /run/out /run/err
$b cat /run/out >$port_out &
out=$!
$b cat /run/err >$port_err &
err=$!
(cd "$LAB_CWD" && exec sh /run/lab/command) </dev/null >/run/out 2>/run/err
status=$?
{ $b sleep 3; $b kill $out $err; } 2>/dev/null &
wait $out $err
$b sync
echo $status >/run/lab/status
$b poweroff -f
"""


def load_order(modules: Path, names: list[str]) -> list[Path]:
    """These modules and their dependencies, each after its own; built-in modules are left out."""
    needs: dict[str, list[str]] = {}
    path_of: dict[str, str] = {}
    for line in (modules / "modules.dep").read_text().splitlines():
        path, _, rest = line.partition(":")
        name = _name(path)
        path_of[name] = path
        needs[name] = [_name(other) for other in rest.split()]
    order: list[str] = []

    def add(name: str) -> None:
        if name in order or name not in path_of:
            return
        for other in needs[name]:
            add(other)
        order.append(name)

    for name in names:
        add(name)
    return [modules / path_of[name] for name in order]


def _name(path: str) -> str:
    return path.rpartition("/")[2].partition(".ko")[0].replace("-", "_")


def _entry(name: str, mode: int, data: bytes) -> bytes:
    """One member of a cpio archive of the "newc" format, which the kernel unpacks."""
    fields = [0, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0]
    head = b"070701" + b"".join(f"{field:08X}".encode() for field in fields)
    head += name.encode() + b"\0"
    head += bytes(-len(head) % 4)
    return head + data + bytes(-len(data) % 4)


def build(modules: Path | None) -> bytes:
    """The archive, with uncompressed modules: busybox cannot read `.ko.xz`."""
    parts = [_entry(name, 0o40755, b"") for name in ("bin", "dev", "modules")]
    parts.append(_entry("bin/busybox", 0o100755, BUSYBOX.read_bytes()))
    parts.append(_entry("bin/sh", 0o120777, b"busybox"))
    parts.append(_entry("init", 0o100755, INIT.encode()))
    order = []
    if modules:
        wanted = ["virtio_pci", "9pnet_virtio", "9p"]
        for path in load_order(modules, wanted):
            data = path.read_bytes()
            name = f"{_name(path.name)}.ko"
            unpacked = lzma.decompress(data) if path.suffix == ".xz" else data
            parts.append(_entry(f"modules/{name}", 0o100644, unpacked))
            order.append(name)
    parts.append(_entry("modules/order", 0o100644, "\n".join(order).encode()))
    parts.append(_entry("TRAILER!!!", 0, b""))
    return b"".join(parts)
