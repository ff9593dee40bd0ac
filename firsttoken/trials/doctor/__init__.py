"""``firsttoken doctor``: the deployment guide's three checklists, checking themselves.

Facts are gathered at the edge (``gather`` and the files it calls); each check is a pure function
from :class:`Facts` to findings (``before``, ``steps``, ``after``).
"""

from __future__ import annotations

import asyncio
import time

from firsttoken.trials.doctor import page
from firsttoken.trials.doctor.examine import examine
from firsttoken.trials.doctor.facts import Facts
from firsttoken.trials.doctor.findings import Checklist, Finding, Level, without
from firsttoken.trials.doctor.gather import Wanted, gather

__all__ = ["Checklist", "Facts", "Finding", "Level", "Wanted", "examine", "gather", "run"]


def run(wanted: Wanted, *, json_output: bool = False) -> int:
    """Gather, check, print; return the exit code."""
    started_s = time.monotonic()
    facts = asyncio.run(gather(wanted))
    secrets = _secrets(wanted, facts)
    findings = [without(secrets, each) for each in examine(facts)]
    seconds = time.monotonic() - started_s
    if json_output:
        print(page.as_json(facts, findings, seconds))
    else:
        print("\n".join(page.lines(facts, findings, seconds)))
    return page.exit_code(findings)


def _secrets(wanted: Wanted, facts: Facts) -> set[str]:
    settings = facts.settings.settings
    found = {wanted.key}
    if settings is not None:
        found |= {each.api_key for each in settings.backends()}
        found |= {*settings.client_keys(), settings.alert_token()}
    return {each for each in found if each}
