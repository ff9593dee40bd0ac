"""The servers of a trial: embedded engine, emulated cloud, router; all children, all stopped."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from firsttoken.core import settings as settings_room
from firsttoken.core.child import Child
from firsttoken.core.settings import Settings, environment
from firsttoken.engines import options as engine_options
from firsttoken.engines.supervisor import EngineSupervisor
from firsttoken.trials.progress import Progress

CLOUD_MODEL = "emulated-qwen"
CLOUD_PREFIX = "/compatible-mode"


def start_engine(
    stack: ExitStack,
    settings: Settings,
    slots: int,
    log: Path,
    *,
    progress: Progress,
    restarts: list[str],
    context: int | None = None,
    chat_template: str = "",
) -> EngineSupervisor:
    """Start the embedded engine; ``restarts`` is told of those that follow.

    ``context``: tokens of a slot, None: as the settings say. ``chat_template``: how prompts are
    written, empty: the model's own way.
    """
    wanted = engine_options.from_settings(settings, slots=slots, context_per_slot=context)
    checked = engine_options.check(replace(wanted, chat_template=chat_template))
    engine = EngineSupervisor(checked.options, log=log, on_event=restarts.append)
    with progress.doing(f"starting llama.cpp with {slots} slots"):
        engine.start()
    stack.callback(engine.stop)
    return engine


def start_cloud(stack: ExitStack, seed: int, log: Path, *, error_share: float = 0.0) -> Child:
    """Start the emulated cloud; ``error_share`` of its requests fail."""
    argv = [sys.executable, "-m", "firsttoken.upstreams.cloud", "--seed", str(seed)]
    argv += ["--error-share", str(error_share)]
    return stack.enter_context(Child.start(argv, log=log))


def start_router(stack: ExitStack, settings_file: Path, log: Path) -> Child:
    """Start the router."""
    serve = ["-m", "firsttoken.cli.main", "serve", "--ready-json", "--port", "0"]
    return stack.enter_context(
        Child.start(
            [sys.executable, *serve, "--config", str(settings_file)],
            log=log,
            env=environment.neutral(os.environ),
        )
    )


def pids(engine: EngineSupervisor, *routers: Child) -> dict[str, Callable[[], list[int]]]:
    """Return what tells the processes of each component, however often the engine restarts."""
    found: dict[str, Callable[[], list[int]]] = {
        "engine": lambda: [] if engine.pid is None else [engine.pid]
    }
    if routers:
        found["router"] = lambda: [router.pid for router in routers]
    return found


def write_router_settings(
    path: Path,
    engine: EngineSupervisor,
    cloud: Child,
    *,
    caches: bool = True,
    local: Mapping[str, Any] | None = None,
    sections: Mapping[str, Mapping[str, Any]] | None = None,
    triggers: Sequence[str] | None = None,
) -> Path:
    """Write the default settings with the addresses of these servers; return ``path``.

    ``local`` changes keys of the local model, ``sections`` those of other sections, by their names.
    ``triggers``: when the cloud is asked, None: as the first remote model of the default settings.
    """
    yaml = YAML()
    document: dict[str, Any] = yaml.load(settings_room.DEFAULT_PATH.read_text(encoding="utf-8"))
    routing = document["llm_routing"]
    routing["local_model"] |= {
        "endpoint": engine.url,
        "model": engine.options.model_name,
        "dialect": "openai",
        "slots": engine.options.slots,
        **(local or {}),
    }
    for name, values in (sections or {}).items():
        document.setdefault(name, {}).update(values)
    first = routing["remote_models"][0]
    routing["remote_models"] = [
        {
            "name": "emulated_cloud",
            "endpoint": f"{cloud.url}{CLOUD_PREFIX}",
            "model": CLOUD_MODEL,
            "dialect": "openai",
            "priority": 100 - routing["local_model"]["priority"],
            "trigger_conditions": list(
                first["trigger_conditions"] if triggers is None else triggers
            ),
        }
    ]
    document["health_check"]["local_model"].pop("endpoint", None)
    # The probabilities of a model as small as this one say nothing: see docs/confidence.md.
    document["confidence"] = {"tokens": 0}
    if not caches:
        for cache in document["caching_strategy"].values():
            cache["enable"] = False
    with path.open("w", encoding="utf-8") as file:
        yaml.dump(document, file)
    return path
