"""Do memory summaries of conversations that are over make those who still talk wait?

Twenty devices behind a voice server, in three arms that take turns on one schedule: without
summaries; with summaries that the emulated cloud may take; with summaries that only the embedded
engine can write.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

import loadtests
from firsttoken.core import settings as settings_room
from firsttoken.core.errors import UserError
from firsttoken.core.personas import read_personas
from firsttoken.core.records import ArmTarget, BlockResult
from firsttoken.core.slo import Slo
from firsttoken.engines.supervisor import EngineSupervisor
from firsttoken.trials import run_folder, servers
from firsttoken.trials.measure import ArmPlan, Measurement, Run
from firsttoken.trials.progress import Progress

WITHOUT, CLOUD_FIRST, AT_ENGINE = "without", "cloud_first", "at_engine"
ARMS: Mapping[str, str] = {
    WITHOUT: "without summaries",
    CLOUD_FIRST: "with summaries, cloud first",
    AT_ENGINE: "with summaries at the engine",
}
"""The arms, and how they are named to people."""
JUDGED = (WITHOUT, CLOUD_FIRST)
"""The arms that take turns, and are compared."""
LAST_RESORT = ("all_other_models_failed",)
"""When the cloud is asked in the arm :data:`AT_ENGINE`: so summaries wait behind everybody."""


@dataclass(frozen=True, slots=True)
class VoiceLoad:
    """What is measured."""

    devices: int = 20
    rounds: int = 10
    """Turns of each arm: p95s of 20 devices on two cores differ much from one to the next."""
    at_engine_rounds: int = 1
    """Turns of the arm :data:`AT_ENGINE`, after all others: it is looked at, not judged."""
    seconds: float = 28.0
    warmup_seconds: float = 6.0
    turns: tuple[int, int] = (3, 5)
    """Short conversations: most devices end at least one in each block."""
    slots: int = 24
    context: int = 4096
    """Tokens of a slot: a summary is given the whole conversation."""
    max_tokens: int = 32
    memory_tokens: int = 160
    seed: int = 1
    voice: Mapping[str, Any] = field(
        default_factory=lambda: {"prompt": "short", "tools": "none", "language": "en"}
    )
    """Compact prompts: the persona alone; in English, which the packaged model's tokens are made
    for."""


def voice_load(plan: VoiceLoad, slo: Slo, progress: Progress) -> tuple[Path, list[BlockResult]]:
    """Measure; return the run folder and its blocks.

    Raises:
        UserError: something could not be started, or the folder cannot be written.
    """
    run_id = run_folder.new_run_id("voice")
    run_dir = run_folder.create(None, run_id)
    notes: list[str] = []
    with ExitStack() as stack:
        engine = servers.start_engine(
            stack,
            settings_room.load(None, environ={}),
            plan.slots,
            run_dir / "engine.log",
            progress=progress,
            restarts=notes,
            context=plan.context,
        )
        with progress.doing("reading the personas into every slot"):
            _prewarm(engine, str(plan.voice["language"]))
        cloud = servers.start_cloud(stack, plan.seed, run_dir / "cloud.log")
        routers = {}
        for name, triggers in (("router", None), ("router-at-engine", LAST_RESORT)):
            file = servers.write_router_settings(
                run_dir / f"{name}.yaml",
                engine,
                cloud,
                caches=False,
                # Two routers before one engine: neither knows what the other has put in a slot.
                sections={"voice": {"clients": "all", "prefix": {"sticky_slots": False}}},
                triggers=triggers,
            )
            routers[name] = servers.start_router(stack, file, run_dir / f"{name}.log")
        note = f"router before {plan.slots} slots; backup is an emulated cloud"
        arms = {
            name: ArmPlan(
                ArmTarget(
                    name,
                    routers["router-at-engine" if name == AT_ENGINE else "router"].url,
                    "auto",
                    "openai",
                    note,
                ),
                is_router=True,
            )
            for name in ARMS
        }

        def load(names: Sequence[str], number: int) -> Measurement:
            memory_jobs = "off" if names == [WITHOUT] else "on"
            return Measurement(
                run_id=run_id,
                arms=tuple(arms[name] for name in names),
                steps=(plan.devices,),
                step_seconds=plan.seconds,
                warmup_seconds=plan.warmup_seconds,
                scenario="voice",
                # All arms of a round are told the same; each round says something else.
                seed=plan.seed + number,
                max_tokens=plan.max_tokens,
                options={
                    "sessions": {"turns": list(plan.turns)},
                    "voice": {
                        **plan.voice,
                        "memory_jobs": memory_jobs,
                        "memory_tokens": plan.memory_tokens,
                    },
                },
            )

        blocks: list[BlockResult] = []
        pids = servers.pids(engine, *routers.values())
        with Run(load([*ARMS], 0), run_dir, slo, progress, pids=pids, notes=notes) as run:
            for number in range(plan.rounds):
                for name in JUDGED if number % 2 == 0 else JUDGED[::-1]:
                    blocks += run.load(load([name], number))
            for number in range(plan.at_engine_rounds):
                blocks += run.load(load([AT_ENGINE], number))
    return run_dir, blocks


def _prewarm(engine: EngineSupervisor, language: str) -> None:
    """Have every slot read the prompt of one persona, as after a while of use.

    Raises:
        UserError: the engine does not answer.
    """
    personas = read_personas(Path(loadtests.__file__).with_name("corpora") / "voice_personas.jsonl")
    spoken = [each.system for each in personas if language in {"all", each.lang}]
    for slot in range(engine.options.slots):
        body = {
            "model": engine.options.model_name,
            "messages": [
                {"role": "system", "content": spoken[slot % len(spoken)]},
                {"role": "user", "content": "hello"},
            ],
            "max_tokens": 1,
            "id_slot": slot,
        }
        url = f"{engine.url}/v1/chat/completions"
        try:
            httpx.post(url, json=body, timeout=60.0, trust_env=False).raise_for_status()
        except httpx.HTTPError as error:
            raise UserError(f"the engine did not answer: {error}") from error
