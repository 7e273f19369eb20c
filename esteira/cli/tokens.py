"""`esteira token` and `esteira link`: limited access over HTTP without the API_TOKEN."""

from __future__ import annotations

import rich_click as click

from actors.operations.audit import AuditEntry
from esteira.cli.audited import audited
from esteira.cli.environment import settings_for_command
from esteira.cli.ids import media_id as complete_id
from esteira.cli.output import examples, print_json, print_message
from esteira.cli.services import shared_catalogue
from pipeline.catalogue import Action, Catalogue
from pipeline.errors import Code, PermanentError
from pipeline.security.tokens import DEFAULT_LINK_S, MAX_LINK_S, MAX_TOKEN_DAYS, TokenSigner

ALL_GATEWAYS = "*"


@click.command(
    epilog=examples(
        "esteira token shop",
        "esteira token shop --days 1",
        "esteira token shop --gateway waha",
        "esteira token shop --gateway '*'",
    )
)
@click.argument("session")
@click.option(
    "--gateway",
    metavar="NAME",
    help="The gateway of the session; default: the only one that has it. `*` for the sessions with this name of all "
    "gateways.",
)
@click.option(
    "--days",
    type=click.FloatRange(min=0, min_open=True, max=MAX_TOKEN_DAYS),
    default=30,
    show_default=True,
    help="How long the token is valid.",
)
@audited(Action.TOKEN)
def token(entry: AuditEntry, session: str, gateway: str | None, days: float) -> None:
    """Prints a token that can read the attachments of one session over HTTP, and change nothing.

    Sessions of two gateways with the same name are two sessions. The token's id is printed on stderr: `esteira users
    revoke ID` ends the token before it expires. For a person, or for several sessions, use `esteira users add`.
    """
    if not session.strip():
        raise click.UsageError("the session's name is empty")
    signer = TokenSigner(settings_for_command().api_token)
    catalogue = shared_catalogue()
    chosen = gateway or _only_gateway(catalogue, session)
    entry.begin({"session": session, "gateway": chosen, "days": days})
    text = signer.session_token(session, gateway=None if chosen == ALL_GATEWAYS else chosen, days=days)
    issued = signer.read(text)
    assert issued
    entry.note(token_id=issued.id)
    click.echo(text)
    print_message(f"id {issued.id}, gateway {chosen}")


def _only_gateway(catalogue: Catalogue, session: str) -> str:
    gateways = catalogue.sessions.gateways_of(session)
    if len(gateways) == 1:
        return gateways[0]
    if gateways:
        raise click.UsageError(
            f"{', '.join(gateways)} have a session {session}: add --gateway with one of them, or --gateway '*' for all"
        )
    raise click.UsageError(f"no gateway has handed over an attachment of the session {session} yet: add --gateway NAME")


@click.command(epilog=examples("esteira link ID", "esteira link ID --seconds 60 --base https://media.example.com"))
@click.argument("media_id", metavar="ID")
@click.option(
    "--seconds",
    type=click.IntRange(1, MAX_LINK_S),
    default=DEFAULT_LINK_S,
    show_default=True,
    help="How long the link is valid.",
)
@click.option("--base", metavar="URL", help="Public address of the web app; default: this machine at PORT.")
@click.option("--json", "as_json", is_flag=True, help='Print `{"url", "expires"}`.')
@audited(Action.LINK)
def link(entry: AuditEntry, media_id: str, seconds: int, base: str | None, as_json: bool) -> None:
    """Prints a link that opens an attachment's content without a token until it expires."""
    settings = settings_for_command()
    signer = TokenSigner(settings.api_token)
    catalogue = shared_catalogue()
    media_id = complete_id(catalogue, media_id)
    if catalogue.get(media_id) is None:
        raise PermanentError(Code.NOT_FOUND, f"no attachment has the id {media_id}; `esteira list` shows the newest")
    entry.begin({"id": media_id, "seconds": seconds})
    path, expires = signer.link(media_id, seconds=seconds)
    entry.note(expires=expires)
    url = f"{(base or f'http://127.0.0.1:{settings.port}').rstrip('/')}{path}"
    if as_json:
        print_json({"url": url, "expires": expires})
    else:
        click.echo(url)
