# SPDX-License-Identifier: GPL-2.0-only
"""Which user called sudo, doas or pkexec, and which variables are refused."""

from __future__ import annotations

import os
import pwd

import pytest

from pyland.errors import UsageError
from pyland.loading.caller import Caller, calling_user

ROOT = Caller(0, 0, "root")
NOBODY = Caller(65534, pwd.getpwuid(65534).pw_gid, pwd.getpwuid(65534).pw_name)
NO_ENTRY = 61000
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


@pytest.fixture(autouse=True)
def _root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)


@pytest.mark.parametrize(
    ("environment", "user"),
    [
        ({}, ROOT),
        ({"SUDO_UID": "", "DOAS_USER": "", "PKEXEC_UID": ""}, ROOT),
        ({"SUDO_UID": "61000", "SUDO_GID": "100"}, Caller(NO_ENTRY, 100, "61000")),
        ({"SUDO_UID": "65534", "SUDO_GID": "100"}, Caller(65534, 100, NOBODY.name)),
        ({"SUDO_UID": "65534"}, NOBODY),
        ({"PKEXEC_UID": "65534"}, NOBODY),
        ({"PKEXEC_UID": "65534", "SUDO_GID": "0"}, NOBODY),
        ({"DOAS_USER": NOBODY.name}, NOBODY),
        ({"DOAS_USER": "root"}, ROOT),
        # Root calls one command from within the other.
        ({"SUDO_UID": "0", "SUDO_GID": "0", "DOAS_USER": NOBODY.name}, NOBODY),
        ({"SUDO_UID": "65534", "SUDO_GID": "100", "PKEXEC_UID": "0"},
         Caller(65534, 100, NOBODY.name)),
        ({"DOAS_USER": NOBODY.name, "PKEXEC_UID": "65534"}, NOBODY),
    ],
)  # fmt: skip
def test_the_caller_is_the_user_of_sudo_doas_or_pkexec(
    environment: dict[str, str], user: Caller
) -> None:
    assert calling_user(environment) == user


@pytest.mark.parametrize(
    ("environment", "reason"),
    [
        ({"SUDO_UID": "x", "SUDO_GID": "100"}, "SUDO_UID is 'x': it takes a number"),
        # The kernel reads -1 as "no change": root would stay root.
        ({"SUDO_UID": "-1", "SUDO_GID": "100"}, "SUDO_UID is '-1'"),
        ({"SUDO_UID": "4294967295", "SUDO_GID": "100"}, "SUDO_UID is '4294967295'"),
        ({"SUDO_UID": "1000", "SUDO_GID": "4294967295"}, "SUDO_GID is '4294967295'"),
        ({"SUDO_UID": "4294967296", "SUDO_GID": "0"}, "SUDO_UID is '4294967296'"),
        ({"SUDO_UID": "9" * 5000, "SUDO_GID": "0"}, "SUDO_UID is '9"),
        ({"SUDO_UID": "1_0", "SUDO_GID": "100"}, "SUDO_UID is '1_0'"),
        ({"SUDO_UID": " 10", "SUDO_GID": "100"}, "SUDO_UID is ' 10'"),
        ({"SUDO_UID": "\u0661\u0660", "SUDO_GID": "100"}, "SUDO_UID is "),
        ({"SUDO_UID": "61000"}, "SUDO_UID is 61000: the user database does not say which group"),
        ({"PKEXEC_UID": "61000"}, "PKEXEC_UID is 61000: the user database"),
        ({"PKEXEC_UID": "1e3"}, "PKEXEC_UID is '1e3'"),
        ({"DOAS_USER": "no-such-user"}, "DOAS_USER is 'no-such-user', and there is no such user"),
        ({"DOAS_USER": "65534"}, "DOAS_USER is '65534'"),
        ({"DOAS_USER": "a\x1b[31m"}, r"DOAS_USER is 'a\x1b[31m'"),
        ({"SUDO_UID": "61000", "SUDO_GID": "100", "DOAS_USER": NOBODY.name},
         f"the calling user is not clear: SUDO_UID=61000, DOAS_USER={NOBODY.name}; unset"),
    ],
)  # fmt: skip
def test_what_is_no_user_or_two_is_refused(environment: dict[str, str], reason: str) -> None:
    with pytest.raises(UsageError) as refused:
        calling_user(environment)
    assert str(refused.value).startswith(reason)


def test_an_ordinary_users_environment_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: NO_ENTRY)
    monkeypatch.setattr(os, "getegid", lambda: 100)
    for environment in (
        {"SUDO_UID": "0", "SUDO_GID": "0"},
        {"DOAS_USER": "root"},
        {"SUDO_UID": "x"},
    ):
        assert calling_user(environment) == Caller(NO_ENTRY, 100, str(NO_ENTRY))
