"""`esteira rotate-keys`: encrypts the sources of attachments with the first key of ENCRYPTION_KEYS."""

from __future__ import annotations

from collections.abc import Mapping

import rich_click as click

from actors.operations.audit import AuditEntry
from esteira.cli.audited import audited
from esteira.cli.output import examples, exit_with, print_json, print_message, print_table, progress_bar
from esteira.cli.services import services_for_command
from pipeline.catalogue import Action
from pipeline.catalogue.sources import Sources
from pipeline.errors import SettingsError

PLAIN = "not encrypted"


@click.command(
    name="rotate-keys",
    epilog=examples(
        "esteira rotate-keys --dry-run   # counts the rows of each key",
        "esteira rotate-keys",
    ),
)
@click.option("--dry-run", is_flag=True, help="Only count the rows of each key.")
@click.option("--json", "as_json", is_flag=True, help='Print `{"rewritten": n, "keys": {ID: n}, "removable": [ID]}`.')
@audited(Action.ROTATE_KEYS)
def rotate_keys(entry: AuditEntry, dry_run: bool, as_json: bool) -> None:
    """Encrypts media keys and source URLs with the first key of ENCRYPTION_KEYS.

    Workers and web app may run meanwhile, if all of them know all keys. After an interruption run it again: rows that
    have the first key are skipped. A key that no row uses any more can be removed from ENCRYPTION_KEYS.

    The exit status is 1 if there are rows whose key is not set.
    """
    sources = services_for_command().catalogue.sources
    if not sources.key_ids and not dry_run:
        raise SettingsError("ENCRYPTION_KEYS: is not set: make a key with `openssl rand -base64 32 | tr '+/' '-_'`")
    rewritten = 0 if dry_run else _rotate(entry, sources)
    counts = sources.count_by_key()
    missing = {name: rows for name, rows in counts.items() if name is not None and name not in sources.key_ids}
    removable = [name for name in sources.key_ids[1:] if name not in counts]
    if as_json:
        keys = {name or PLAIN: rows for name, rows in counts.items()}
        print_json({"rewritten": rewritten, "keys": dict.fromkeys(sources.key_ids, 0) | keys, "removable": removable})
    else:
        _print_result(sources, counts, rewritten=None if dry_run else rewritten)
    exit_with(1 if missing else 0)


def _rotate(entry: AuditEntry, sources: Sources) -> int:
    """Goes through all rows in transactions of their own; returns how many were rewritten."""
    total = sum(sources.count_by_key().values())
    rewritten, after = 0, ""
    entry.begin({"key": sources.key_ids[0]})
    with progress_bar("rows") as bar:
        task = bar.add_task("encrypting", total=total)
        while page := sources.rotate_page(after=after):
            rewritten, after = rewritten + page.rewritten, page.last_id
            bar.advance(task, page.read)
            entry.advance(page.rewritten)
    return rewritten


def _print_result(sources: Sources, counts: Mapping[str | None, int], *, rewritten: int | None) -> None:
    if rewritten is not None:
        click.echo(f"{rewritten} rows rewritten")
    names: list[str | None] = [*sources.key_ids, *(name for name in counts if name not in sources.key_ids)]
    rows = {name: counts.get(name, 0) for name in names}
    print_table(("key", "rows", ""), [(name or PLAIN, n, _remark(sources, name, n)) for name, n in rows.items()])
    for name in sources.key_ids[1:]:
        if not counts.get(name):
            print_message(f"The key {name} is not used by any row: it can be removed from ENCRYPTION_KEYS.")


def _remark(sources: Sources, name: str | None, rows: int) -> str:
    if name is None:
        return "`esteira rotate-keys` encrypts them" if sources.key_ids else "ENCRYPTION_KEYS is not set"
    if name not in sources.key_ids:
        return "missing in ENCRYPTION_KEYS: these attachments cannot be fetched"
    if name == sources.key_ids[0]:
        return "encrypts"
    return "decrypts; in use" if rows else "decrypts; not used by any row"
