"""Pictures of every board, from a real run: engine, router, exporter, Prometheus, Alertmanager.

In the middle of the run the engine stands still for a while: the boards then show a breaker that
opens, requests that move to the cloud, alerts, and what the loop would have done.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from ruamel.yaml import YAML

from dashboards import preview
from dashboards.build import files, loaded
from dashboards.rules import emit
from dashboards.rules.model import Pace
from dashboards.rules.prometheus import Addresses
from dashboards.rules.receivers import Loop, Receivers
from firsttoken.core import settings as settings_room
from firsttoken.core.slo import Slo
from firsttoken.engines.supervisor import EngineSupervisor
from firsttoken.trials import run_folder, servers
from firsttoken.trials.monitoring import address, start_exporter, start_monitoring
from firsttoken.trials.progress import Progress
from firsttoken.trials.talkers import Manner, Talkers

PICTURES = Path("docs/boards")

PACE = Pace(scrape=1, evaluation=1, recent=60, samples=10, hold_scale=0.05, group_wait=1)
"""Fast enough that three minutes show what a day would."""


MANNER = Manner(complex_share=0.05)


@dataclass(frozen=True, slots=True)
class Run:
    """What is run for the pictures. Times are seconds."""

    talkers: int = 12
    before: float = 60.0
    still: float = 45.0
    """For which the engine stands still."""
    after: float = 65.0
    slots: int = 24
    seed: int = 1

    @property
    def seconds(self) -> float:
        """How long it takes."""
        return self.before + self.still + self.after


def boards(plan: Run, slo: Slo, progress: Progress, out: Path = PICTURES) -> list[Path]:
    """Run, draw every board, and return the pictures.

    Raises:
        UserError: something could not be started or asked.
    """
    folder = run_folder.create(None, run_folder.new_run_id("boards"))
    with ExitStack() as stack:
        prometheus, began = _run(stack, plan, slo, progress, folder)
        with progress.doing("drawing"):
            window = preview.Window(began, time.time(), PACE.scrape)
            boards = loaded(files(slo, settings_room.load(None, environ={})))
            earlier = {"earlier": f"{plan.before + plan.still:.0f}s"}
            return preview.draw(boards, prometheus, window, out, chosen=earlier)


def _run(
    stack: ExitStack, plan: Run, slo: Slo, progress: Progress, folder: Path
) -> tuple[str, float]:
    settings = settings_room.load(None, environ={})
    engine = servers.start_engine(
        stack, settings, plan.slots, folder / "engine.log", progress=progress, restarts=[]
    )
    cloud = servers.start_cloud(stack, plan.seed, folder / "cloud.log")
    file = servers.write_router_settings(folder / "settings.yaml", engine, cloud)
    token = _with_loop(file, folder)
    router = servers.start_router(stack, file, folder / "router.log")
    exporter = start_exporter(stack, engine.url, folder / "exporter.log", probe_seconds=5)
    known = Addresses(address(router.url), address(exporter.url))
    receivers = Receivers(loop=Loop(f"{router.url}/-/alerts", str(token)))
    options = emit.Options(pace=PACE, addresses=known, receivers=receivers)
    told = settings_room.load([file], environ={})
    prometheus = start_monitoring(stack, folder, slo, told, options)
    began = time.time()
    with progress.doing(
        f"{plan.talkers} talkers for {plan.seconds:g} s, an engine that stands still"
    ):
        asyncio.run(_talk(router.url, engine, plan, folder.name))
    return prometheus, began


async def _talk(url: str, engine: EngineSupervisor, plan: Run, run_id: str) -> None:
    async with Talkers(url, MANNER, plan.seed) as talkers:
        async with asyncio.TaskGroup() as group:
            group.create_task(talkers.talk(plan.talkers, plan.seconds))
            group.create_task(_stand_still(engine, plan))
            group.create_task(_announced(talkers, run_id, plan.before / 2))
        await asyncio.sleep(PACE.scrape * 3)  # until the last of it was scraped


async def _announced(talkers: Talkers, run_id: str, seconds: float) -> None:
    """Say that a load test runs, for so long; alerts on latency are held back meanwhile."""
    await talkers.announce(run_id, "boards")
    await asyncio.sleep(seconds)
    await talkers.conclude(run_id)


async def _stand_still(engine: EngineSupervisor, plan: Run) -> None:
    await asyncio.sleep(plan.before)
    pid = engine.pid
    if pid is None:
        return
    os.kill(pid, signal.SIGSTOP)
    try:
        await asyncio.sleep(plan.still)
    finally:
        os.kill(pid, signal.SIGCONT)


def _with_loop(file: Path, folder: Path) -> Path:
    """Turn the loop on, in dry run, in a settings file; return the file with its token."""
    token = folder.resolve() / "alert-token"
    token.touch(0o600)
    token.write_text(os.urandom(24).hex(), encoding="ascii")
    yaml = YAML()
    document = yaml.load(file.read_text(encoding="utf-8"))
    document["alert_actions"] = {
        "enable": True,
        "dry_run": True,
        "token_file": str(token),
        "audit_log": str(folder / "audit.jsonl"),
        "kill_switch": str(folder / "stop"),
        "snapshots": str(folder / "snapshots"),
    }
    document["conversations"] = {"idle_seconds": 10}
    routing = document["llm_routing"]
    routing["remote_models"][0]["price_per_1k_tokens"] = 0.01
    with file.open("w", encoding="utf-8") as stream:
        yaml.dump(document, stream)
    return token
