"""What no single value shows: names that point nowhere, and names given twice."""

from __future__ import annotations

from collections.abc import Iterator

from firsttoken.core.settings.conditions import did_you_mean
from firsttoken.core.settings.document import KeyPath
from firsttoken.core.settings.environment import LOCAL, REMOTES
from firsttoken.core.settings.settings import Settings


def problems(settings: Settings) -> list[tuple[KeyPath, str]]:
    """Return key path and text of everything that is impossible in ``settings``."""
    return [*_names(settings), *_aliases(settings), *_targets(settings)]


def _names(settings: Settings) -> Iterator[tuple[KeyPath, str]]:
    seen: dict[str, int] = {}
    for index, remote in enumerate(settings.llm_routing.remote_models):
        if remote.name in seen:
            text = f'"{remote.name}" is the name of remote_models[{seen[remote.name]}] too'
            yield (*REMOTES, index, "name"), f"{text}; expected a name of its own"
        seen.setdefault(remote.name, index)


def _aliases(settings: Settings) -> Iterator[tuple[KeyPath, str]]:
    routing = settings.llm_routing
    owners: dict[str, str] = {}
    places = [(LOCAL, "local", routing.local_model)] if routing.local_model else []
    claims: list[tuple[KeyPath, str, tuple[str, ...]]] = [
        (path, name, model.model_aliases) for path, name, model in places
    ]
    claims += [
        ((*REMOTES, index), remote.name, remote.model_aliases)
        for index, remote in enumerate(routing.remote_models)
    ]
    for path, owner, aliases in claims:
        for index, alias in enumerate(aliases):
            first = owners.setdefault(alias, owner)
            if first != owner:
                text = f'"{alias}" is an alias of {first} too; expected each alias once'
                yield (*path, "model_aliases", index), text


def _targets(settings: Settings) -> Iterator[tuple[KeyPath, str]]:
    logic = settings.routing_logic
    remotes = [remote.name for remote in settings.llm_routing.remote_models]
    known = ["local_model", "remote_models", *remotes]
    targets: list[tuple[KeyPath, str]] = [
        (("routing_logic", "simple_queries", "route_to"), logic.simple_queries.route_to),
        (("routing_logic", "complex_queries", "route_to"), logic.complex_queries.route_to),
        (("routing_logic", "default_strategy", "first_try"), logic.default_strategy.first_try),
        (("routing_logic", "default_strategy", "fallback"), logic.default_strategy.fallback),
    ]
    for path, target in targets:
        if target not in known:
            yield (
                path,
                (
                    f'"{target[:60]}" is no backend{did_you_mean(target, known)}; '
                    f"expected one of {', '.join(known)}"
                ),
            )
