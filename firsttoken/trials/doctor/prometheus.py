"""Facts of a Prometheus: which rules it has, what it scrapes, whom it tells."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from exporter.fetch import client, fetch_with
from firsttoken.trials.doctor.facts import PrometheusFacts


async def look(url: str, timeout_s: float) -> PrometheusFacts:
    """Read its API; over within ``timeout_s``."""
    try:
        async with asyncio.timeout(timeout_s), client(url) as http:
            fetch = fetch_with(http, timeout_s)
            replies = await asyncio.gather(
                fetch("/api/v1/rules"),
                fetch("/api/v1/targets?state=active"),
                fetch("/api/v1/alertmanagers"),
            )
        rules, targets, managers = (_data(*reply) for reply in replies)
        groups = [rule for group in rules["groups"] for rule in group["rules"]]
        up: dict[str, bool] = {}
        for each in targets["activeTargets"]:
            job = str(each["labels"]["job"])
            up[job] = up.get(job, True) and each["health"] == "up"
        return PrometheusFacts(
            url,
            rules=frozenset(each["name"] for each in groups if each["type"] == "recording"),
            alerts=frozenset(each["name"] for each in groups if each["type"] == "alerting"),
            up=up,
            alertmanagers=len(managers["activeAlertmanagers"]),
        )
    except TimeoutError:
        return PrometheusFacts(url, f"no answer within {timeout_s:g} s")
    except OSError as error:
        return PrometheusFacts(url, f"no answer: {error}")
    except (ValueError, KeyError, TypeError, AttributeError):
        return PrometheusFacts(url, "it answers, but not as a Prometheus does")


def _data(status: int, body: bytes) -> Any:
    if status != 200:
        raise ValueError(f"status {status}")
    return json.loads(body)["data"]
