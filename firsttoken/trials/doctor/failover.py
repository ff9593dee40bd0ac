"""Failing over for real, on a router of the doctor's own.

It has the user's settings, but its local engine is a port that nobody listens on, and nothing that
could touch the engine or the alerts of the router that serves: no recovery, no actions, no caches.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from exporter.fetch import client
from firsttoken.core.child import Child
from firsttoken.core.errors import UserError
from firsttoken.core.settings import LOCAL_BACKEND, Settings
from firsttoken.core.words import Tier
from firsttoken.trials.doctor.asking import ask
from firsttoken.trials.doctor.facts import FailoverFacts
from firsttoken.wire import dialects
from firsttoken.wire.dialect import ChatRequest

LOCAL = "FIRSTTOKEN__LLM_ROUTING__LOCAL_MODEL__"

HARMLESS: Mapping[str, str] = {
    f"{LOCAL}DIALECT": "openai",
    f"{LOCAL}TIMEOUT": "2",
    "FIRSTTOKEN__RECOVERY__ADAPTER": "none",
    "FIRSTTOKEN__ALERT_ACTIONS__ENABLE": "false",
    "FIRSTTOKEN__CACHING_STRATEGY__LOCAL_CACHE__ENABLE": "false",
    "FIRSTTOKEN__CACHING_STRATEGY__SEMANTIC_CACHE__ENABLE": "false",
    "FIRSTTOKEN__LOCAL_OPTIMIZATION__MODEL_LOADING__PRELOAD": "false",
    "FIRSTTOKEN__SERVER__KEEP_TEXTS": "false",
}
"""What the private router is told beside the user's settings."""


def obstacle(settings: Settings) -> FailoverFacts | None:
    """Return why it cannot be tried and what would help; None where it can."""
    backends = settings.backends()
    if not settings.hybrid_mode:
        return FailoverFacts(why_not="hybrid mode is off", fix="set llm_routing.hybrid_mode: true")
    if not any(each.tier is Tier.LOCAL for each in backends):
        why = "there is no local model that could fail"
        return FailoverFacts(why_not=why, fix="set llm_routing.local_model")
    remotes = [each for each in backends if each.tier is Tier.REMOTE]
    if not remotes:
        fix = "add one to llm_routing.remote_models"
        return FailoverFacts(why_not="no remote backend is configured", fix=fix)
    if not any(each.enabled for each in remotes):
        off = ", ".join(f"{each.name}: {each.disabled_reason}" for each in remotes)
        fix = "set the key of a remote backend (see network), then run this again"
        return FailoverFacts(why_not=f"no remote backend is on ({off})", fix=fix)
    return None


async def attempt(
    settings: Settings, paths: Sequence[Path] | None, timeout_s: float
) -> FailoverFacts:
    """Start the private router, ask it for the local backend, and stop it; over within
    ``timeout_s``, but for the stopping."""
    hindered = obstacle(settings)
    if hindered is not None:
        return hindered
    given_up = threading.Event()
    with socket.socket() as dead:
        # Bound and not listened on: a connection is refused, and nobody else can take the port.
        dead.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{dead.getsockname()[1]}"
        try:
            router = await asyncio.to_thread(
                _start, paths, endpoint, timeout_s / 2, given_up.is_set
            )
        except UserError as error:
            why = f"a private router did not start: {error}"
            return FailoverFacts(
                why_not=why,
                fix="give --timeout more seconds, or see why: firsttoken serve --config FILE",
            )
        except asyncio.CancelledError:
            given_up.set()  # the thread goes on by itself and would wait for a router not wanted
            raise
        try:
            keys = settings.client_keys()
            question = ChatRequest(
                LOCAL_BACKEND,
                [{"role": "user", "content": f"{secrets.randbelow(10**6)}: are you there?"}],
                stream=True,
                max_tokens=8,
            )
            call = dialects.get("openai").build_request(question, keys[0] if keys else None)
            async with client(router.url) as http:
                return FailoverFacts(await ask(http, "openai", call, timeout_s / 2))
        finally:
            await asyncio.to_thread(router.stop)


def _start(
    paths: Sequence[Path] | None, endpoint: str, timeout_s: float, cancelled: Callable[[], bool]
) -> Child:
    argv = [sys.executable, "-m", "firsttoken.cli.main", "serve", "--ready-json"]
    argv += ["--host", "127.0.0.1", "--port", "0"]
    for path in paths or ():
        argv += ["--config", str(path)]
    env = {**HARMLESS, f"{LOCAL}ENDPOINT": endpoint}
    if "LOCAL_LLM_ENDPOINT" in os.environ:
        env["LOCAL_LLM_ENDPOINT"] = endpoint
    return Child.start(argv, ready_timeout_s=timeout_s, env=env, cancelled=cancelled)
