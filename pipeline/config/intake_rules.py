"""INTAKE_RULES: which attachments are accepted at all. The first rule that matches decides, before any download."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Annotated, Any

from pydantic import ConfigDict, Field, StrictBool, StrictFloat, StrictInt, StrictStr, ValidationError

from pipeline.config.limits import MB
from pipeline.models import Attachment, Kind, Model

MAX_RULES = 1000
WILDCARDS = frozenset("*?[")
BASE64_GROUP, BYTES_OF_GROUP = 4, 3  # characters of base64 that hold so many bytes

Pattern = Annotated[StrictStr, Field(min_length=1, max_length=512)]
Patterns = Annotated[tuple[Pattern, ...], Field(min_length=1)]


class IntakeRule(Model):
    """A rule: whether to take the attachments that fit all of its conditions. A rule without conditions fits all.

    `sessions`, `chats` and `senders` are names, or patterns with the wildcards of a shell. A chat or sender fits by its
    address or its phone number. `kinds` and `larger_mb` are about what the message declares, and `larger_mb` about the
    bytes themselves where they come along: what is not known fits neither. `from_me` is whether the session has sent
    the message; one that does not say so counts as received.
    """

    model_config = ConfigDict(extra="forbid")

    sessions: Patterns | None = None
    chats: Patterns | None = None
    senders: Patterns | None = None
    kinds: Annotated[frozenset[Kind], Field(min_length=1)] | None = None
    larger_mb: Annotated[StrictInt | StrictFloat, Field(ge=0, allow_inf_nan=False)] | None = None
    from_me: StrictBool | None = None
    take: StrictBool

    def __str__(self) -> str:
        fields = self.model_dump(mode="json", exclude_none=True, exclude={"take"})
        conditions = [f"{name} {_shown(value)}" for name, value in fields.items()]
        return f"{'accept' if self.take else 'ignore'} {', '.join(conditions) or 'everything'}"

    @property
    def fits_all(self) -> bool:
        """Whether the rule has no condition."""
        return self.model_fields_set == {"take"}

    def matches(self, attachment: Attachment, size: int | None) -> bool:
        """Whether an attachment of so many bytes (None: unknown) fits all conditions."""
        return (
            (self.kinds is None or attachment.kind in self.kinds)
            and (self.from_me is None or bool(attachment.from_me) is self.from_me)
            and (self.larger_mb is None or (size is not None and size > self.larger_mb * MB))
            and (self.sessions is None or self._sessions.fit(attachment.session))
            and (self.chats is None or self._chats.fit(attachment.chat, attachment.chat_number))
            and (self.senders is None or self._senders.fit(attachment.sender, attachment.sender_number))
        )

    @cached_property
    def _sessions(self) -> _Names:
        return _names(self.sessions or ())

    @cached_property
    def _chats(self) -> _Names:
        return _names(self.chats or ())

    @cached_property
    def _senders(self) -> _Names:
        return _names(self.senders or ())


@dataclass(frozen=True)
class _Names:
    """Names and patterns in the form in which they are compared."""

    exact: frozenset[str]
    wild: tuple[str, ...]

    def fit(self, *values: str | None) -> bool:
        return any(value is not None and (value in self.exact or self._fits_wild(value)) for value in values)

    def _fits_wild(self, value: str) -> bool:
        return any(fnmatchcase(value, pattern) for pattern in self.wild)


def _names(patterns: Sequence[str]) -> _Names:
    return _Names(frozenset(patterns), tuple(pattern for pattern in patterns if WILDCARDS.intersection(pattern)))


def _shown(value: Any) -> str:
    return " or ".join(sorted(value)) if isinstance(value, list) else str(value).lower()


def refusing_rule(rules: Sequence[IntakeRule], attachment: Attachment, *, size: int | None = None) -> int | None:
    """The number of the rule that refuses an attachment, counted from 1; None if it is taken.

    `size`: that of the file which comes with it, if there is one.
    """
    if not rules:
        return None
    if size is None:
        size = len(attachment.data) // BASE64_GROUP * BYTES_OF_GROUP if attachment.data else attachment.size
    for number, rule in enumerate(rules, 1):
        if rule.matches(attachment, size):
            return None if rule.take else number
    return None


def as_intake_rules(value: Any) -> Any:
    """Parses the JSON of INTAKE_RULES; values other than text are unchanged.

    Raises:
        ValueError: it names the rule by its number, the field, and what is wrong.
    """
    if not isinstance(value, str):
        return value
    try:
        items = json.loads(value, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        items = None
    if not isinstance(items, list):
        raise ValueError('must be a JSON list: [{"chats": ["status@broadcast"], "take": false}]')  # noqa: TRY004
    if len(items) > MAX_RULES:
        raise ValueError(f"has {len(items)} rules: at most {MAX_RULES} are possible")
    return tuple(_rule(number, item) for number, item in enumerate(items, 1))


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _rule(number: int, item: Any) -> IntakeRule:
    if not isinstance(item, dict):
        raise ValueError(f'rule {number}: must be an object such as {{"kinds": ["sticker"], "take": false}}')  # noqa: TRY004
    if nulls := [name for name, value in item.items() if value is None]:
        raise ValueError(f"rule {number}: {nulls[0]}: is null: leave it out to match everything")
    try:
        return IntakeRule.model_validate(item)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        raise ValueError(f"rule {number}: {_fault(first)}") from None


def _fault(detail: Any) -> str:
    name, kind = str(detail["loc"][0]), detail["type"]
    if kind == "extra_forbidden":
        return f"{name}: is not known; the fields are {', '.join(IntakeRule.model_fields)}"
    if kind == "missing":
        return f"{name}: is missing: true accepts what fits the rule, false ignores it"
    if kind == "too_short":
        return f"{name}: is empty: leave it out to match everything"
    forms = {
        "sessions": "a list of names or patterns",
        "chats": "a list of addresses, numbers or patterns",
        "senders": "a list of addresses, numbers or patterns",
        "kinds": f"a list of {', '.join(Kind)}",
        "larger_mb": "a number of megabytes, 0 or more",
    }
    return f"{name}: must be {forms.get(name, 'true or false')}"
