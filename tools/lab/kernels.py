# SPDX-License-Identifier: GPL-2.0-only
"""Kernels with sched_ext for the lab: Debian's own, or one that lies in a folder.

Debian 13's backports and the next Debian have the 7.x series with sched_ext. The lab offers only
kernels for which the archive has the modules too: it needs the module of its file system. A kernel
that loads no sched_ext scheduler (see btf.py) is booted only if it is named by its whole version.
"""

from __future__ import annotations

import dataclasses
import fcntl
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tools.build import toolchain
from tools.lab import btf, debian

SUITES = ("trixie-backports", "forky")
ROOT = Path(__file__).resolve().parents[2]
_VERSION = r"7\.\d+\.\d+\+deb\d+-amd64"
_ZSTD = b"\x28\xb5\x2f\xfd"
_PVH_NOTE = struct.pack("<I", 18) + b"Xen\0"  # XEN_ELFNOTE_PHYS32_ENTRY


class NoKernelError(Exception):
    """There is no such kernel here; the message is one line."""


@dataclass(frozen=True)
class Kernel:
    """A kernel to boot; without `modules` everything it needs is built in."""

    version: str
    image: Path
    modules: Path | None


def cache() -> Path:
    """Where kernels stay from one boot to the next, outside the repository."""
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(home) / "pyland" / "kernels"


def number(version: str) -> tuple[int, ...]:
    """A key for sorting: the numbers of `7.3.4+deb13-amd64` or `6.12.117`."""
    return tuple(int(part) for part in re.findall(r"\d+", version.partition("+")[0]))


def candidates(wanted: str, versions: Iterable[str]) -> list[str]:
    """The versions that `newest`, `oldest`, a series or a version names, best first.

    Raises NoKernelError when there are none.
    """
    ordered = sorted(versions, key=number)
    if wanted in ("newest", "oldest"):
        found = ordered if wanted == "oldest" else ordered[::-1]
    else:
        start = number(wanted)
        found = [v for v in ordered if start and number(v)[: len(start)] == start][::-1]
    if not found:
        raise NoKernelError(f"no kernel {wanted}; there is: {', '.join(ordered) or 'none'}")
    return [wanted] if wanted in found else found


def find(wanted: str) -> Kernel:
    """The kernel to boot; a kernel of Debian's is downloaded once."""
    path = Path(wanted)
    if "/" in wanted:
        if not path.is_file():
            raise NoKernelError(f"no kernel image {wanted}")
        return Kernel(path.parent.name, path.resolve(), None)
    local = _local()
    if wanted not in ("newest", "oldest"):
        try:
            return local[candidates(wanted, local)[0]]
        except NoKernelError:
            pass
    # A name without numbers asks the archive once; later calls use the cache.
    kernel = _known(wanted) or _download(wanted)
    return dataclasses.replace(kernel, image=_unpacked(kernel.image))


def _known(wanted: str) -> Kernel | None:
    cached = _cached()
    pinned = _pin(wanted)
    if pinned.is_file() and pinned.read_text() in cached:
        return cached[pinned.read_text()]
    try:
        found = candidates(wanted, cached if number(wanted) else ())
    except NoKernelError:
        return None
    usable = (cached[v] for v in found if v == wanted or not uncallable(cached[v].image))
    return next(usable, None)


def _pin(wanted: str) -> Path:
    return cache() / f"usable-{wanted}"


def available() -> list[str]:
    """All versions that `find` takes, oldest first."""
    try:
        with tempfile.TemporaryDirectory() as state:
            offered = _offered(Path(state))
    except debian.DebianError:
        offered = {}
    return sorted({*offered, *_cached(), *_local()}, key=number)


def _local() -> dict[str, Kernel]:
    """Images in folders named by their version, with everything built in."""
    folder = Path(os.environ.get("PYLAND_KERNELS") or ROOT.parent / "shared" / "kernels")
    images = folder.glob("*/bzImage")
    return {path.parent.name: Kernel(path.parent.name, path.resolve(), None) for path in images}


def _cached() -> dict[str, Kernel]:
    return {
        path.parent.name: Kernel(path.parent.name, path, path.parent)
        for path in cache().glob("*/usr/lib/modules/*/vmlinuz")
        if (path.parent / "modules.dep").exists()
    }


def _offered(state: Path) -> dict[str, debian.Suite]:
    """Each version with the suite that has it."""
    found: dict[str, debian.Suite] = {}
    for name in SUITES:
        suite = debian.Suite(name, state / name)
        parts = [
            {n.removeprefix(f"linux-{part}-") for n in suite.names(f"linux-{part}-{_VERSION}")}
            for part in ("binary", "modules")
        ]
        found |= dict.fromkeys(parts[0] & parts[1], suite)
    return found


def _download(wanted: str) -> Kernel:
    cache().mkdir(parents=True, exist_ok=True)
    # A second lab that wants the same kernel waits for this download.
    with (cache() / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if kernel := _known(wanted):
            return kernel
        try:
            with tempfile.TemporaryDirectory(dir=cache(), prefix=".lists-") as state:
                version = _fetch(wanted, _offered(Path(state)))
        except debian.DebianError as error:
            raise NoKernelError(f"kernel {wanted} cannot be fetched: {error}") from error
        if not number(wanted):
            _pin(wanted).write_text(version)
        return _cached()[version]


def _fetch(wanted: str, offered: dict[str, debian.Suite]) -> str:
    """Downloads into the cache; the version that is there afterwards."""
    for version in candidates(wanted, offered):
        suite = offered[version]
        with tempfile.TemporaryDirectory(dir=cache(), prefix=".image-") as folder:
            # First only the image, a tenth of the whole.
            debian.unpack(suite, [f"linux-binary-{version}"], Path(folder) / "image")
            image = next(Path(folder).rglob("vmlinuz"))
            unusable = uncallable(image) if version != wanted else []
        if unusable:
            print(
                f"vm: not {version}: its BTF hides {len(unusable)} functions from schedulers, "
                f"such as {unusable[0]}",
                file=sys.stderr,
            )
            continue
        if version not in _cached():
            print(f"vm: downloading kernel {version}, once", file=sys.stderr)
            packages = [f"linux-{part}-{version}" for part in ("binary", "modules", "base")]
            debian.unpack(suite, packages, cache() / version)
            _index_modules(cache() / version, version)
        return version
    raise NoKernelError(f"no kernel {wanted} that a sched_ext scheduler can be loaded on")


def _index_modules(destination: Path, version: str) -> None:
    """Make modules.dep, which Debian does when it installs a kernel: this one is only unpacked."""
    depmod = shutil.which("depmod") or "/usr/sbin/depmod"
    try:
        subprocess.run([depmod, "-b", str(destination / "usr"), version], check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise NoKernelError(f"kernel {version}: its modules have no index: {error}") from error


def uncallable(image: Path) -> list[str]:
    """The sched_ext functions that no scheduler can call on this kernel; empty is good."""
    with tempfile.NamedTemporaryFile() as kernel:
        kernel.write(_inside(image))
        kernel.flush()
        try:
            return btf.uncallable(Path(kernel.name))
        except toolchain.ToolchainError as error:
            raise NoKernelError(f"no kernel can be looked into: {error}") from None


def _inside(image: Path) -> bytes:
    """The kernel in an image of Debian's; empty if it cannot be unpacked here."""
    data = image.read_bytes()
    if len(data) < 1024:
        return b""
    # "The Linux/x86 Boot Protocol": setup_sects, payload_offset, payload_length.
    setup = (data[0x1F1] or 4) + 1
    offset, length = struct.unpack_from("<II", data, 0x248)
    payload = data[setup * 512 + offset :][:length]
    if not payload.startswith(_ZSTD) or not shutil.which("zstd"):
        return b""
    # The last four bytes are the size of the unpacked kernel.
    done = subprocess.run(["zstd", "-dcq"], input=payload[:-4], capture_output=True, check=False)
    return b"" if done.returncode else done.stdout


def _unpacked(image: Path) -> Path:
    """The kernel inside a compressed image, or the image if QEMU cannot start the former.

    An emulated kernel takes 1.5 to 2.5 s of each boot to unpack itself.
    """
    unpacked = image.with_name("vmlinux")
    if unpacked.exists():
        return unpacked
    kernel = _inside(image)
    if not kernel.startswith(b"\x7fELF") or _PVH_NOTE not in kernel:
        return image
    with tempfile.NamedTemporaryFile(dir=image.parent, prefix=".vmlinux-", delete=False) as file:
        file.write(kernel)
    os.replace(file.name, unpacked)
    return unpacked
