# SPDX-License-Identifier: GPL-2.0-only
"""Attributes of policies by the names that they had before."""

from __future__ import annotations

from typing import Any


class FormerName:
    """An attribute by its former name: reads and sets the present one."""

    def __init__(self, present: str) -> None:
        """`present` is the name that the attribute has in the same class."""
        self.present = present

    def __set_name__(self, cls: type, name: str) -> None:
        """Python says here which name this is."""
        self.name = name

    def __get__(self, instance: object, cls: type) -> Any:
        return getattr(cls if instance is None else instance, self.present)

    def __set__(self, instance: object, value: object) -> None:
        setattr(instance, self.present, value)


def take_former_name(cls: type, former: FormerName) -> None:
    """Set the present name in a new class, if it or a class above it has set the former one.

    If both are set, the name that is set in the nearer class counts.
    """
    for base in cls.__mro__:
        if former.present in vars(base):
            break
        if (given := vars(base).get(former.name, former)) is not former:
            setattr(cls, former.present, given)
            break
    setattr(cls, former.name, former)
