# SPDX-License-Identifier: GPL-2.0-only
"""The lab's choices: which kernel, which CPUs, which modules; nothing is booted here."""

import struct
import subprocess
from pathlib import Path

import pytest

from tools.lab import boot, btf, debian, initramfs, kernels, topology

ROOT = Path(__file__).resolve().parents[2]
VERSIONS = ["7.2.13+deb14-amd64", "7.2.6+deb13-amd64", "7.3.4+deb13-amd64", "7.2.11+deb13-amd64"]


@pytest.mark.parametrize(
    ("wanted", "version"),
    [
        ("newest", "7.3.4+deb13-amd64"),
        ("oldest", "7.2.6+deb13-amd64"),
        ("7.2", "7.2.13+deb14-amd64"),
        ("7.2.11", "7.2.11+deb13-amd64"),
        ("7.2.11+deb13-amd64", "7.2.11+deb13-amd64"),
        ("7", "7.3.4+deb13-amd64"),
    ],
)
def test_a_kernel_is_chosen_by_series_or_age(wanted: str, version: str) -> None:
    assert kernels.candidates(wanted, VERSIONS)[0] == version


@pytest.mark.parametrize("wanted", ["6.12", "7.20", "latest", ""])
def test_a_kernel_that_is_not_there_is_answered_with_those_that_are(wanted: str) -> None:
    with pytest.raises(kernels.NoKernelError, match=r"there is: 7\.2\.6\+deb13-amd64, 7\.2\.11"):
        kernels.candidates(wanted, VERSIONS)


def _kernel(**functions: list[str]) -> bytes:
    """A kernel whose BTF has functions of these names and arguments."""
    strings, types, nr = b"\0", b"", 0

    def text(name: str) -> int:
        nonlocal strings
        strings += name.encode() + b"\0"
        return strings.index(b"\0" + name.encode() + b"\0") + 1

    for name, arguments in functions.items():
        types += struct.pack("<III", 0, 13 << 24 | len(arguments), 0)
        types += b"".join(struct.pack("<II", text(each), 0) for each in arguments)
        types += struct.pack("<III", text(name), 12 << 24, nr + 1)
        nr += 2
    sizes = (0, len(types), len(types), len(strings))
    return struct.pack("<HBBI4I", 0xEB9F, 1, 0, 24, *sizes) + types + strings


def test_functions_that_no_scheduler_can_call_are_found(tmp_path: Path) -> None:
    kernel = tmp_path / "kernel"
    kernel.write_bytes(
        _kernel(
            scx_bpf_now=[],
            scx_bpf_kick_cpu=["cpu", "flags"],
            scx_bpf_kick_cpu_impl=["cpu", "flags", "aux"],
            scx_bpf_create_dsq=["dsq_id", "aux"],
            bpf_throw=["cookie", "aux"],
        )
    )
    assert btf.uncallable(kernel) == ["scx_bpf_create_dsq"]
    kernel.write_bytes(b"\x7fELF, and nothing in it")
    assert btf.uncallable(kernel) == []


def test_kernels_in_a_folder_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "6.12.117").mkdir()
    (tmp_path / "6.12.117/bzImage").touch()
    monkeypatch.setenv("PYLAND_KERNELS", str(tmp_path))
    assert kernels.find("6.12").version == "6.12.117"
    assert kernels.find("6.12").modules is None


@pytest.mark.parametrize(
    ("text", "cpus", "layout"),
    [
        (None, None, topology.Topology(cores=2)),
        (None, 64, topology.Topology(cores=64)),
        ("threads=2", 8, topology.Topology(cores=4, threads=2)),
        ("nodes=2,llcs=2,cores=2,threads=2", None, topology.Topology(2, 2, 2, 2)),
    ],
)
def test_layouts(text: str | None, cpus: int | None, layout: topology.Topology) -> None:
    assert topology.parse(text, cpus) == layout


@pytest.mark.parametrize(
    ("text", "cpus"),
    [("nodes=0", None), ("sockets=2", None), ("cores=2,cores=3", None), ("nodes=2,cores=2", 6)],
)
def test_layouts_that_cannot_be(text: str, cpus: int | None) -> None:
    with pytest.raises(topology.TopologyError, match="--topology"):
        topology.parse(text, cpus)


def test_more_cpus_than_qemu_starts_are_refused() -> None:
    with pytest.raises(topology.TopologyError, match="256 CPUs: QEMU starts 255 at most"):
        topology.parse(None, 256)


@pytest.mark.parametrize(
    ("folder", "needed"),
    [("/tmp/work", True), ("/run/user/0", True), ("/tmp", False), ("/", False), ("/home/a", False)],
)
def test_a_folder_that_the_guest_would_not_see_is_shared(folder: str, needed: bool) -> None:
    assert boot.needs_share(Path(folder)) == needed


def test_a_panic_is_named_first(tmp_path: Path) -> None:
    (tmp_path / "console").write_text("[ 1.0] Kernel panic - not syncing: no init\r\nCall Trace:\n")
    assert boot.cause(tmp_path).endswith("did: Kernel panic - not syncing: no init")


@pytest.mark.parametrize(
    ("cpus", "icount", "accelerator"),
    [
        (2, False, "tcg,thread=multi"),
        (8, False, "tcg,thread=multi"),
        (64, False, "tcg,thread=single"),
        (2, True, "tcg"),
    ],
)
def test_many_cpus_take_turns_in_one_thread(
    monkeypatch: pytest.MonkeyPatch, cpus: int, icount: bool, accelerator: str
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    kernel = kernels.Kernel("7.3.4", Path("vmlinuz"), None)
    guest = boot.Guest(kernel, topology.Topology(cores=cpus), icount=icount)
    words = boot.emulation(guest)
    assert words[:2] == ["-accel", accelerator]
    assert ("-icount" in words) == icount
    # The clock chip that keeps turns short has to follow the counted time.
    assert ("clock=vm" in words) == icount


def test_each_cache_is_a_socket_and_each_node_has_its_memory() -> None:
    words = topology.qemu_arguments(topology.Topology(2, 2, 2, 2), 2048)
    assert "16,sockets=4,cores=2,threads=2,maxcpus=16" in words
    assert "memory-backend-ram,id=node1,size=1024M" in words
    assert words.count("-numa") == 2 + 4
    assert "cpu,node-id=1,socket-id=3" in words


@pytest.mark.parametrize("nodes", [2, 3, 7])
def test_the_memory_of_all_nodes_is_the_guests(nodes: int) -> None:
    words = topology.qemu_arguments(topology.Topology(nodes), 2048)
    sizes = [int(w.rpartition("=")[2].rstrip("M")) for w in words if w.startswith("memory-")]
    assert len(sizes) == nodes
    assert sum(sizes) == 2048


def test_a_kernel_without_its_module_index_is_not_ready(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    version = VERSIONS[0]
    folder = tmp_path / f"pyland/kernels/{version}/usr/lib/modules/{version}"
    folder.mkdir(parents=True)
    (folder / "vmlinuz").touch()
    assert kernels._known("7.2") is None
    (folder / "modules.dep").touch()
    assert kernels._known("7.2") == kernels.Kernel(version, folder / "vmlinuz", folder)


def test_an_image_that_cannot_be_entered_directly_unpacks_itself(tmp_path: Path) -> None:
    image = tmp_path / "vmlinuz"
    image.write_bytes(bytes(0x1000))
    assert kernels._unpacked(image) == image
    inside = tmp_path / "vmlinux"
    inside.touch()
    assert kernels._unpacked(image) == inside


def test_modules_are_loaded_after_what_they_need(tmp_path: Path) -> None:
    (tmp_path / "modules.dep").write_text(
        "kernel/fs/9p/9p.ko.xz: kernel/net/9p/9pnet.ko.xz kernel/fs/netfs/netfs.ko.xz\n"
        "kernel/net/9p/9pnet.ko.xz:\n"
        "kernel/fs/netfs/netfs.ko.xz: kernel/fs/fscache.ko\n"
        "kernel/fs/fscache.ko:\n"
    )
    order = initramfs.load_order(tmp_path, ["built-in", "9p"])
    assert [path.name for path in order] == ["9pnet.ko.xz", "fscache.ko", "netfs.ko.xz", "9p.ko.xz"]


def test_the_guest_knows_how_its_kernel_was_built(tmp_path: Path) -> None:
    (tmp_path / "modules").mkdir()
    boot._give_config(tmp_path, None)
    boot._give_config(tmp_path, tmp_path / "modules")
    assert not (tmp_path / "config").exists()
    (tmp_path / "modules/config").write_text("CONFIG_SCHED_CLASS_EXT=y\n")
    boot._give_config(tmp_path, tmp_path / "modules")
    assert (tmp_path / "config").read_text() == "CONFIG_SCHED_CLASS_EXT=y\n"


def test_the_mirror_is_the_one_that_the_machine_is_configured_with(tmp_path: Path) -> None:
    (tmp_path / "sources.list").write_text(
        "deb http://security.example/debian-security bookworm-security main\n"
        "deb [signed-by=/x.gpg] http://mirror.example/debian bookworm main contrib\n"
    )
    assert debian.mirror(tmp_path) == "http://mirror.example/debian"
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / "sources.list.d/debian.sources").write_text(
        "Types: deb\nURIs: http://other.example/debian\nSuites: trixie\nComponents: main\n"
        "Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n"
    )
    assert debian.mirror(tmp_path) == "http://other.example/debian"


def test_a_machine_that_is_not_debian_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(debian.DebianError, match="no Debian archive is configured"):
        debian.mirror(tmp_path)


@pytest.mark.parametrize(
    "words",
    [
        ["--cpus", "0", "--", "true"],
        ["--memory", "lots", "--", "true"],
        ["--memory", "8M", "--", "true"],
        ["--topology", "cores", "--", "true"],
        ["--unknown"],
        ["--cpus", "2"],
    ],
)
def test_bad_arguments_are_one_line_and_exit_code_2(words: list[str]) -> None:
    done = subprocess.run(
        [ROOT / "tools/vm", *words], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("vm: ")
    assert done.stderr.count("\n") == 1


def test_a_kernel_that_cannot_be_had_is_a_skip() -> None:
    done = subprocess.run(
        [ROOT / "tools/vm", "--kernel", "./absent/bzImage", "--", "true"],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 77
    assert "no kernel image ./absent/bzImage" in done.stderr
