"""`esteira delete`: attachments that have ended go, and their content with them."""

from __future__ import annotations

import rich_click as click

from actors.maintenance.deletions import delete as delete_one
from esteira.cli.environment import services_for_command
from esteira.cli.output import ask, examples, leave, print_json, say
from pipeline.errors import Code, PermanentError


@click.command(epilog=examples("esteira delete ID", "esteira delete --yes ID ID --json"))
@click.argument("ids", nargs=-1, required=True, metavar="ID…")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON.")
def delete(ids: tuple[str, ...], yes: bool, as_json: bool) -> None:
    """Deletes attachments that have ended, for good: content, bytes kept for a replay, names and captions.

    Content that another attachment has too stays for that one. The ids stay known, so that the same message sent again
    does not bring them back.
    """
    tools = services_for_command()
    chosen = list(dict.fromkeys(ids))
    if not yes:
        ask(f"Delete {len(chosen)} for good?", would=f"{len(chosen)} would be deleted for good", add="--yes")
    missed = []
    for media_id in chosen:
        try:
            delete_one(tools, media_id)
        except PermanentError as error:
            if error.code not in {Code.NOT_FOUND, Code.NOT_ENDED}:
                raise
            say(f"{media_id}: {error.message}")
            missed.append(media_id)
    if as_json:
        print_json({"deleted": len(chosen) - len(missed), "missed": missed})
    else:
        click.echo(f"{len(chosen) - len(missed)} of {len(chosen)} deleted")
    leave(1 if missed else 0)
