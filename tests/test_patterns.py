"""No regular expression of the packages takes more than linear time, whatever text a sender chooses."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

import actors
import esteira
import pipeline
from tests.support.pattern_ambiguity import Automaton

ROOT = Path(__file__).parent.parent
PACKAGES = (pipeline, actors, esteira)
SEARCHING = frozenset({"search", "sub", "subn", "split", "findall", "finditer"})
METHODS = SEARCHING | {"compile", "match", "fullmatch"}


class Use(NamedTuple):
    """A pattern, where it is, and the methods that are called with it."""

    where: str
    pattern: str
    flags: int
    methods: frozenset[str]

    def automaton(self) -> Automaton:
        flags = self.flags & (re.IGNORECASE | re.DOTALL | re.VERBOSE)
        search = bool(self.methods & SEARCHING)
        return Automaton(self.pattern, flags, search=search, whole="fullmatch" in self.methods)


def sources() -> Iterator[Path]:
    for package in PACKAGES:
        yield from sorted(Path(package.__path__[0]).rglob("*.py"))


def calls_by_name() -> dict[tuple[Path | None, str], set[str]]:
    """The methods that are called with each name: `NAME.sub(…)` in its module, `module.NAME.sub(…)` in any module."""
    methods: dict[tuple[Path | None, str], set[str]] = {}
    for path in sources():
        for node in ast.walk(ast.parse(path.read_text())):
            if is_call(node) and node.func.attr in METHODS:
                owner = node.func.value
                name = (path, owner.id) if isinstance(owner, ast.Name) else (None, getattr(owner, "attr", ""))
                methods.setdefault(name, set()).add(node.func.attr)
    return methods


def is_call(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)


def compiled() -> Iterator[Use]:
    """The compiled patterns of all modules."""
    calls = calls_by_name()
    for path in sources():
        if "re.compile(" in path.read_text():
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            for variable, value in vars(importlib.import_module(name)).items():
                if isinstance(value, re.Pattern):
                    methods = calls.get((path, variable), set()) | calls.get((None, variable), set())
                    yield Use(f"{name}.{variable}", text_of(value), value.flags, frozenset(methods))


def text_of(pattern: re.Pattern[str] | re.Pattern[bytes]) -> str:
    return pattern.pattern if isinstance(pattern.pattern, str) else pattern.pattern.decode("latin-1")


def inline() -> Iterator[Use]:
    """The patterns in calls such as `re.sub(r"…", …)`, which must be written there."""
    for path in sources():
        for node in ast.walk(ast.parse(path.read_text())):
            if is_call(node) and isinstance(node.func.value, ast.Name) and node.func.value.id == "re":
                method = node.func.attr
                if method in METHODS - {"compile"}:
                    where = f"{path.relative_to(ROOT)}:{node.lineno}"
                    assert isinstance(node.args[0], ast.Constant), f"{where} has a computed pattern: compile it"
                    flags = re.DOTALL if "DOTALL" in ast.unparse(node) else 0
                    yield Use(where, str(node.args[0].value), flags, frozenset({method}))


def local_compiles() -> list[str]:
    """Patterns that are compiled inside functions, where `compiled` does not see them."""
    found: list[str] = []
    for path in sources():
        tree = ast.parse(path.read_text())
        top = {
            id(node)
            for statement in tree.body
            if isinstance(statement, (ast.Assign, ast.AnnAssign))
            for node in ast.walk(statement)
        }
        found += [
            f"{path.relative_to(ROOT)}:{node.lineno}"
            for node in ast.walk(tree)
            if is_call(node) and ast.unparse(node.func) == "re.compile" and id(node) not in top
        ]
    return found


USES = [*compiled(), *inline()]


@pytest.mark.parametrize("use", USES, ids=[use.where for use in USES])
def test_pattern_takes_linear_time(use: Use) -> None:
    assert use.methods, "the check does not see how this pattern is used"
    assert use.automaton().is_linear()


def test_patterns_are_compiled_where_they_can_be_checked() -> None:
    assert local_compiles() == []
    assert len(USES) > 40


@pytest.mark.parametrize(
    ("pattern", "search"),
    [
        (r"(a+)+b", False),
        (r"(a|aa)+b", False),
        (r"a*a*b", False),
        (r"\s*(\S*\s*)*x", False),
        (r"(\w+\.?)+@", False),
        (r"\w+\d+x", False),
        (r"a+b", True),
        (r"<script>(.*?)</script>", True),
        (r"//[^ ]*@", True),
        (r"\s+$", True),
    ],
)
def test_check_finds_patterns_that_take_more_than_linear_time(pattern: str, search: bool) -> None:
    assert not Automaton(pattern, re.DOTALL, search=search).is_linear()


@pytest.mark.parametrize(
    ("pattern", "search"),
    [
        (r"([a-z0-9]+\.)*[a-z0-9]+", False),
        (r"[a-z][a-z0-9]*:[0-9]+", False),
        (r"\s*data:([^,]*)(,?)", False),
        (r"[^ -~]+", True),
        (r"\?[^\s]*", True),
        (r"://([^\s/?]*@)?([^\s?]*)", True),
        (r"//[^/ ]*@", True),
    ],
)
def test_check_accepts_patterns_that_take_linear_time(pattern: str, search: bool) -> None:
    assert Automaton(pattern, search=search, whole=not search).is_linear()
