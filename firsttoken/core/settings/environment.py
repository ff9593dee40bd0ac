"""Overrides from the environment.

``LOCAL_LLM_ENDPOINT``, ``LLM_HYBRID_MODE`` and ``LOCAL_LLM_PRIORITY`` are the guide's. Any other
key is named by its path in capitals, parts joined by two underscores::

    FIRSTTOKEN__LLM_ROUTING__LOCAL_MODEL__TIMEOUT=3
    FIRSTTOKEN__LLM_ROUTING__REMOTE_MODELS__QWEN_CLOUD__PRIORITY=30      (or __0__ for the first)
    FIRSTTOKEN__ROUTING_LOGIC__SIMPLE_QUERIES__PATTERNS='["hello", "你好"]'

A value is read as YAML. An empty one counts as not set, as Compose files pass it on.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter, ValidationError

from firsttoken.core.settings.conditions import did_you_mean
from firsttoken.core.settings.document import KeyPath, dotted, parse_value
from firsttoken.core.settings.fields import is_list, section_in
from firsttoken.core.settings.kinds import Section
from firsttoken.core.settings.tree import Tree

PREFIX = "FIRSTTOKEN__"
LOCAL: KeyPath = ("llm_routing", "local_model")
LOCAL_ENDPOINT: KeyPath = (*LOCAL, "endpoint")
LOCAL_PRIORITY: KeyPath = (*LOCAL, "priority")
HYBRID_MODE: KeyPath = ("llm_routing", "hybrid_mode")
REMOTES: KeyPath = ("llm_routing", "remote_models")

_TRUTH = {"true": True, "1": True, "yes": True, "on": True}
_TRUTH |= {"false": False, "0": False, "no": False, "off": False}


def describe(name: str) -> str:
    """Return how a source in the environment is written."""
    return f"environment variable {name}"


def neutral(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that would override settings, each as empty: laid over ``environ``,
    they leave a child process with what its settings file says."""
    guide = ("LOCAL_LLM_ENDPOINT", "LLM_HYBRID_MODE", "LOCAL_LLM_PRIORITY")
    return {name: "" for name in environ if name in guide or name.startswith(PREFIX)}


def apply(tree: Tree, environ: Mapping[str, str], model: type[Section]) -> list[str]:
    """Lay the environment over ``tree``; return one line for each variable that is wrong."""
    problems: list[str] = []
    if endpoint := environ.get("LOCAL_LLM_ENDPOINT", "").strip():
        tree.set(LOCAL_ENDPOINT, endpoint, describe("LOCAL_LLM_ENDPOINT"))
    if hybrid := environ.get("LLM_HYBRID_MODE", "").strip():
        tree.set(HYBRID_MODE, _TRUTH.get(hybrid.lower(), hybrid), describe("LLM_HYBRID_MODE"))
    if priority := environ.get("LOCAL_LLM_PRIORITY", "").strip():
        _set_local_priority(tree, priority)
    for name in sorted(name for name in environ if name.startswith(PREFIX)):
        if environ[name] == "":
            continue
        try:
            path, annotation = find(tree, name.removeprefix(PREFIX).split("__"), model)
        except ValueError as error:
            problems.append(f"{describe(name)}: {error}")
            continue
        if not tree.set(path, _value(environ[name], annotation), describe(name)):
            problems.append(f"{describe(name)}: {dotted(path)}: has no place in the settings")
    return problems


def _set_local_priority(tree: Tree, text: str) -> None:
    """Set the local priority and rescale the remotes to what is left of 100."""
    source = describe("LOCAL_LLM_PRIORITY")
    if tree.get(REMOTES) and tree.get(LOCAL) is None:
        return
    value = parse_value(text)
    tree.set(LOCAL_PRIORITY, value, source)
    remotes = tree.get(REMOTES)
    if not isinstance(remotes, list) or type(value) is not int or not 0 <= value <= 100:
        return
    given = [remote.get("priority", 0) if isinstance(remote, dict) else None for remote in remotes]
    shares = [share for share in given if type(share) is int and share >= 0]
    if len(shares) != len(given) or not sum(shares):
        return
    for index, share in enumerate(rescale(shares, 100 - value)):
        path = (*REMOTES, index, "priority")
        tree.set(path, share, f"{source}, rescaled from {shares[index]} ({tree.source(path)})")


def rescale(shares: list[int], total: int) -> list[int]:
    """Return whole numbers in proportion to ``shares`` that add up to ``total``.

    Largest remainders are rounded up, the first of equals first.
    """
    whole = sum(shares)
    exact = [share * total / whole for share in shares]
    result = [int(share) for share in exact]
    by_remainder = sorted(range(len(exact)), key=lambda i: result[i] - exact[i])
    for index in by_remainder[: total - sum(result)]:
        result[index] += 1
    return result


def find(tree: Tree, parts: list[str], model: type[Section]) -> tuple[KeyPath, Any]:
    """Return the key path that ``parts`` name, in any case, and the annotation of its field.

    Raises:
        ValueError: there is no such key, or it names a section and not a value.
    """
    path: KeyPath = ()
    here: type[Section] | None = model
    annotation: Any = None
    remaining = list(parts)
    while remaining:
        part = remaining.pop(0)
        if here is None:
            raise ValueError(f"{dotted(path)}: has no keys below it; expected the variable to end")
        names = {name.upper(): name for name in here.model_fields}
        if part.upper() not in names:
            raise ValueError(
                f"{dotted((*path, part.lower()))}: unknown key"
                f"{did_you_mean(part.lower(), list(here.model_fields))}; "
                f"expected one of {', '.join(here.model_fields)}"
            )
        path = (*path, names[part.upper()])
        annotation = here.model_fields[str(path[-1])].annotation
        here = section_in(annotation)
        if here is not None and is_list(annotation):
            path = (*path, _item(tree, path, remaining.pop(0) if remaining else ""))
    if here is not None:
        raise ValueError(
            f"{dotted(path)}: is a section; expected one of its keys, "
            f"{', '.join(here.model_fields)}"
        )
    return path, annotation


def _item(tree: Tree, path: KeyPath, part: str) -> int:
    items = tree.get(path)
    items = items if isinstance(items, list) else []
    if re.fullmatch(r"[0-9]{1,4}", part) and int(part) < len(items):
        return int(part)
    names = [str(item.get("name", "")) if isinstance(item, dict) else "" for item in items]
    for index, name in enumerate(names):
        if part and re.sub(r"[^A-Za-z0-9]", "_", name).upper() == part.upper():
            return index
    known = ", ".join(name for name in names if name) or "none"
    raise ValueError(
        f"{dotted(path)}: has no item {part.lower()[:60]!r}; expected the name of one ({known}) "
        "or its number from 0"
    )


def _value(text: str, annotation: Any) -> Any:
    """Read a value as YAML, unless only the plain text suits the field."""
    value = parse_value(text)
    adapter: TypeAdapter[Any] = TypeAdapter(annotation)
    for candidate in (value, text):
        try:
            adapter.validate_python(candidate, strict=not isinstance(candidate, list))
        except ValidationError:
            continue
        return candidate
    return value
