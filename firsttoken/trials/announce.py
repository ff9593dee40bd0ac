"""Tells our routers that a load test runs, so that boards can mark it."""

from __future__ import annotations

from collections.abc import Iterable

import httpx

from firsttoken.trials.target import read_key

PATH = "/-/load-test"


def announce(
    routers: Iterable[tuple[str, str | None]], run_id: str, scenario: str, *, begins: bool
) -> None:
    """Tell each router, a base URL and the variable of its key, that a run begins or has ended.

    A router that does not want to know, or is gone, is none of the run's business.
    """
    said = {"state": "start" if begins else "stop", "run_id": run_id, "scenario": scenario}
    for url, api_key_env in routers:
        key = read_key(api_key_env)
        headers = {"authorization": f"Bearer {key}"} if key else {}
        try:
            httpx.post(f"{url}{PATH}", json=said, headers=headers, timeout=2.0, trust_env=False)
        except httpx.HTTPError:
            continue
