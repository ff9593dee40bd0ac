"""Gathering the facts: what waits runs at once, what is timed runs alone, all of it is bounded."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from firsttoken.core.errors import UserError
from firsttoken.core.settings import Backend, Settings, load
from firsttoken.core.slo import Slo
from firsttoken.core.words import Tier
from firsttoken.engines import options
from firsttoken.engines.memory import estimate, slots_that_fit
from firsttoken.trials.doctor import engine as engine_room
from firsttoken.trials.doctor import failover, machine, prometheus, remotes, running
from firsttoken.trials.doctor.facts import (
    EngineFacts,
    Facts,
    Machine,
    ModelFile,
    RouterFacts,
    SettingsFacts,
    Sizing,
)
from firsttoken.trials.doctor.findings import Checklist
from router.config import from_settings
from router.policy.explain import explain

ROUTED = ("你好", "帮我写代码")
"""Questions whose routes are shown: the guide's patterns call the first one simple and the second
complex."""

_WHOLE = 2.8
"""Times the time limit of one check: what everything may take."""

_MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a person asked the doctor for."""

    targets: Slo
    paths: tuple[Path, ...] | None = None
    """Settings files; None: the packaged one."""
    lists: frozenset[Checklist] = frozenset(Checklist)
    demanded: bool = False
    """See :attr:`Facts.demanded`."""
    router: str | None = None
    """Its address; None: that of the settings."""
    timeout_s: float = 10.0
    """Of each check that waits; the whole takes about three times that at most."""
    model_sha256: str | None = None
    prometheus: str | None = None
    key: str | None = field(default=None, repr=False)
    """Of the router, where it is none of the settings'."""


def read_settings(paths: Sequence[Path] | None) -> SettingsFacts:
    """Read the settings; what is wrong with them is a fact too."""
    names = tuple(str(path) for path in paths or ())
    files = list(paths) if paths else None
    try:
        settings = load(files)
    except UserError as error:
        return SettingsFacts(names, None, tuple(str(error).splitlines()))
    try:
        # Which program would restart the engine does not change a route.
        config = from_settings(load(files, overrides={"recovery.adapter": "none"}))
    except UserError as error:
        return SettingsFacts(names, settings, tuple(str(error).splitlines()))
    routes = {}
    for question in ROUTED:
        plan = explain(config, [{"role": "user", "content": question}], "auto").plan
        routes[question] = str(plan.attempts[0].backend.tier)
    return SettingsFacts(names, settings, (), routes)


async def gather(wanted: Wanted) -> Facts:
    """Gather what the lists that were asked for need."""
    told = await asyncio.to_thread(read_settings, wanted.paths)
    settings = told.settings
    if settings is None:
        found = await asyncio.to_thread(machine.look, None, Path.cwd())
        return Facts(wanted.lists, wanted.demanded, wanted.targets, told, found)
    until_s = time.monotonic() + _WHOLE * wanted.timeout_s
    facts = await _look_around(wanted, told, settings)
    facts = await _ask(wanted, facts, settings, until_s)
    if Checklist.AFTER in wanted.lists:
        seconds = max(wanted.timeout_s / 2, until_s - time.monotonic())
        tried = await failover.attempt(settings, wanted.paths, seconds)
        facts = replace(facts, failover=tried)
    return facts


async def _look_around(wanted: Wanted, told: SettingsFacts, settings: Settings) -> Facts:
    """Look at everything that does not mind the others."""
    before, steps = Checklist.BEFORE in wanted.lists, Checklist.STEPS in wanted.lists
    around = asyncio.create_task(_engine_and_file(wanted, settings))
    others = asyncio.create_task(remotes.look(settings, wanted.timeout_s / 2)) if before else None
    rules = None
    if steps and wanted.prometheus:
        rules = asyncio.create_task(prometheus.look(wanted.prometheus, wanted.timeout_s / 2))
    router, engine, file = await around
    folder = Path(file.path).parent if file is not None else Path.home()
    found = await asyncio.to_thread(machine.look, settings, folder)
    return Facts(
        wanted.lists,
        wanted.demanded,
        wanted.targets,
        told,
        found,
        file,
        engine,
        await others if others is not None else remotes.known(settings),
        router,
        prometheus=await rules if rules is not None else None,
        sizing=sizing(settings, found, engine, file, wanted.targets.memory_share),
    )


async def _engine_and_file(
    wanted: Wanted, settings: Settings
) -> tuple[RouterFacts, EngineFacts | None, ModelFile | None]:
    seconds = wanted.timeout_s / 2
    deadline_s = time.monotonic() + seconds
    url = wanted.router or running.address(settings)
    router = await running.look(url, seconds)
    local = local_of(settings)
    if local is None:
        return router, None, None
    embedded = None
    if router.running:
        pid = await asyncio.to_thread(running.pid_of, url)
        embedded = await asyncio.to_thread(engine_room.embedded_url, pid)
    engine = await engine_room.look(local, embedded, max(1.0, deadline_s - time.monotonic()))
    path = await asyncio.to_thread(_path_of, settings, engine)
    if path is None:
        return router, engine, None
    file = await asyncio.to_thread(machine.model_file, path, wanted.model_sha256, deadline_s)
    return router, engine, file


def local_of(settings: Settings) -> Backend | None:
    """Return the local backend of the settings."""
    return next((each for each in settings.backends() if each.tier is Tier.LOCAL), None)


def _path_of(settings: Settings, engine: EngineFacts) -> Path | None:
    """Return the model's file: the one that the settings name, else the one that the engine has,
    else, where no engine answers, the one that ``serve --engine`` would take."""
    if settings.engine.model:
        return Path(settings.engine.model).expanduser()
    if engine.answers:
        told = Path(engine.model_path) if engine.model_path else None
        try:
            return told if told is not None and told.is_file() else None
        except OSError:
            return None  # another user's folder
    try:
        return options.default_model()
    except UserError:
        return None


def sizing(
    settings: Settings,
    found: Machine,
    engine: EngineFacts | None,
    file: ModelFile | None,
    share: float,
) -> Sizing | None:
    """Compute what the engine takes of memory; None where its model's numbers are not known."""
    header = (file.header if file is not None else None) or (engine.header if engine else None)
    if header is None or found.available is None:
        return None
    own = engine is None or not engine.answers or engine.embedded
    loading = settings.local_optimization.model_loading
    told = engine.slots if engine is not None else None
    slots = told or (settings.engine.slots if own else 1)
    context = engine.context if engine is not None else None
    context = context or (settings.engine.context if own else None) or loading.num_ctx
    defaults = options.EngineOptions(Path())
    cache = defaults.prompt_cache_mib * _MIB if own else 0
    need = estimate(header, slots, context, defaults.micro_batch, cache)
    held = engine.memory if engine is not None else None
    limit = found.available
    if held is not None:
        limit = min(held.limit, found.available + held.unreclaimable)
    fitting = slots_that_fit(header, context, int(share * limit) - cache)
    return Sizing(need, slots, context, limit, fitting)


async def _ask(wanted: Wanted, facts: Facts, settings: Settings, until_s: float) -> Facts:
    """Ask the questions, one at a time and with nothing else under way; leave time to fail over."""
    engine, router, local = facts.engine, facts.router, local_of(settings)
    asked = wanted.lists & {Checklist.STEPS, Checklist.AFTER}
    if router is None or not asked:
        return facts
    tokens = wanted.targets.targets.short_reply_tokens
    half = wanted.timeout_s / 2
    if engine is not None and engine.answers and engine.present is not False and local is not None:
        token = await running.test_question(settings, local, engine, tokens, half)
        engine = replace(engine, token=token)
    keys = settings.client_keys()
    key = wanted.key or (keys[0] if keys else None)
    if router.running and Checklist.AFTER in wanted.lists:
        left_s = until_s - time.monotonic() - wanted.timeout_s
        seconds = min(wanted.timeout_s, max(half, left_s))
        through, direct = await running.questions(
            settings, local, engine, router, key=key, tokens=tokens, seconds=seconds
        )
        router = replace(router, asked=through)
        engine = replace(engine, direct=direct) if engine is not None else None
    router = await running.look_again(router, key, half)
    return replace(facts, engine=engine, router=router)
