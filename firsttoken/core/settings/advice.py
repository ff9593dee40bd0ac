"""Settings that are possible and yet will not do what was probably meant.

A *warning* is worth a look at every start. A *note* says how a value is read; only
``firsttoken config validate`` prints notes.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec

from firsttoken.core.settings import durations
from firsttoken.core.settings.backend import Backend
from firsttoken.core.settings.document import KeyPath
from firsttoken.core.settings.endpoint import is_loopback, is_private, parse
from firsttoken.core.settings.environment import LOCAL, REMOTES
from firsttoken.core.settings.settings import Settings
from firsttoken.core.settings.tree import Tree
from firsttoken.core.words import Tier

Finding = tuple[KeyPath, str]

VOICE_FIRST_TURN_TOKENS = 3700
"""Tokens of a voice client's first turn: persona, tools, examples and template, measured."""

_LOADING: KeyPath = ("local_optimization", "model_loading")
_INFERENCE: KeyPath = ("local_optimization", "inference")
_MEMORY: KeyPath = ("local_optimization", "memory")


def warnings(settings: Settings, backends: list[Backend], tree: Tree) -> list[Finding]:
    """Return the key path and text of every warning."""
    return [
        *_disabled(settings, backends),
        *_context(settings, tree),
        *_thresholds(settings),
        *_shares(settings),
        *_exposure(settings, backends),
        *_health(settings),
        *_engine(settings),
    ]


def _disabled(settings: Settings, backends: list[Backend]) -> Iterator[Finding]:
    by_name = {backend.name: backend for backend in backends}
    if not settings.hybrid_mode:
        return
    for index, remote in enumerate(settings.llm_routing.remote_models):
        backend = by_name.get(remote.name)
        if backend is not None and not backend.enabled:
            yield (*REMOTES, index), f"{remote.name} is off: {backend.disabled_reason}"


def _context(settings: Settings, tree: Tree) -> Iterator[Finding]:
    """The guide's 2048 tokens do not hold what a voice client sends first."""
    path = (*_LOADING, "num_ctx")
    loading = settings.local_optimization.model_loading
    needed = VOICE_FIRST_TURN_TOKENS + loading.num_predict
    if tree.get(path) is not None and loading.num_ctx < needed:
        enough = -(-needed // 1024) * 1024
        yield (
            path,
            (
                f"{loading.num_ctx} tokens a slot do not hold a voice client's first turn of "
                f"{VOICE_FIRST_TURN_TOKENS} tokens and {loading.num_predict} of answer; "
                f"set {enough} or more, or shorten the prompt"
            ),
        )


def _thresholds(settings: Settings) -> Iterator[Finding]:
    threshold = settings.routing_logic.default_strategy.confidence_threshold
    for index, remote in enumerate(settings.llm_routing.remote_models):
        for place, condition in enumerate(remote.trigger_conditions):
            if condition.name == "local_model_confidence" and condition.value != threshold:
                yield (
                    (*REMOTES, index, "trigger_conditions", place),
                    (
                        f"differs from routing_logic.default_strategy.confidence_threshold "
                        f"({threshold:g}); the trigger's value is used"
                    ),
                )


def _shares(settings: Settings) -> Iterator[Finding]:
    routing = settings.llm_routing
    shares = [remote.priority for remote in routing.remote_models]
    if routing.local_model is not None:
        shares.append(routing.local_model.priority)
    if len(shares) > 1 and sum(shares) != 100:
        yield ("llm_routing",), f"the priorities add up to {sum(shares)}, not 100"


def _exposure(settings: Settings, backends: list[Backend]) -> Iterator[Finding]:
    asked = settings.server.api_keys_env or settings.server.api_keys_file
    if not asked and not is_loopback(settings.server.host):
        yield (
            ("server", "host"),
            (
                f"anyone who reaches {settings.server.host} may use the backends; "
                "set server.api_keys_env or listen on 127.0.0.1"
            ),
        )
    for backend in backends:
        plain = backend.base_url.startswith("http://")
        if backend.api_key is not None and plain and not is_private(parse(backend.base_url)):
            path = LOCAL if backend.tier is Tier.LOCAL else REMOTES
            yield path, f"{backend.name}: the key goes to a public host without encryption"


def _health(settings: Settings) -> Iterator[Finding]:
    local, probe = settings.llm_routing.local_model, settings.health_check.local_model
    if local is None or probe.endpoint is None:
        return
    if parse(local.endpoint).origin != parse(probe.endpoint).origin:
        yield (
            ("health_check", "local_model", "endpoint"),
            "is another server than llm_routing.local_model.endpoint; leave it out to follow that",
        )


def _engine(settings: Settings) -> Iterator[Finding]:
    loading = settings.local_optimization.model_loading
    if loading.preload and durations.seconds(loading.keep_alive) == 0:
        yield (*_LOADING, "keep_alive"), "0 unloads at once the model that preload loads"
    dialect = settings.llm_routing.local_model and settings.llm_routing.local_model.dialect
    if dialect in {None, "ollama"}:
        for name in ("mlock", "numa"):
            if getattr(settings.local_optimization.memory, name):
                yield (*_MEMORY, name), "ignored by Ollama; heeded by llama.cpp"


def notes(settings: Settings) -> list[Finding]:
    """Return the key path and text of every note."""
    return [*_readings(settings), *_encoder(settings), *_acting(settings)]


def _readings(settings: Settings) -> Iterator[Finding]:
    options = settings.local_optimization
    local = settings.llm_routing.local_model
    if local is not None and local.max_tokens != options.model_loading.num_predict:
        smaller = min(local.max_tokens, options.model_loading.num_predict)
        yield (
            (*_LOADING, "num_predict"),
            f"beside max_tokens {local.max_tokens} the smaller of the two holds locally: {smaller}",
        )
    if options.inference.batch_size != 1:
        yield (
            (*_INFERENCE, "batch_size"),
            "is not the engine's n_batch; requests served at once are the number of slots",
        )
    for index, sentence in enumerate(settings.tuning_recommendations.slow_response):
        if "temperature" in sentence.lower():
            yield (
                ("tuning_recommendations", "slow_response", index),
                "the temperature does not move the first token",
            )
    if not settings.hybrid_mode and settings.llm_routing.remote_models:
        yield ("llm_routing", "hybrid_mode"), "is off: the remote backends are not used"


def _encoder(settings: Settings) -> Iterator[Finding]:
    cache = settings.caching_strategy.semantic_cache
    package = cache.embedding_model.partition("/")[0].replace("-", "_")
    if cache.enable and package == "sentence_transformers" and find_spec(package) is None:
        yield (
            ("caching_strategy", "semantic_cache", "embedding_model"),
            (
                "the package sentence-transformers is not installed: the encoder that comes along "
                "is used, with a threshold of its own instead of similarity_threshold"
            ),
        )


def _acting(settings: Settings) -> Iterator[Finding]:
    told = settings.alert_actions
    if not settings.monitoring_metrics.alerts or (told.enable and not told.dry_run):
        return
    switch = "alert_actions.dry_run: false" if told.enable else "alert_actions.enable: true"
    yield ("monitoring_metrics", "alerts"), f"nothing is done about alerts without {switch}"
