# SPDX-License-Identifier: GPL-2.0-only
"""The cffi builder of ``pyland.kernel._native``: the C side as one extension module.

Python sees exactly the declarations between the cffi marks of ``bpf/intf.h`` and
``csrc/pyland_native.h``. They are read from the headers themselves, so a record cannot have one
layout in BPF and another in Python. Where libbpf is, setup.py adds when it compiles: reading
this file must work on a machine that has none, for an sdist is made there too.
"""

from pathlib import Path

from cffi import FFI

from tools.build import toolchain

BEGIN = "/* cffi: begin */"
END = "/* cffi: end */"

# setuptools runs this file from the top of the tree, and an sdist wants relative paths.
HEADERS = ("bpf/intf.h", "csrc/pyland_native.h")
SOURCES = sorted({*map(str, Path("csrc").glob("*.c"))} - {"csrc/exchange.c"})


def declarations(header: Path) -> str:
    """The text between the cffi marks of a header; ValueError unless there is one such block."""
    parts = header.read_text(encoding="utf-8").split(BEGIN)
    if len(parts) != 2 or parts[1].count(END) != 1:
        raise ValueError(f"{header}: wants one block from '{BEGIN}' to '{END}'")
    return parts[1].split(END)[0]


ffibuilder = FFI()
for _header in HEADERS:
    ffibuilder.cdef(declarations(toolchain.ROOT / _header))
ffibuilder.set_source(
    "pyland.kernel._native",
    '#include "pyland_native.h"',
    sources=SOURCES,
    depends=[*HEADERS],
    include_dirs=["bpf", "csrc"],
    define_macros=[("PYLAND_LAYOUT", toolchain.layout())],
    extra_compile_args=["-O2", "-std=gnu11", "-Wall", "-Wextra"],
    # memory.c replaces CPython's arena allocator, which the limited API does not have.
    py_limited_api=False,
)
