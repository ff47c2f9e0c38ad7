# SPDX-License-Identifier: GPL-2.0-only
"""Finds policies: built-in, installed, in a module, in a file. Errors say what was found."""

from __future__ import annotations

import difflib
import os
import stat
import traceback
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

from pyland.errors import UsageError
from pyland.loading.folder import NO_FOLDER
from pyland.loading.imports import NoSuchModule, SourceOnly, import_file, import_module, searching
from pyland.loading.trust import untrusted
from pyland.options import Value, parse_options
from pyland.output import telling
from pyland.output.printing import escape
from pyland.policies import BUILTINS
from pyland.policy import Policy

if TYPE_CHECKING:
    # Imported only where it is needed: it imports as much as all other modules together.
    from importlib.metadata import EntryPoint

__all__ = ["GROUP", "Choice", "Listing", "available", "choose", "untrusted"]

GROUP = "pyland.policies"
"""The group of entry points in which packages offer policies."""

_HOW = "a policy of yours is written module:Class or ./file.py:Class"


class Choice(NamedTuple):
    """A policy and its options, ready for `policy.create(machine, **options)`."""

    spec: str
    policy: type[Policy]
    options: dict[str, Value]


class Listing(NamedTuple):
    """One line of `pyland policies`; `error` says why the policy cannot be loaded, if so."""

    name: str
    summary: str
    origin: str
    error: str = ""


class _Place(NamedTuple):
    """The place of a class; without `attribute` the class is the only policy there."""

    module: str
    file: Path | None
    attribute: str


def choose(spec: str, given: Sequence[str] = (), *, folder: Path, reload: bool = False) -> Choice:
    """The policy that `spec` names, with the options that the `name=value` texts give.

    `spec` is the name of a built-in or an entry point, `module:Class` (`folder` is searched
    last) or `./file.py:Class` (relative to `folder`). `:Class` may be left out if there is
    one policy. Modules of `folder` and such files are read anew each time; with `reload`
    installed modules are, too. Raises UsageError with one line that says what was found
    instead; then all modules are as before.
    """
    folder = folder.absolute()
    place = _place(spec, folder)
    search = folder if place.file is None else place.file.parent
    with searching(search, anew=place.module if reload else ""):
        policy = _load(spec, place, folder)
        return Choice(spec, policy, parse_options(policy.name, policy.options, given))


def available(folder: Path) -> list[Listing]:
    """The built-ins in their own order, then the entry points by name.

    An entry point that cannot be loaded is listed with the reason.
    """
    found = [
        Listing(name, _summary(choose(name, folder=folder).policy), "built-in") for name in BUILTINS
    ]
    for point in sorted(_entry_points(), key=lambda point: point.name):
        origin = f"{point.dist.name} {point.dist.version}" if point.dist else point.value
        try:
            if point.name in BUILTINS:
                raise UsageError("a built-in has this name")
            summary, error = _summary(choose(point.name, folder=folder).policy), ""
        except UsageError as refused:
            summary, error = "", str(refused).removeprefix(f"--policy {point.name}: ")
        found.append(Listing(point.name, summary, origin, error))
    return found


def _summary(policy: type[Policy]) -> str:
    # Imported only here: it takes as long as all other imports, and only a list needs it.
    import inspect

    return inspect.cleandoc(policy.__doc__ or "").partition("\n")[0]


def _entry_points() -> Iterable[EntryPoint]:
    from importlib.metadata import entry_points

    return entry_points(group=GROUP)


def _place(spec: str, folder: Path) -> _Place:
    if not spec or not spec.isprintable():
        raise UsageError(f"--policy {spec!r}: it takes the name of a policy; {_HOW}")
    value = BUILTINS.get(spec)
    target, colon, attribute = (value or spec).rpartition(":")
    if not colon:
        target, attribute = spec, ""
    elif not target or not attribute.isidentifier():
        raise UsageError(f"--policy {spec}: {attribute!r} cannot be a class; {_HOW}")
    if "/" in target or target.endswith(".py"):
        return _Place("", _file(spec, folder / target), attribute)
    if not colon and (point := _entry_point(spec)):
        return _Place(point.module, None, point.attr or "")
    if not all(part.isidentifier() for part in target.split(".")):
        raise UsageError(_unknown(spec, target, folder))
    return _Place(target, None, attribute)


def _entry_point(name: str) -> EntryPoint | None:
    points = {point.value: point for point in _entry_points() if point.name == name}
    if len(points) > 1:
        raise UsageError(
            f"--policy {name}: several packages offer it; take one of {', '.join(points)}"
        )
    for value, point in points.items():
        if not point.pattern.match(value):
            raise UsageError(f"--policy {name}: its package names {value!r}, not module:Class")
        return point
    return None


def _file(spec: str, path: Path) -> Path:
    try:
        mode = path.stat().st_mode
    except OSError as error:
        near = _nearest(path.name, _python_files(path.parent))
        raise UsageError(f"--policy {spec}: {path}: {error.strerror}{near}") from None
    if not stat.S_ISREG(mode):
        what = "a folder" if stat.S_ISDIR(mode) else "no regular file"
        raise UsageError(f"--policy {spec}: {path} is {what}, and not a file of Python")
    return path


def _load(spec: str, place: _Place, folder: Path) -> type[Policy]:
    """The policy at `place`; raises UsageError with one line for any exception of user code."""
    try:
        module = import_module(place.module) if place.file is None else import_file(place.file)
        found = _the_only(module) if not place.attribute else _attribute(module, place.attribute)
        return _checked(found, place.attribute)
    except NoSuchModule as missing:
        raise UsageError(_unknown(spec, str(missing), folder)) from None
    except UsageError as error:
        text = _one_line(_message(error))
        raise UsageError(f"--policy {spec}: {text}") from None
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a module may raise anything, also SystemExit
        raise UsageError(f"--policy {spec}: {_describe(error, place.module)}") from error


def _attribute(module: ModuleType, name: str) -> object:
    found: object = module
    for part in name.split("."):  # an entry point may name a class in a class
        found = getattr(found, part, None)
    if found is None:
        names = [*_policies(module)]
        has = f"it has {', '.join(names)}" if names else "it has no policy"
        raise UsageError(f"{_title(module)} has no class {name!r}{_nearest(name, names)}; {has}")
    return found


def _the_only(module: ModuleType) -> object:
    own = {
        name: policy
        for name, policy in _policies(module).items()
        if policy.__module__ == module.__name__ and not name.startswith("_")
    }
    if len(own) != 1:
        has = f"has several policies: add :{' or :'.join(own)}" if own else "defines no policy"
        raise UsageError(f"{_title(module)} {has}")
    return next(iter(own.values()))


def _checked(found: object, name: str) -> type[Policy]:
    if not isinstance(found, type):
        hint = ": name its class" if isinstance(found, Policy) else ""
        raise UsageError(f"{name} is no class, but of type {type(found).__name__}{hint}")
    if not issubclass(found, Policy):
        raise UsageError(f"{name} is a class, but no policy: it does not derive from pyland.Policy")
    if found.decide is Policy.decide and found.enqueue is Policy.enqueue:
        raise UsageError(f"{found.__name__} has neither enqueue() nor decide()")
    return found


def _policies(module: ModuleType) -> dict[str, type[Policy]]:
    """The policies of a module, defined or imported there, each once."""
    found: dict[type[Policy], str] = {}
    for name, value in vars(module).items():
        if isinstance(value, type) and issubclass(value, Policy) and value is not Policy:
            found.setdefault(value, name)
    return {name: policy for policy, name in found.items()}


def _title(module: ModuleType) -> str:
    file = getattr(module, "__file__", None)
    return str(file) if file else f"module {module.__name__}"


def _unknown(spec: str, module: str, folder: Path) -> str:
    names = [*BUILTINS, *(point.name for point in _entry_points())]
    files = [name.removesuffix(".py") for name in _python_files(folder)]
    near = _nearest(module, [*names, *files])
    if ":" in spec:
        where = f"installed or in {folder}"
        if folder == NO_FOLDER:
            where = "installed, and the current folder is gone"
        return f"--policy {spec}: there is no module {module!r}, {where}{near}"
    return f"--policy {spec}: there is no such policy{near}; `pyland policies` lists them, {_HOW}"


def _nearest(name: str, names: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(names), 1)
    return f" (did you mean {near[0]}?)" if near else ""


def _python_files(folder: Path) -> list[str]:
    try:
        return [name for name in os.listdir(folder) if name.endswith(".py") and name.isprintable()]
    except OSError:
        return []


def _describe(error: BaseException, module: str) -> str:
    """The exception that importing raised, its message, and the line of the user's code."""
    kind = telling.kind(error)
    if telling.is_a(error, SyntaxError):
        wrong = telling.told(lambda: _wrong_syntax(error), "")
        if wrong:
            return f"{kind}: {_one_line(wrong)}"
    frames = list(traceback.walk_tb(telling.traceback_of(error)))
    mine = [frame for frame in frames if _is_users(frame[0].f_globals, module)]
    frame, line = (mine or frames)[-1]
    at = f"({frame.f_code.co_filename}:{line})"
    text = _one_line(_message(error))
    defining = Policy.__init_subclass__.__func__.__code__  # type: ignore[attr-defined]
    if telling.is_a(error, TypeError) and any(frame.f_code is defining for frame, _ in frames):
        return f"{text} {at}"
    return f"importing it raised {kind}{': ' if text else ''}{text} {at}"


def _message(error: BaseException) -> str:
    return telling.told(lambda: str(error), "its message")


def _wrong_syntax(error: Any) -> str:
    """The place of a syntax error; empty if the exception names no file."""
    return f"{error.msg} ({error.filename}:{error.lineno or 0})" if error.filename else ""


def _is_users(namespace: dict[str, object], module: str) -> bool:
    if telling.is_a(dict.get(namespace, "__loader__"), SourceOnly):
        return True
    root, name = module.partition(".")[0], dict.get(namespace, "__name__")
    return bool(root) and type(name) is str and name.partition(".")[0] == root


def _one_line(text: str) -> str:
    return escape(" ".join(text.split()))
