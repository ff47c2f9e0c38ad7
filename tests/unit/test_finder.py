# SPDX-License-Identifier: GPL-2.0-only
"""Finding policies: the places, and the messages of refusals."""

from __future__ import annotations

import importlib.util
import os
import py_compile
import sys
import time
from pathlib import Path
from types import ModuleType

import pytest

from pyland.loading.finder import available, choose
from pyland.loading.imports import SourceOnly
from pyland.policies import BUILTINS
from pyland.policy import Policy
from tests.support.policy_files import MINE, install, refusal, write


@pytest.mark.parametrize("name", BUILTINS)
def test_a_built_in_has_its_name(name: str, tmp_path: Path) -> None:
    choice = choose(name, folder=tmp_path)
    assert choice.policy.name == name == choice.spec
    assert choice.options == {}


@pytest.mark.parametrize("spec", ["mine:Mine", "mine", "./mine.py:Mine", "./mine.py", "mine.py"])
def test_a_policy_in_the_folder_is_found(spec: str, folder: Path) -> None:
    choice = choose(spec, ["gap-ms=4"], folder=folder)
    assert choice.policy.name == "mine"
    assert choice.options == {"gap_ms": 4}


def test_an_absolute_file_is_found_from_anywhere(folder: Path) -> None:
    assert choose(f"{folder}/mine.py:Mine", folder=Path("/")).policy.name == "mine"


def test_a_module_of_a_package_is_found_with_what_it_imports(folder: Path) -> None:
    write(folder / "ours/__init__.py", "")
    write(folder / "ours/deep/__init__.py", "")
    write(folder / "ours/deep/common.py", MINE.format(name="common"))
    write(folder / "ours/deep/one.py", "from .common import Mine\nclass One(Mine): pass\n")
    assert choose("ours.deep.one:One", folder=folder).policy.name == "one"
    assert choose("ours.deep.one", folder=folder).policy.name == "one"


def test_a_file_imports_its_neighbours(folder: Path) -> None:
    write(folder / "sub/helper_of_mine.py", "NAME = 'helped'")
    text = MINE.replace('"{name}"', "helper_of_mine.NAME")
    write(folder / "sub/it.py", "import helper_of_mine\n" + text)
    assert choose("./sub/it.py", folder=folder).policy.name == "helped"


@pytest.mark.parametrize("name", ["json", "cffi", "colorsys"])
def test_nothing_real_is_shadowed(name: str, folder: Path) -> None:
    """No module that is imported, that is not imported yet, or that is installed."""
    sys.modules.pop("colorsys", None)
    write(folder / f"{name}.py", MINE.format(name="shadow"))
    write(folder / "it.py", f"import {name}\n" + MINE.replace('"{name}"', f"{name}.__file__"))
    real = importlib.util.find_spec(name)
    assert real is not None
    assert choose("it", folder=folder).policy.name == real.origin
    assert f"{real.origin} has no class 'Mine'; it has no policy" in refusal(f"{name}:Mine", folder)
    assert choose(f"./{name}.py:Mine", folder=folder).policy.name == "shadow"
    assert sys.path.index(str(folder)) == len(sys.path) - 1


def test_another_folder_has_its_own_modules(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    write(other / "mine.py", MINE.format(name="other"))
    first = choose("mine:Mine", folder=folder).policy
    assert choose("mine:Mine", folder=other).policy.name == "other"
    assert str(folder) not in sys.path
    assert choose("mine:Mine", folder=folder).policy.name == first.name == "mine"


@pytest.mark.parametrize("spec", ["mine:Mine", "./mine.py:Mine"])
def test_an_edited_module_is_taken_anew_and_the_old_class_lives(spec: str, folder: Path) -> None:
    old = choose(spec, folder=folder).policy
    stamp = os.stat(folder / "mine.py")
    write(folder / "mine.py", MINE.format(name="next"))
    # Same length, same time: bytecode in a cache would still count as current.
    os.utime(folder / "mine.py", ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    new = choose(spec, folder=folder, reload=True).policy
    assert (old.name, new.name) == ("mine", "next")
    assert not issubclass(new, old)


def test_a_package_is_taken_anew_as_a_whole(folder: Path) -> None:
    write(folder / "pack/__init__.py", "")
    write(folder / "pack/names.py", "NAME = 'first'")
    write(folder / "pack/it.py", "from pack.names import NAME\n" + MINE.replace('"{name}"', "NAME"))
    assert choose("pack.it", folder=folder).policy.name == "first"
    write(folder / "pack/names.py", "NAME = 'second'")
    assert choose("pack.it", folder=folder, reload=True).policy.name == "second"


def test_a_refused_swap_leaves_the_modules_as_they_were(folder: Path) -> None:
    choose("mine:Mine", folder=folder)
    before, path = sys.modules["mine"], list(sys.path)
    write(folder / "mine.py", "import colorsys\n1 / 0\n")
    refusal("mine:Mine", folder, reload=True)
    refusal("./sub/none.py", folder)
    assert sys.modules["mine"] is before
    assert sys.path == path


def test_after_a_refused_swap_the_running_policy_finds_its_neighbours(folder: Path) -> None:
    write(folder / "pack/__init__.py", "")
    write(folder / "pack/late.py", "WORD = 'late'")
    lazy = "        from . import late\n        import mine\n        mine.WORD = late.WORD\n"
    text = MINE.format(name="it") + "    def slept(self, pid):\n" + lazy
    write(folder / "pack/it.py", text)
    policy = choose("pack.it", folder=folder).policy
    refusal("./none.py", folder)
    write(folder / "other/bad.py", "1 / 0")
    refusal("./other/bad.py", folder)
    policy.slept(policy.__new__(policy), 1)
    assert sys.modules["mine"].WORD == "late"
    late = sys.modules["pack.late"].__spec__
    assert late is not None
    assert isinstance(late.loader, SourceOnly)


def test_an_installed_package_is_taken_anew_only_if_asked(site: Path, tmp_path: Path) -> None:
    install(site, "pyland_test_a", MINE.format(name="first"), pta="pyland_test_a:Mine")
    assert choose("pta", folder=tmp_path).policy.name == "first"
    install(site, "pyland_test_a", MINE.format(name="longer"), pta="pyland_test_a:Mine")
    assert choose("pta", folder=tmp_path).policy.name == "first"
    assert choose("pta", folder=tmp_path, reload=True).policy.name == "longer"


def test_reloading_a_built_in_keeps_the_rest_of_pyland(tmp_path: Path) -> None:
    again = choose("fifo", folder=tmp_path, reload=True).policy
    assert issubclass(again, Policy)
    assert sys.modules["pyland.policy"].Policy is Policy


def test_no_bytecode_is_read_or_written(folder: Path) -> None:
    """What lies in __pycache__, by whomever, says nothing."""
    evil = write(folder / "evil.py", MINE.format(name="evil"))
    stamp = os.stat(folder / "mine.py")
    os.utime(evil, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    cached = Path(importlib.util.cache_from_source(str(folder / "mine.py")))
    py_compile.compile(str(evil), cfile=str(cached), dfile=str(folder / "mine.py"))
    write(folder / "other.py", "import mine\nfrom mine import Mine")
    for spec in ("mine:Mine", "./mine.py", "other:Mine"):
        assert choose(spec, folder=folder).policy.name == "mine"
    assert list(cached.parent.iterdir()) == [cached]


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("deadlin", "--policy deadlin: there is no such policy (did you mean deadline?); "),
        ("mien:Mine", "there is no module 'mien', installed or in {folder} (did you mean mine?)"),
        ("mine.sub:Mine", "there is no module 'mine.sub'"),
        ("mine:Mnie", "{folder}/mine.py has no class 'Mnie' (did you mean Mine?); it has Mine"),
        ("./mien.py:Mine", "{folder}/mien.py: No such file or directory (did you mean mine.py?)"),
        ("./:Mine", "{folder} is a folder, and not a file of Python"),
        ("/dev/zero:Mine", "/dev/zero is no regular file"),
        ("things:number", "number is no class, but of type int"),
        ("things:function", "function is no class, but of type function"),
        ("things:instance", "instance is no class, but of type One: name its class"),
        ("things:Other", "Other is a class, but no policy: it does not derive from pyland.Policy"),
        ("things:Idle", "Idle has neither enqueue() nor decide()"),
        ("things", "{folder}/things.py has several policies: add :One or :Idle"),
        ("./things.py", "{folder}/things.py has several policies: add :One or :Idle"),
        ("empty", "{folder}/empty.py defines no policy"),
        ("imports_only", "{folder}/imports_only.py defines no policy"),
        ("sys:Mine", "module sys has no class 'Mine'; it has no policy"),
        ("", "--policy '': it takes the name of a policy"),
        ("mine:", "'' cannot be a class"),
        (":Mine", "'Mine' cannot be a class"),
        ("..:Mine", "there is no module '..'"),
        ("mine\n:Mine", "--policy 'mine\\n:Mine': it takes"),
    ],
)
def test_what_is_found_instead_is_named(spec: str, words: str, folder: Path) -> None:
    write(folder / "empty.py", "")
    write(folder / "imports_only.py", "from mine import Mine")
    write(
        folder / "things.py",
        "from pyland import Policy\nfrom mine import Mine\nnumber = 5\ndef function(): pass\n"
        "class Other: pass\nclass _Base(Policy): pass\nclass Idle(_Base): pass\n"
        "class One(_Base):\n def enqueue(self, task): pass\nAlias = One\n"
        "instance = One()\ndel Idle\nclass Idle(_Base): pass\n",
    )
    assert words.format(folder=folder) in refusal(spec, folder)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("1 / 0", "importing it raised ZeroDivisionError: division by zero ({folder}/bad.py:1)"),
        ("\nimport sys; sys.exit(3)", "raised SystemExit: 3 ({folder}/bad.py:2)"),
        ("import absent_module", "ModuleNotFoundError: No module named 'absent_module'"),
        ("\n\nclass", "SyntaxError: invalid syntax ({folder}/bad.py:3)"),
        ("raise ValueError('a\\n\\x1b[2Jb')", r"raised ValueError: a \x1b[2Jb ({folder}/bad.py:1)"),
        ("import worse", "raised KeyError: 'k' ({folder}/worse.py:2)"),
        ("x = '\0'", "{folder}/bad.py"),
        ("class E(Exception):\n def __str__(self): 1 / 0\nraise E", "raised E: (its message"),
    ],
)
def test_what_importing_raises_is_told_in_one_line(text: str, words: str, folder: Path) -> None:
    write(folder / "bad.py", text)
    write(folder / "worse.py", "def worse():\n raise KeyError('k')\nworse()")
    told = refusal("bad:P", folder)
    if "\0" not in text:
        assert words.format(folder=folder) in told
    assert told.startswith("--policy bad:P: ")
    assert refusal("./bad.py:P", folder).startswith("--policy ./bad.py:P: ")


def test_a_class_that_could_never_work_is_told_with_its_line(folder: Path) -> None:
    write(folder / "bad.py", "from pyland import Policy\nclass P(Policy):\n fields = ('seq', 'x')")
    told = refusal("bad:P", folder)
    assert told.startswith("--policy bad:P: P.fields: there is no 'x'; there are seq, ")
    assert told.endswith(f" ({folder}/bad.py:2)")


def test_a_wrong_option_is_refused(folder: Path) -> None:
    assert "policy mine has no 'gap'; did you mean gap_ms?" in refusal("mine", folder, "gap=1")
    assert "gap_ms = 10: it takes a whole number from 0 to 9" in refusal(
        "mine", folder, "gap_ms=10"
    )
    assert "has no 'percpu_local'" in refusal("mine", folder, "percpu_local=yes")


def test_installed_policies_are_found_by_their_names(site: Path, tmp_path: Path) -> None:
    install(
        site, "pyland_test_b", MINE.format(name="ptb"),
        ptb="pyland_test_b:Mine", ptb_whole="pyland_test_b", ptb_none="pyland_test_b:None_",
        ptb_absent="pyland_test_b_absent:Mine", ptb_bad="1:2:3", fifo="pyland_test_b:Mine",
    )  # fmt: skip
    install(site, "pyland_test_c", "1 / 0", ptc="pyland_test_c:Mine")
    assert choose("ptb", folder=tmp_path).policy.name == "ptb"
    assert choose("ptb_whole", folder=tmp_path).policy.name == "ptb"
    assert choose("fifo", folder=tmp_path).policy.__module__ == "pyland.policies.fifo"
    assert "did you mean ptb_whole?" in refusal("ptb_whol", tmp_path)
    assert "not module:Class" in refusal("ptb_bad", tmp_path)
    listed = {(one.name, one.origin): one for one in available(tmp_path)}
    assert [one for one, origin in listed if origin == "built-in"] == list(BUILTINS)
    assert all(one.summary for (_, origin), one in listed.items() if origin == "built-in")
    assert listed["ptb", "pyland_test_b 1.5"].summary == "Mine it is."
    errors = {name: one.error for (name, origin), one in listed.items() if origin != "built-in"}
    assert errors.pop("ptb") == errors.pop("ptb_whole") == ""
    assert errors["fifo"] == "a built-in has this name"
    assert "has no class 'None_'" in errors["ptb_none"]
    assert errors["ptb_absent"].startswith("there is no")
    assert errors["ptc"].startswith("importing it raised ZeroDivisionError: division by zero (")
    assert set(errors) == {"fifo", "ptb_none", "ptb_absent", "ptb_bad", "ptc"}


def test_two_packages_with_one_name_are_told_apart(site: Path, tmp_path: Path) -> None:
    for package in ("pyland_test_d", "pyland_test_e"):
        install(site, package, MINE.format(name=package), ptd=f"{package}:Mine")
    told = refusal("ptd", tmp_path)
    assert "pyland_test_d:Mine" in told
    assert "pyland_test_e:Mine" in told
    assert choose("pyland_test_d:Mine", folder=tmp_path).policy.name == "pyland_test_d"


def test_built_ins_cost_no_look_at_the_installed_packages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "importlib.metadata", ModuleType("broken"))
    begin_s = time.monotonic()
    for name in BUILTINS:
        choose(name, folder=tmp_path)
    assert time.monotonic() - begin_s < 2
