# SPDX-License-Identifier: GPL-2.0-only
"""Imports a user's modules: only from trusted source, read anew each time, searched last."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.machinery import SOURCE_SUFFIXES, FileFinder, ModuleSpec, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType

from pyland.errors import UsageError
from pyland.loading.trust import trusted_users, untrusted

_FILE_PREFIX = "pyland_policy_file_"


class NoSuchModule(Exception):
    """No finder knows the module; the message is its name."""


class SourceOnly(SourceFileLoader):
    """Loads a module from its source and ignores `__pycache__`.

    Python takes cached bytecode as current if its time and size match, whoever wrote it: a
    folder that was open to other users may have bytecode that no source file explains. This
    loader also sees an edit within the same second that keeps the length. It writes no
    cache, so root leaves no files in a user's folder.
    """

    def get_code(self, fullname: str) -> CodeType:
        """Compile the source; raises UsageError if an untrusted user can write it."""
        check_trust(Path(self.path))
        source = self.get_data(self.path)
        code: CodeType = self.source_to_code(source, self.path)
        _search.sources[self.path] = source
        return code


class _FolderFinder(FileFinder):
    """Finds source files and packages in one folder, and claims the folders of the packages."""

    def find_spec(self, fullname: str, target: ModuleType | None = None) -> ModuleSpec | None:
        spec = super().find_spec(fullname, target)
        if spec is not None:
            _search.names.add(fullname)
            for folder in spec.submodule_search_locations or ():
                _search.claim(folder)
        return spec


class _Search:
    """The one folder that is searched last, and the modules that came from it."""

    def __init__(self) -> None:
        self.folder = ""
        self.names: set[str] = set()
        self.sources: dict[str, bytes] = {}
        self._claimed: set[str] = set()
        self._appended = False

    @property
    def claimed(self) -> frozenset[str]:
        """The folder and the folders of its packages."""
        return frozenset(self._claimed)

    def claim(self, folder: str) -> None:
        """Let modules in `folder` be loaded by `SourceOnly`."""
        if folder not in self._claimed:
            self._claimed.add(folder)
            sys.path_importer_cache.pop(folder, None)

    def start(self, folder: str, claimed: frozenset[str] = frozenset()) -> None:
        """Search `folder` last, instead of the previous one; "" searches none."""
        if self._hook not in sys.path_hooks:
            sys.path_hooks.insert(0, self._hook)
        if self._appended and self.folder in sys.path:
            sys.path.remove(self.folder)
        for one in self._claimed:
            sys.path_importer_cache.pop(one, None)
        self._claimed.clear()
        self.folder, self._appended = folder, False
        for one in claimed | ({folder} if folder else set()):
            self.claim(one)
        if folder and folder not in sys.path:
            # Last: a json.py or numpy.py in the folder must not replace the real module.
            sys.path.append(folder)
            self._appended = True
        # importlib.invalidate_caches would import importlib.metadata on newer Pythons, which takes
        # longer than all else here. Only folders may have changed.
        for finder in list(sys.path_importer_cache.values()):
            if finder is not None and hasattr(finder, "invalidate_caches"):
                finder.invalidate_caches()

    def _hook(self, folder: str) -> _FolderFinder:
        if folder not in self._claimed:
            raise ImportError("not a folder of policies", path=folder)
        return _FolderFinder(folder, (SourceOnly, SOURCE_SUFFIXES))


_search = _Search()


def edited_file() -> str:
    """Path of a user's file that was changed or removed after its import; "" if none was."""
    for path, source in _search.sources.items():
        try:
            if Path(path).read_bytes() != source:
                return path
        except OSError:
            return path
    return ""


@contextmanager
def searching(folder: Path, *, anew: str = "") -> Iterator[None]:
    """From here on, modules are also found in `folder`; if the block raises, all is as before.

    Modules that came from a user's folder are forgotten first, so that they are read again;
    so are the module `anew` and its package. Objects of the old modules stay alive.
    """
    before = _search.folder, _search.claimed
    names = frozenset(_search.names)
    sources = dict(_search.sources)
    old = {name: module for name, module in sys.modules.items() if _is_stale(name, anew)}
    for name in old:
        del sys.modules[name]
    _search.names.clear()
    _search.sources.clear()
    _search.start(str(folder))
    try:
        yield
    except BaseException:
        for name in _search.names:
            sys.modules.pop(name, None)
        _search.names.clear()
        _search.names.update(names)
        _search.sources.clear()
        _search.sources.update(sources)
        _search.start(*before)
        sys.modules.update(old)
        raise


def _is_stale(name: str, anew: str) -> bool:
    if name in _search.names or name == anew:
        return True
    root = anew.partition(".")[0]
    # Of pyland itself only the policy is read again: its other modules are in use.
    return root not in ("", "pyland") and (name == root or name.startswith(root + "."))


def import_module(name: str) -> ModuleType:
    """The module; raises NoSuchModule if it is not found, and whatever its code raises.

    Raises UsageError before any code runs that an untrusted user can write.
    """
    parts = name.split(".")
    for count in range(1, len(parts) + 1):
        part = ".".join(parts[:count])
        if part in sys.modules:
            continue
        try:
            spec = importlib.util.find_spec(part)  # imports the packages above, which were checked
        except ModuleNotFoundError:  # the module above is no package
            spec = None
        if spec is None:
            raise NoSuchModule(part)
        if spec.has_location:
            for file in filter(None, (spec.origin, spec.cached)):
                if file == spec.origin or Path(file).exists():
                    check_trust(Path(file))
        importlib.import_module(part)
    return sys.modules[name]


def import_file(path: Path) -> ModuleType:
    """The module of exactly this file, under a name that no other module has."""
    name = _FILE_PREFIX + path.stem
    spec = importlib.util.spec_from_file_location(name, loader=SourceOnly(name, str(path)))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Dataclasses look up the module of a class by name.
    sys.modules[name] = module
    _search.names.add(name)
    spec.loader.exec_module(module)
    return module


def check_trust(path: Path) -> None:
    """Raise UsageError if this process must not run the code in `path`."""
    callers = trusted_users()
    reason = None if callers is None else untrusted(path, callers)
    if reason:
        raise UsageError(f"not trusted: {reason}")
