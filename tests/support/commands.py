# SPDX-License-Identifier: GPL-2.0-only
"""Commands of the tree, which have no suffix, as modules."""

from __future__ import annotations

import importlib.util
import sys
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType

import pytest


def load_command(command: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The command as a module of its own."""
    loader = SourceFileLoader(f"{command.name}_command", str(command))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    # Its bytecode would lie beside the command.
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    loader.exec_module(module)
    return module
