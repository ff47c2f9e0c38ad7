# SPDX-License-Identifier: GPL-2.0-only
"""The cffi builder of ``pyland._native``, the one extension module of the package.

Python sees exactly the declarations between the cffi marks of `HEADERS`. The builder reads them
from the headers themselves, so a record cannot have one layout in BPF and another in Python.
setup.py adds the path of libbpf when it compiles: an sdist is made on machines without libbpf
too, and that reads this file.
"""

from pathlib import Path

from cffi import FFI

from tools.build import toolchain

BEGIN = "/* cffi: begin */"
END = "/* cffi: end */"
HEADERS = (
    "bpf/intf.h",
    "bpf/records_intf.h",
    "bpf/histograms_intf.h",
    "bpf/shared_state.h",
    "csrc/pyland_native.h",
    "bpf/trace_intf.h",
    "csrc/pyland_trace.h",
    "bpf/hardware_intf.h",
    "csrc/pyland_hardware.h",
)

# csrc/module.c defines the module's real init function and calls cffi's under another name.
PREAMBLE = """
#define PyInit__native pyland_make_cffi_module
#include "pyland_native.h"
#include "pyland_trace.h"
#include "pyland_hardware.h"
"""


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
    "pyland._native",
    PREAMBLE,
    # Relative paths: setuptools runs this file from the top of the tree, and an sdist needs them.
    sources=sorted(map(str, Path("csrc").glob("*.c"))),
    depends=sorted(map(str, [*Path("bpf").glob("*.h"), *Path("csrc").glob("*.h")])),
    include_dirs=["bpf", "csrc"],
    define_macros=[("PYLAND_LAYOUT", toolchain.layout())],
    extra_compile_args=["-O2", "-std=gnu11", "-Wall", "-Wextra", "-fvisibility=hidden"],
    # The limited API has no arena allocator (csrc/arenas.c).
    py_limited_api=False,
)
