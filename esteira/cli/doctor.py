"""`esteira doctor`: whether this machine is fit for the belt, and what to do where it is not."""

from __future__ import annotations

import rich_click as click

from actors.doctor import Finding, Level, run_checks
from esteira.cli.environment import settings_for_command
from esteira.cli.output import examples, leave, print_json, printable

STYLES = {Level.OK: "green", Level.WARN: "yellow", Level.FAIL: "red"}
NAME_WIDTH = 20


@click.command(
    epilog=examples(
        "esteira doctor",
        "esteira doctor --json | jq '.checks[] | select(.level != \"ok\")'",
    )
)
@click.option("--json", "as_json", is_flag=True, help="Print `ok` and, for each check, its level, message and remedy.")
def doctor(as_json: bool) -> None:
    """Checks Redis, catalogue, storage, staging, decoders, antivirus and settings: a line each, with the remedy.

    `fail` says that attachments would be lost or that nothing can work: the exit status is 1 then. `warn` says what
    one fault more would cost. A small object is written to storage and staging, and deleted.
    """
    findings = []
    for finding in run_checks(settings_for_command()):
        findings.append(finding)
        if not as_json:
            _show(finding)
    failed = any(finding.level is Level.FAIL for finding in findings)
    if as_json:
        print_json({"ok": not failed, "checks": [finding._asdict() for finding in findings]})
    if failed:
        leave(1)


def _show(finding: Finding) -> None:
    level = click.style(f"{finding.level:<4}", fg=STYLES[finding.level])
    remedy = f" → {finding.remedy}" if finding.remedy else ""
    click.echo(f"{level}  {finding.check:<{NAME_WIDTH}}{printable(finding.message + remedy)}")
