# SPDX-License-Identifier: GPL-2.0-only
"""A policy's options: typed class attributes with a default and help."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeVar, get_args

from pyland.errors import UsageError

Value = bool | int | float | str
_T = TypeVar("_T", bool, int, float, str)
_YES, _NO = ("yes", "true", "on", "1"), ("no", "false", "off", "0")


class Option(NamedTuple):
    """One option of a policy; the type is the default's."""

    name: str
    default: Value
    help: str
    least: float | None = None
    most: float | None = None
    choices: tuple[Value, ...] = ()

    @property
    def kind(self) -> type[Value]:
        """bool, int, float or str."""
        return type(self.default)

    def _in_range(self, value: Value) -> bool:
        if isinstance(value, bool | str):
            return True
        least = float("-inf") if self.least is None else self.least
        most = float("inf") if self.most is None else self.most
        return least <= value <= most  # false for NaN

    def check(self, value: Value) -> Value:
        """The value; raises ValueError if it is not of the type or in the range."""
        if self.kind is float and type(value) is int:
            value = float(value)
        if type(value) is not self.kind:
            raise ValueError(f"{self.name} = {value!r}: it takes {self.takes}")
        if not self._in_range(value) or (self.choices and value not in self.choices):
            raise ValueError(f"{self.name} = {value}: it takes {self.takes}")
        return value

    def parse(self, text: str) -> Value:
        """The value of a user's text; raises ValueError."""
        if self.kind is bool:
            if text.lower() in _YES + _NO:
                return text.lower() in _YES
        elif self.kind is str:
            return self.check(text)
        else:
            try:
                return self.check(self.kind(text))
            except ValueError:
                pass
        raise ValueError(f"{self.name} = {text}: it takes {self.takes}")

    @property
    def takes(self) -> str:
        """The values that it takes, for messages: `a whole number from 100 to 5000`."""
        if self.choices:
            return " or ".join(map(str, self.choices))
        what = {bool: "yes or no", int: "a whole number", float: "a number", str: "a text"}
        text = what[self.kind]
        if self.least is not None and self.most is not None:
            return f"{text} from {self.least:g} to {self.most:g}"
        if self.least is not None:
            return f"{text} of at least {self.least:g}"
        return text if self.most is None else f"{text} of at most {self.most:g}"


def option(
    default: _T,
    help: str,  # noqa: A002
    *,
    least: float | None = None,
    most: float | None = None,
    choices: Sequence[_T] = (),
) -> _T:
    """Declare an option: `lag_ms: int = option(40, "credit of a sleeper", least=0)`.

    Inside the policy the attribute is the value: the default, or what the user set.
    """
    return Option("", default, help, least, most, tuple(choices))  # type: ignore[return-value]


def declared_options(policy: type) -> dict[str, Option]:
    """The options of a class and its bases; each becomes an attribute with the default.

    Raises TypeError for an option that does not take its own default.
    """
    found: dict[str, Option] = dict(getattr(policy, "options", {}))
    for name, declared in list(vars(policy).items()):
        if not isinstance(declared, Option):
            found.pop(name, None)
            continue
        one = declared._replace(name=name)
        if one.kind not in get_args(Value):
            raise TypeError(f"{policy.__name__}.{name}: an option is a bool, int, float or str")
        try:
            one.check(one.default)
        except ValueError as error:
            raise TypeError(f"{policy.__name__}: the default of {error}") from None
        found[name] = one
        setattr(policy, name, one.default)
    return found


def parse_options(
    policy_name: str, known: Mapping[str, Option], given: Sequence[str]
) -> dict[str, Value]:
    """The values of `name=value` texts; a UsageError names the nearest match or the range."""
    values: dict[str, Value] = {}
    for text in given:
        name, equals, value = text.partition("=")
        name = name.strip().replace("-", "_")
        if not equals:
            raise UsageError(f"--policy-opt {text}: it takes name=value")
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            has = f"did you mean {near[0]}?" if near else f"it has: {', '.join(known) or 'none'}"
            raise UsageError(f"--policy-opt {text}: policy {policy_name} has no {name!r}; {has}")
        try:
            values[name] = known[name].parse(value.strip())
        except ValueError as error:
            raise UsageError(f"--policy-opt {error}") from None
    return values
