# SPDX-License-Identifier: GPL-2.0-only
"""Boots a kernel in QEMU on the machine's own file system and runs one command in it.

The guest's root is the host's, read-only over 9p. QEMU is called directly, with an initramfs that
has only a few modules: the guest does not boot through udev and a console, so it reaches the
command in 9 s on an idle machine under emulation, and the command's output has channels of its own.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tools.lab import initramfs, kvm, qemu, topology
from tools.lab.instructions import Recorder
from tools.lab.kernels import ROOT, Kernel

TIMED_OUT = 124
NO_BOOT = 125
# The guest mounts file systems of its own here, so it does not see the host's folders.
_HIDDEN = ("/tmp", "/run", "/var/tmp", "/dev", "/proc", "/sys")
_PASSED_ON = ("PYLAND_", "HYPOTHESIS_", "LANG", "TERM", "CI")
# Without the last argument khugepaged, of nice 19, works on any process. Beside hogs it holds the
# memory of a test's process for 0.3 to 0.6 s, under the default scheduler as well.
_ARGUMENTS = (
    "console=ttyS0 quiet loglevel=4 panic=-1 mitigations=off nokaslr no_timer_check "
    "random.trust_cpu=on rcupdate.rcu_expedited=1 cryptomgr.notests nowatchdog audit=0 "
    "initcall_blacklist=efi_runtime_map_init,pcie_portdrv_init "
    "transparent_hugepage=madvise"
)


class BootError(Exception):
    """The guest cannot run the command; the message may contain the last lines of the console."""


@dataclass(frozen=True)
class Guest:
    """What to boot and how."""

    kernel: Kernel
    layout: topology.Topology
    memory_mib: int = 2048
    icount: bool = False
    append: str = ""
    verbose: bool = False
    instructions: Path | None = None


def run(guest: Guest, command: Sequence[str], timeout_s: float) -> int:
    """The command's exit code; its output goes to this process's own stdout and stderr."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    for program in ("busybox", "setpriv"):
        if not shutil.which(program):
            raise BootError(f"{program} is missing: `make setup` installs it")
    with tempfile.TemporaryDirectory(prefix="pyland-vm-") as folder:
        control = Path(folder)
        _write_control(control, command, guest.icount)
        _give_config(control, guest.kernel.modules)
        recorder = Recorder(control, guest.instructions) if guest.instructions else None
        output, output_end = os.pipe()
        errors, errors_end = os.pipe()
        try:
            process = subprocess.Popen(
                [
                    *_qemu(guest, control, output_end, errors_end),
                    *(recorder.arguments() if recorder else ()),
                ],
                stdin=subprocess.DEVNULL,
                stdout=(control / "qemu.log").open("wb"),
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=[output_end, errors_end],
            )
        finally:
            os.close(output_end)
            os.close(errors_end)
        if recorder:
            recorder.start()
        try:
            return _follow(guest, process, (output, errors), control, timeout_s)
        finally:
            process.kill()
            process.wait()


def _follow(
    guest: Guest,
    process: subprocess.Popen[bytes],
    pipes: tuple[int, int],
    control: Path,
    timeout_s: float,
) -> int:
    unread = threading.Event()
    copies = [
        threading.Thread(target=_copy, args=(source, target, process, unread), daemon=True)
        for source, target in zip(pipes, (1, 2), strict=True)
    ]
    for copy in copies:
        copy.start()
    timed_out = False
    try:
        process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        timed_out = True
        process.kill()
    for copy in copies:
        copy.join(10)
    if timed_out:
        print(f"vm: gave up after {timeout_s:g} s{_last_lines(control)}", file=sys.stderr)
        return TIMED_OUT
    if unread.is_set():
        return 128 + signal.SIGPIPE
    if guest.verbose:
        print((control / "console").read_text(errors="replace"), file=sys.stderr)
    try:
        return int((control / "status").read_text())
    except (OSError, ValueError):
        raise BootError(f"{cause(control)}{_last_lines(control)}") from None


def _copy(
    source: int, target: int, process: subprocess.Popen[bytes], unread: threading.Event
) -> None:
    """Copy until QEMU ends; when the output has no reader, end QEMU as SIGPIPE would."""
    while data := os.read(source, 65536):
        try:
            while data:
                data = data[os.write(target, data) :]
        except OSError:
            unread.set()
            process.kill()
            return


def cause(control: Path) -> str:
    """Why the guest ended, in one line: the first line of a panic, which is a screen long."""
    console = control / "console"
    text = console.read_text(errors="replace") if console.exists() else ""
    found = re.search(r"Kernel panic - .*|BUG: .*|Oops: .*", text)
    return f"the guest ended before the command did{': ' + found[0].strip() if found else ''}"


def _last_lines(control: Path) -> str:
    lines = []
    for name in ("qemu.log", "console"):
        if (control / name).exists():
            lines += (control / name).read_text(errors="replace").strip().splitlines()[-60:]
    return "".join(f"\n  | {line}" for line in lines)


def _write_control(control: Path, command: Sequence[str], icount: bool) -> None:
    (control / "command").write_text(f"exec {shlex.join(command)}\n")
    (control / "guest.sh").write_text(initramfs.GUEST)
    path = f"{ROOT}/.venv/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    variables = {k: v for k, v in os.environ.items() if k.startswith(_PASSED_ON)}
    variables |= {
        "PATH": path,
        "HOME": "/tmp",
        "LAB_TREE": str(ROOT),
        "LAB_CWD": str(Path.cwd()),
        "LAB_SHARE": "yes" if needs_share(Path.cwd()) else "",
        "LAB_SHORT_TURNS": "yes" if icount else "",
    }
    lines = [f"export {name}={shlex.quote(value)}" for name, value in variables.items()]
    (control / "environment").write_text("\n".join(lines) + "\n")


def _give_config(control: Path, modules: Path | None) -> None:
    """Give the guest's /boot the kernel's configuration: some scx_* schedulers need it to load."""
    if modules and (modules / "config").is_file():
        shutil.copyfile(modules / "config", control / "config")


def needs_share(folder: Path) -> bool:
    """True if the guest needs a share to see this folder: it has a `/tmp`, a `/run` of its own."""
    if folder.is_relative_to(ROOT) or str(folder) in _HIDDEN:
        return False
    return any(folder.is_relative_to(hidden) for hidden in _HIDDEN)


def emulation(guest: Guest) -> list[str]:
    if guest.icount:
        return ["-accel", "tcg", "-icount", "shift=0,sleep=off", "-rtc", "clock=vm"]
    # With many more threads than the host has processors, threads mostly wait for a thread that
    # is not running: 64 CPUs on two processors boot in minutes, and in 50 s as one thread.
    many = guest.layout.cpus > 4 * (os.cpu_count() or 1)
    return ["-accel", f"tcg,thread={'single' if many else 'multi'}"]


def _qemu(guest: Guest, control: Path, output: int, errors: int) -> list[str]:
    try:
        emulator = qemu.find()
    except qemu.NoQemuError as error:
        raise BootError(str(error)) from error
    (control / "initramfs").write_bytes(initramfs.build(guest.kernel.modules))
    # QEMU ends with this process, also when this process is killed.
    words = ["setpriv", "--pdeathsig", "KILL", emulator.program, *emulator.arguments]
    words += ["-nodefaults", "-no-user-config", "-no-reboot"]
    words += ["-display", "none", "-machine", "q35", "-m", f"{guest.memory_mib}M"]
    if kvm.works() and not guest.icount:
        words += ["-accel", "kvm", "-cpu", "host"]
        clock = "tsc=reliable"
    else:
        words += [*emulation(guest), "-cpu", "max"]
        # With a reliable TSC the kernel patches sched_clock while other CPUs run it. Threads of
        # the emulation see changed code late, so one boot of six ended in the breakpoint of the
        # patch. Without it the kernel reads the HPET, which takes 2 to 4 us more. lpj is given
        # because a CPU that waits for its turn cannot measure it.
        clock = f"tsc={'unstable' if 'tcg,thread=multi' in words else 'reliable'} lpj=1000000"
    words += topology.qemu_arguments(guest.layout, guest.memory_mib)
    words += ["-kernel", str(guest.kernel.image), "-initrd", str(control / "initramfs")]
    words += ["-append", f"{_ARGUMENTS} {clock} {guest.append}".strip()]
    folders = {"root": Path("/"), "tree": ROOT, "control": control}
    if needs_share(Path.cwd()):
        folders["share"] = Path.cwd()
    for tag, path in folders.items():
        options = "multidevs=remap" + (",readonly=on" if tag == "root" else "")
        # In QEMU's options a comma of a name is written twice.
        name = str(path).replace(",", ",,")
        words += ["-fsdev", f"local,id={tag},path={name},security_model=none,{options}"]
        words += ["-device", f"virtio-9p-pci,fsdev={tag},mount_tag={tag}"]
    words += ["-device", "virtio-rng-pci"]
    words += ["-chardev", f"file,id=console,path={control}/console", "-serial", "chardev:console"]
    words += ["-device", "virtio-serial-pci"]
    for name, descriptor in (("out", output), ("err", errors)):
        words += ["-chardev", f"file,id={name},path=/dev/fd/{descriptor}"]
        words += ["-device", f"virtserialport,chardev={name},name={name}"]
    return words
