"""Finds regular expressions whose matching time grows faster than the text.

A pattern becomes an automaton whose states are its characters (Glushkov's construction). Backtracking is more than
linear if there are two states p and q and a word that leads from p to p, from p to q and from q to q (Weber and Seidl,
"On the degree of ambiguity of finite automata", 1991): the word can then be divided between them in many ways. For a
search, the attempts at every position of the text are one more state with a loop.

Look-arounds and anchors count as always true, and a bounded repetition of more than MAX_EXPANDED as an unbounded one:
the check may refuse a pattern that is linear, and accepts none that is not, apart from back-references.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import product
from typing import Any, NamedTuple

parser: Any = getattr(re, "_parser")  # noqa: B009  (private, and the only parser of this syntax)

OTHERS = 256  # represents all characters beyond Latin-1
END = 257  # the end of the text, which `$` needs
ALPHABET = frozenset(range(OTHERS + 1))
MAX_EXPANDED = 32
CATEGORIES = {
    "CATEGORY_DIGIT": re.compile(r"\d"),
    "CATEGORY_SPACE": re.compile(r"\s"),
    "CATEGORY_WORD": re.compile(r"\w"),
}


class Part(NamedTuple):
    """A part of a pattern: the states that it may begin and end with, and whether it may be empty."""

    first: frozenset[int] = frozenset()
    last: frozenset[int] = frozenset()
    nullable: bool = True


class Automaton:
    """The automaton of a pattern: `characters` and `following` of each state.

    With `search` it is tried at every position of a text, with `whole` it must match the text to its end.
    """

    def __init__(self, pattern: str, flags: int = 0, *, search: bool = False, whole: bool = False) -> None:
        self.characters: list[frozenset[int]] = []
        self.following: list[set[int]] = []
        self.nested = False  # a repetition directly inside another one, as in (a+)+
        self._whole = whole
        tree = parser.parse(pattern, flags)
        self._flags = tree.state.flags
        whole = self._sequence(tree)
        self.accepting = whole.last
        self.start: int | None = None
        if search:
            self.start = self._state(ALPHABET)
            self.following[self.start] |= {self.start, *whole.first}

    def is_linear(self) -> bool:
        """Whether no repeated word can be divided between two states in many ways."""
        repeated = [state for state in range(len(self.characters)) if state in self._reachable(state)]
        # An attempt that reaches a possible end of the pattern succeeds, unless the end of the text is needed.
        undecided = [q for q in repeated if self._whole or q not in self.accepting]
        return not self.nested and not any(
            p != q and self._reaches((p, p, q), (p, q, q)) for p, q in product(repeated, undecided)
        )

    def _reachable(self, state: int) -> set[int]:
        found: set[int] = set()
        waiting = [state]
        while waiting:
            fresh = self.following[waiting.pop()] - found
            found |= fresh
            waiting += fresh
        return found

    def _reaches(self, start: tuple[int, int, int], end: tuple[int, int, int]) -> bool:
        seen, waiting = {start}, [start]
        while waiting:
            for step in product(*(self.following[state] for state in waiting.pop())):
                common = self.characters[step[0]] & self.characters[step[1]] & self.characters[step[2]]
                if common and step == end:
                    return True
                if common and step not in seen:
                    seen.add(step)
                    waiting.append(step)
        return False

    def _state(self, characters: frozenset[int]) -> int:
        self.characters.append(characters)
        self.following.append(set())
        return len(self.characters) - 1

    def _characters(self, characters: frozenset[int]) -> Part:
        states = frozenset({self._state(characters)})
        return Part(states, states, nullable=False)

    def _sequence(self, items: Iterable[Any]) -> Part:
        whole = Part()
        for item in items:
            whole = self._join(whole, self._item(item))
        return whole

    def _join(self, left: Part, right: Part) -> Part:
        for state in left.last:
            self.following[state] |= right.first
        return Part(
            left.first | right.first if left.nullable else left.first,
            left.last | right.last if right.nullable else right.last,
            left.nullable and right.nullable,
        )

    def _item(self, item: Any) -> Part:
        operation, argument = str(item[0]), item[1]
        if operation.endswith("_REPEAT"):
            return self._repeat(*argument)
        if operation == "BRANCH":
            branches = [self._sequence(branch) for branch in argument[1]]
            firsts, lasts = (frozenset[int]().union(*(part[side] for part in branches)) for side in (0, 1))
            return Part(firsts, lasts, any(part.nullable for part in branches))
        if operation == "SUBPATTERN":
            return self._sequence(argument[-1])
        if operation == "ATOMIC_GROUP":
            return self._sequence(argument)
        if operation == "AT" and "END" in str(argument):
            return self._characters(frozenset({END}))
        if operation in {"AT", "ASSERT", "ASSERT_NOT"}:
            return Part()
        return self._characters(self._set(operation, argument))

    def _repeat(self, least: int, most: Any, items: Any) -> Part:
        if most is not parser.MAXREPEAT and most <= MAX_EXPANDED:
            whole = Part()
            for number in range(most):
                part = self._sequence(items)
                whole = self._join(whole, part if number < least else part._replace(nullable=True))
            return whole
        part = self._sequence(items)
        for state in part.last:
            self.nested = self.nested or bool(self.following[state] & part.first)
            self.following[state] |= part.first
        return part._replace(nullable=part.nullable or not least)

    def _set(self, operation: str, argument: Any) -> frozenset[int]:
        match operation:
            case "LITERAL":
                return self._cases(frozenset({min(argument, OTHERS)}))
            case "NOT_LITERAL":
                return ALPHABET - self._cases(frozenset({argument} - {OTHERS}))
            case "ANY":
                return ALPHABET if self._flags & re.DOTALL else ALPHABET - {ord("\n")}
            case "RANGE":
                return self._cases(
                    frozenset(min(code, OTHERS) for code in range(argument[0], min(argument[1], 300) + 1))
                )
            case "IN":
                negated = str(argument[0][0]) == "NEGATE"
                union = frozenset[int]().union(*(self._set(str(name), value) for name, value in argument[negated:]))
                return (ALPHABET - union) | {OTHERS} if negated else union
            case "CATEGORY":
                category = str(argument)
                inside = frozenset(
                    code for code in range(OTHERS) if CATEGORIES[category.replace("_NOT_", "_")].match(chr(code))
                )
                return ALPHABET - inside if "_NOT_" in category else inside | {OTHERS}
        raise ValueError(f"{operation} is not supported")

    def _cases(self, codes: frozenset[int]) -> frozenset[int]:
        if not self._flags & re.IGNORECASE:
            return codes
        forms = (form for code in codes if code < OTHERS for form in (chr(code).lower(), chr(code).upper()))
        return codes | {min(ord(form), OTHERS) for form in forms if len(form) == 1}
