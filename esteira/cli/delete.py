"""`esteira delete`: removes finished attachments and their content."""

from __future__ import annotations

import rich_click as click

from actors.operations.audit import AuditEntry
from actors.operations.delete import delete as delete_attachment
from esteira.cli.audited import audited
from esteira.cli.errors import refusal
from esteira.cli.ids import media_ids
from esteira.cli.output import confirm, examples, exit_with, print_json, print_message
from esteira.cli.services import services_for_command
from pipeline.catalogue import Action
from pipeline.errors import Code, PermanentError


@click.command(epilog=examples("esteira delete ID", "esteira delete --yes ID ID --json"))
@click.argument("ids", nargs=-1, required=True, metavar="ID…")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@audited(Action.DELETE)
def delete(entry: AuditEntry, ids: tuple[str, ...], yes: bool, as_json: bool) -> None:
    """Deletes finished attachments permanently: content, bytes kept for a replay, names and captions.

    Content that another attachment shares is kept for that one. The ID is kept too, so that the same message is not
    imported again. The first characters of an ID are enough if no other ID begins with them.
    """
    selected = media_ids(services_for_command().catalogue, ids)
    if not yes:
        confirm(
            f"Delete {len(selected)} attachments permanently?",
            consequence=f"{len(selected)} would be deleted permanently",
            options="--yes",
        )
    entry.begin({"ids": selected, "matched": len(selected)})
    missed = []
    for media_id in selected:
        try:
            delete_attachment(media_id)
        except PermanentError as error:
            if error.code not in {Code.NOT_FOUND, Code.NOT_ENDED}:
                raise
            print_message(refusal(media_id, error))
            missed.append(media_id)
        else:
            entry.advance()
    entry.note(missed=len(missed))
    if as_json:
        print_json({"deleted": len(selected) - len(missed), "missed": missed})
    else:
        click.echo(f"{len(selected) - len(missed)} of {len(selected)} deleted")
    exit_with(1 if missed else 0)
