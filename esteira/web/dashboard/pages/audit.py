"""The page Audit log: who changed what, with filters and pages. Only callers with that permission see it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from nicegui import ui
from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool

from actors.operations.audit_text import describe
from esteira.web.api.audit import AuditQuery
from esteira.web.api.records import decode_cursor, encode_position
from esteira.web.dashboard.filter_fields import choice_field, text_field
from esteira.web.dashboard.moments import Phrase, marked, moment, unmarked
from esteira.web.dashboard.paging import page_links
from esteira.web.dashboard.parts import box, card, heading, link, text
from esteira.web.dashboard.shell import Page
from esteira.web.dashboard.texts import TEXTS
from esteira.web.dashboard.view import View
from esteira.web.errors import payload_error
from pipeline.catalogue import Action, AuditOutcome, AuditRecord, Via
from pipeline.errors import PayloadError, PipelineError
from pipeline.security.roles import Permission
from pipeline.services import services

PATH = "/dashboard/audit"
PAGE_SIZE = 50
NAMES = ("who", "action", "outcome", "via", "since")
SINCE = ("1h", "1d", "1w")
COLUMNS = ("at", "who", "action", "count", "outcome", "details")
BADGES = {"done": "done", "failed": "failed", "refused": "rejected", "interrupted": "expired", "started": "received"}


@dataclass(frozen=True)
class LogQuery:
    """The filters and the position in the page's address, as they are written there."""

    filter_values: Mapping[str, str]
    after: str = ""

    @classmethod
    def of(cls, query: Mapping[str, str]) -> LogQuery:
        values = {name: query[name].strip() for name in NAMES if query.get(name, "").strip()}
        return cls(values, query.get("after", ""))

    def path(self, after: str = "") -> str:
        """The address of this log, from the top or after a cursor."""
        wanted = {**self.filter_values, **({"after": after} if after else {})}
        return f"{PATH}?{urlencode(wanted)}" if wanted else PATH

    def load(self) -> tuple[list[AuditRecord], str | None]:
        """The entries of this page, and the address of the next one.

        Raises:
            PayloadError: a filter or the cursor is invalid.
            RetryableError: `catalogue`.
        """
        try:
            filters = AuditQuery.model_validate(dict(self.filter_values)).filters()
        except ValidationError as error:
            raise payload_error(error.errors(include_input=False, include_url=False)) from None
        after = decode_cursor(self.after) if self.after else None
        entries = services().catalogue.audit.find(filters, limit=PAGE_SIZE + 1, after=after)
        page = entries[:PAGE_SIZE]
        more = len(entries) > len(page)
        return page, self.path(encode_position(page[-1].at, page[-1].id)) if more else None


async def build(view: View) -> None:
    """Builds the page for the query in the address."""
    days = services().settings.audit_days
    lead = view.t("audit.lead", days=view.number(days)) if days else view.t("audit.lead.all")
    heading(view.t("audit.title"), lead)
    query = LogQuery.of(ui.context.client.request.query_params)
    _form(view, query)
    try:
        entries, older = await run_in_threadpool(query.load)
    except PayloadError as error:
        text("p", view.t("audit.wrong", reason=error.message), "fault", role="alert")
        return
    except PipelineError:
        text("p", view.t("shell.away"), "notice", role="status")
        return
    if entries:
        _table(view, entries)
    else:
        with box("div", "empty", role="status"):
            text("p", view.t("audit.none"))
            if query.filter_values or query.after:
                link(view.t("audit.clear"), PATH)
    newest = query.path() if query.after else None
    page_links(view, view.t("audit.title"), newest=newest, older=older)


def _table(view: View, entries: Sequence[AuditRecord]) -> None:
    with card(view.t("audit.title"), "table-card audit"), box("table", "table stacked"):
        with box("thead"), box("tr"):
            for name in COLUMNS:
                text("th", view.t(f"audit.{name}"), "number" if name == "count" else "", scope="col")
        with box("tbody"):
            for entry in entries:
                _row(view, entry)


def _row(view: View, entry: AuditRecord) -> None:
    with box("tr"):
        moment(view, "td", entry.at, "at", data_label=view.t("audit.at"))
        with box("th", "who", scope="row"):
            text("span", _shown(entry.who))
            text("span", _actor(view, entry), "hint")
        text("td", _word(view, "action", entry.action), "action", data_label=view.t("audit.action"))
        text("td", view.number(entry.count), "number", data_label=view.t("audit.count"))
        with box("td", data_label=view.t("audit.outcome")):
            badge = BADGES.get(entry.outcome, "received")
            text("span", _word(view, "outcome", entry.outcome), f"badge {badge}")
        details = filter(None, (describe(entry.target, marked), describe(entry.detail, marked)))
        Phrase(view, "td", unmarked(" → ".join(details)), "details", data_label=view.t("audit.details"))


def _actor(view: View, entry: AuditRecord) -> str:
    token = view.t("audit.token", token=_shown(entry.token_id)) if entry.token_id else ""
    words = (entry.role or "", token, _word(view, "via", entry.via), _shown(entry.source))
    return " · ".join(filter(None, words))


def _word(view: View, kind: str, value: str) -> str:
    """The name of an action, an outcome or an interface; a newer version may have stored one that is unknown here."""
    key = f"audit.{kind}.{value}"
    return view.t(key) if key in TEXTS[view.language] else _shown(value)


def _shown(value: str) -> str:
    """A text without control characters, line breaks and direction marks."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in value)


def _form(view: View, query: LogQuery) -> None:
    value_of = query.filter_values.get
    with box("form", "filters card", method="get", action=PATH, role="search", data_submit="change"):
        with box("div", "choices log"):
            text_field("who", view.t("audit.who"), value_of("who") or "", maxlength=512)
            _choice(view, "action", value_of("action"), list(Action))
            _choice(view, "outcome", value_of("outcome"), list(AuditOutcome))
            _choice(view, "via", value_of("via"), list(Via))
            _choice(view, "since", value_of("since"), SINCE)
            text("button", view.t("audit.apply"), "button primary", type="submit")
        if query.filter_values:
            link(view.t("audit.clear"), PATH)


def _choice(view: View, name: str, chosen: str | None, values: Sequence[str]) -> None:
    known = values if not chosen or chosen in values else [*values, chosen]
    choices = {str(value): _word(view, name, value) for value in known}
    choice_field(name, view.t(f"audit.{name}"), {"": view.t("audit.any"), **choices}, chosen=chosen or "")


PAGE = Page(
    PATH,
    title="audit.title",
    icon="M6 3h9l4 4v14H6zM15 3v4h4M9 12l2 2 4-4M9 18h6",
    build=build,
    permission=Permission.AUDIT,
)
