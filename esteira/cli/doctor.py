"""`esteira doctor`: checks this machine, the servers and the settings, and says what to do about each fault."""

from __future__ import annotations

import rich_click as click

from actors.doctor import Finding, Level, run_checks
from esteira.cli.environment import settings_for_command
from esteira.cli.output import examples, exit_with, print_json, printable

STYLES = {Level.OK: "green", Level.WARN: "yellow", Level.FAIL: "red"}
NAME_WIDTH = 22  # characters of the column with the names of the checks


@click.command(
    epilog=examples(
        "esteira doctor",
        "esteira doctor --json | jq '.checks[] | select(.level != \"ok\")'",
    )
)
@click.option("--json", "as_json", is_flag=True, help="Print `ok` and, for each check, its level, message and remedy.")
def doctor(as_json: bool) -> None:
    """Checks Redis, database, storage, staging, decoders, antivirus and settings, and prints a remedy for each fault.

    `fail`: attachments would be lost, or nothing can work; the exit status is 1. `warn`: one more fault would cause
    damage. The checks write a small object to storage and to staging, and delete it.
    """
    findings = []
    for finding in run_checks(settings_for_command()):
        findings.append(finding)
        if not as_json:
            _print(finding)
    failed = any(finding.level is Level.FAIL for finding in findings)
    if as_json:
        print_json({"ok": not failed, "checks": [finding._asdict() for finding in findings]})
    if failed:
        exit_with(1)


def _print(finding: Finding) -> None:
    level = click.style(f"{finding.level:<4}", fg=STYLES[finding.level])
    remedy = f" → {finding.remedy}" if finding.remedy else ""
    click.echo(f"{level}  {finding.check:<{NAME_WIDTH}}{printable(finding.message + remedy)}")
