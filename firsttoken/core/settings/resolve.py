"""From checked values to backends: endpoints, dialects, models and keys."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from firsttoken.core.settings import keys
from firsttoken.core.settings.backend import LOCAL_BACKEND, Backend
from firsttoken.core.settings.document import KeyPath, dotted
from firsttoken.core.settings.endpoint import is_private, parse, provider_of
from firsttoken.core.settings.endpoint import resolve as resolve_endpoint
from firsttoken.core.settings.environment import LOCAL, REMOTES
from firsttoken.core.settings.guide import LocalModel, RemoteModel
from firsttoken.core.settings.settings import Settings
from firsttoken.core.words import Tier


@dataclass
class Resolved:
    """Backends, keys and tokens, and what was wrong on the way, each with its key path."""

    backends: list[Backend] = field(default_factory=list)
    api_keys: tuple[str, ...] = ()
    alert_token: str | None = field(default=None, repr=False)
    key_sources: dict[str, str] = field(default_factory=dict)
    problems: list[tuple[KeyPath, str]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Key:
    value: str | None = field(repr=False)
    variable: str | None
    """The environment variable asked, for messages."""
    demanded: bool
    """Whether the host is known to need a key, or the settings name one."""


def resolve(settings: Settings, environ: Mapping[str, str]) -> Resolved:
    """Make the backends of ``settings``, local first, the remotes by falling priority."""
    found = Resolved()
    routing = settings.llm_routing
    num_predict = settings.local_optimization.model_loading.num_predict
    if routing.local_model is not None:
        found.backends.append(_local(routing.local_model, num_predict, environ, found))
    remotes = [
        backend
        for index, remote in enumerate(routing.remote_models)
        if (backend := _remote(remote, (*REMOTES, index), settings, environ, found))
    ]
    found.backends += sorted(remotes, key=lambda backend: -backend.priority)
    _client_keys(settings, environ, found)
    _alert_token(settings, environ, found)
    return found


def _local(
    model: LocalModel, num_predict: int, environ: Mapping[str, str], found: Resolved
) -> Backend:
    base_url, dialect = resolve_endpoint(model.endpoint, model.dialect)
    key = _key(model, LOCAL, environ, found)
    return Backend(
        name=LOCAL_BACKEND,
        tier=Tier.LOCAL,
        base_url=base_url,
        dialect=dialect,
        model=model.model,
        api_key=key.value,
        priority=model.priority,
        max_tokens=min(model.max_tokens, num_predict),
        first_token_timeout_s=model.timeout,
        slots=model.slots,
        model_aliases=model.model_aliases,
        price_per_1k_tokens=model.price_per_1k_tokens,
    )


def _remote(
    remote: RemoteModel,
    path: KeyPath,
    settings: Settings,
    environ: Mapping[str, str],
    found: Resolved,
) -> Backend | None:
    local = settings.llm_routing.local_model
    endpoint = parse(remote.endpoint)
    provider = provider_of(endpoint)
    model = remote.model or (provider.model if provider else None)
    key = _key(remote, path, environ, found)
    if model is None:
        found.problems.append(
            ((*path, "model"), f"is missing; expected the name of a model at {endpoint.host}")
        )
        return None
    base_url, dialect = resolve_endpoint(remote.endpoint, remote.dialect)
    reason = ""
    if not settings.hybrid_mode:
        reason = "hybrid mode is off"
    elif key.demanded and key.value is None:
        reason = f"{key.variable or remote.api_key_file} is not set"
    return Backend(
        name=remote.name,
        tier=Tier.REMOTE,
        base_url=base_url,
        dialect=dialect,
        model=model,
        api_key=key.value,
        priority=remote.priority,
        max_tokens=remote.max_tokens or (local.max_tokens if local else None),
        first_token_timeout_s=remote.timeout,
        triggers=tuple(str(condition) for condition in remote.trigger_conditions),
        conditions=remote.trigger_conditions,
        slots=remote.slots,
        model_aliases=remote.model_aliases,
        price_per_1k_tokens=remote.price_per_1k_tokens,
        enabled=not reason,
        disabled_reason=reason,
    )


def _key(
    model: LocalModel | RemoteModel, path: KeyPath, environ: Mapping[str, str], found: Resolved
) -> _Key:
    endpoint = parse(model.endpoint)
    provider = None if is_private(endpoint) else provider_of(endpoint)
    variable = model.api_key_env
    if variable is None and model.api_key_file is None and provider is not None:
        variable = provider.api_key_env
    demanded = variable is not None or model.api_key_file is not None
    try:
        secret = keys.find_one(variable, model.api_key_file, environ)
    except ValueError as error:
        name = "api_key_file" if model.api_key_file else "api_key_env"
        found.problems.append(((*path, name), str(error)))
        secret = None
    if secret is not None:
        found.key_sources[dotted(path)] = f"set (from {secret.source})"
    elif demanded:
        found.key_sources[dotted(path)] = f"not set ({variable or model.api_key_file})"
    return _Key(secret.values[0] if secret else None, variable, demanded)


def _client_keys(settings: Settings, environ: Mapping[str, str], found: Resolved) -> None:
    server = settings.server
    name = "api_keys_env" if server.api_keys_env else "api_keys_file"
    path: KeyPath = ("server", name)
    try:
        secret = keys.find(server.api_keys_env, server.api_keys_file, environ)
    except ValueError as error:
        found.problems.append((path, str(error)))
        return
    if secret is not None:
        found.api_keys = secret.values
        found.key_sources["server"] = f"set (from {secret.source})"
    elif server.api_keys_env:
        # To run without asking for a key, where one was meant, would open the router to anyone.
        found.problems.append(
            (
                path,
                f"the environment variable {server.api_keys_env} is not set; expected keys in it",
            )
        )


def _alert_token(settings: Settings, environ: Mapping[str, str], found: Resolved) -> None:
    told = settings.alert_actions
    path: KeyPath = ("alert_actions", "token_env" if told.token_env else "token_file")
    try:
        secret = keys.find_one(told.token_env, told.token_file, environ)
    except ValueError as error:
        if told.enable:
            found.problems.append((path, str(error)))
        return
    if secret is not None:
        found.alert_token = secret.values[0]
        found.key_sources["alert_actions"] = f"set (from {secret.source})"
    elif told.token_env and told.enable:
        # To act for anyone, where a token was meant, would be worse than not to start.
        text = f"the environment variable {told.token_env} is not set; expected a token in it"
        found.problems.append((path, text))
