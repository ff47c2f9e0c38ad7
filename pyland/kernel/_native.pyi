# SPDX-License-Identifier: GPL-2.0-only
"""The compiled shim (csrc/pyland_native.h declares and explains every function)."""

from typing import Any

ffi: Any
lib: Any
