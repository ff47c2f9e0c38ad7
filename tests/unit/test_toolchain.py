# SPDX-License-Identifier: GPL-2.0-only
"""The build finds its tools, or says in one line what to install."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.build import build_native, toolchain


def make_libbpf(prefix: Path, version: str, library: str = "usr/lib/any-linux-gnu") -> Path:
    """Lay out a libbpf of this version as a package does; the library's path."""
    major, minor = version.split(".")
    header = prefix / "usr" / "include" / "bpf" / "libbpf_version.h"
    header.parent.mkdir(parents=True)
    header.write_text(
        f"#define LIBBPF_MAJOR_VERSION {major}\n#define LIBBPF_MINOR_VERSION {minor}\n"
    )
    (prefix / library).mkdir(parents=True)
    real = prefix / library / f"libbpf.so.{version}"
    real.touch()
    real.with_name("libbpf.so.1").symlink_to(real.name)
    return real


def make_clang(folder: Path, name: str, version: int) -> None:
    """A command that says it is this clang."""
    path = folder / name
    path.write_text(f"#!/bin/sh\necho 'Debian clang version {version}.0.6 (x)'\n")
    path.chmod(0o755)


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine without compiler, pkg-config and libbpf: its command folder."""
    for variable in ("CLANG", "PYLAND_LIBBPF_PREFIX"):
        monkeypatch.delenv(variable, raising=False)
    commands = tmp_path / "bin"
    commands.mkdir()
    monkeypatch.setenv("PATH", str(commands))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return commands


def test_the_named_prefix_wins(bare: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    make_libbpf(toolchain.cache_prefix(), "1.6")
    own = make_libbpf(tmp_path / "own", "1.5")
    monkeypatch.setenv("PYLAND_LIBBPF_PREFIX", str(tmp_path / "own"))
    found = toolchain.find_libbpf()
    assert found.version == (1, 5)
    assert found.library == own
    assert found.include == tmp_path / "own" / "usr" / "include"


def test_what_setup_unpacked_is_found_without_a_word(bare: Path) -> None:
    library = make_libbpf(toolchain.cache_prefix(), "1.4")
    assert toolchain.find_libbpf().library == library


def test_a_new_enough_system_libbpf_needs_no_other(bare: Path, tmp_path: Path) -> None:
    library = make_libbpf(tmp_path / "system", "1.5")
    make_libbpf(toolchain.cache_prefix(), "1.4")
    pkg_config = bare / "pkg-config"
    pkg_config.write_text(
        "#!/bin/sh\n"
        f'case "$1" in *includedir) echo {tmp_path}/system/usr/include ;;\n'
        f"*) echo {library.parent} ;; esac\n"
    )
    pkg_config.chmod(0o755)
    assert toolchain.find_libbpf().origin == "pkg-config"


@pytest.mark.parametrize("present", [None, "1.1"])
def test_a_missing_or_old_libbpf_is_one_line_that_names_the_remedy(
    bare: Path, present: str | None
) -> None:
    if present:
        make_libbpf(toolchain.cache_prefix(), present)
    with pytest.raises(toolchain.ToolchainError, match=r"make setup.*libbpf-dev") as caught:
        toolchain.find_libbpf()
    assert "\n" not in str(caught.value)
    assert f"found {present or 'none'}" in str(caught.value)


def test_the_newest_clang_is_taken(bare: Path) -> None:
    for name, version in (("clang", 14), ("clang-16", 16), ("clang-19", 19)):
        make_clang(bare, name, version)
    assert toolchain.find_clang() == "clang-19"


def test_clang_without_a_number_is_taken_when_it_is_the_newest(bare: Path) -> None:
    make_clang(bare, "clang", 21)
    make_clang(bare, "clang-16", 16)
    assert toolchain.find_clang() == "clang"


def test_the_named_clang_is_never_replaced(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_clang(bare, "clang-19", 19)
    make_clang(bare, "mine", 17)
    monkeypatch.setenv("CLANG", "mine")
    assert toolchain.find_clang() == "mine"
    monkeypatch.setenv("CLANG", "absent")
    with pytest.raises(toolchain.ToolchainError, match="no absent was found"):
        toolchain.find_clang()


def test_an_old_clang_is_one_line_that_names_the_remedy(bare: Path) -> None:
    make_clang(bare, "clang", 14)
    with pytest.raises(toolchain.ToolchainError, match=r"is version 14.*clang-16") as caught:
        toolchain.find_clang()
    assert "\n" not in str(caught.value)


def test_a_program_that_does_not_compile_leaves_the_old_object(
    bare: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    make_libbpf(toolchain.cache_prefix(), "1.4")
    make_clang(bare, "real", 16)
    with (bare / "real").open("a") as script:
        script.write('[ "$1" = --version ]\n')
    monkeypatch.setenv("CLANG", "real")
    output = tmp_path / "out" / "x.bpf.o"
    output.parent.mkdir()
    output.write_text("old")
    with pytest.raises(toolchain.ToolchainError, match="could not compile"):
        toolchain.compile_bpf(tmp_path / "x.bpf.c", output, toolchain.find_libbpf())
    assert [path.name for path in output.parent.iterdir()] == ["x.bpf.o"]
    assert output.read_text() == "old"


@pytest.mark.parametrize(
    "text",
    [
        "no marks",
        "/* cffi: begin */ int a;",
        "/* cffi: begin */ /* cffi: end */ /* cffi: begin */ /* cffi: end */",
    ],
)
def test_a_header_without_exactly_one_block_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.h").write_text(text)
    with pytest.raises(ValueError, match="one block"):
        build_native.declarations(tmp_path / "x.h")


def test_only_the_block_is_read(tmp_path: Path) -> None:
    text = "#include <a.h>\n/* cffi: begin */\nint a;\n/* cffi: end */\n#endif\n"
    (tmp_path / "x.h").write_text(text)
    assert build_native.declarations(tmp_path / "x.h").strip() == "int a;"
