# SPDX-License-Identifier: GPL-2.0-only
"""The tests of this folder run on real rings: the fixture skips them where BPF cannot be loaded."""

from tools.rings.fixture import rings

__all__ = ["rings"]
