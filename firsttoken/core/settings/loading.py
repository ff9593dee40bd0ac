"""Reading settings: files, then the environment, then the command line; all findings at once."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from firsttoken.core.errors import UserError
from firsttoken.core.settings import advice, checks, document, environment, findings
from firsttoken.core.settings.defaults import DEFAULT_PATH
from firsttoken.core.settings.document import Document, KeyPath
from firsttoken.core.settings.endpoint import parse as parse_endpoint
from firsttoken.core.settings.resolve import resolve
from firsttoken.core.settings.settings import Derived, Settings
from firsttoken.core.settings.tree import Tree

_HEALTH_ENDPOINT: KeyPath = ("health_check", "local_model", "endpoint")
COMMAND_LINE = "command line"


def load(
    paths: Sequence[Path] | None = None,
    environ: Mapping[str, str] = os.environ,
    overrides: Mapping[str, Any] | None = None,
) -> Settings:
    """Read settings from YAML files, each laid over the one before.

    ``paths`` None reads the packaged ``hybrid.yaml``; an empty sequence reads no file, so that
    every value is a default. ``overrides`` maps key paths such as ``server.port`` or
    ``llm_routing.remote_models.qwen_cloud.endpoint`` to values from the command line; they win
    over the environment (see :mod:`firsttoken.core.settings.environment`), which wins over files.

    Raises:
        UserError: one line, ``FILE:LINE: key.path: what was wrong; expected ...``, for each thing
            that is wrong.
    """
    documents = _read_all([DEFAULT_PATH] if paths is None else paths)
    return _finish(documents, environ, overrides or {})


def from_mapping(
    values: Mapping[str, Any], environ: Mapping[str, str] | None = None, name: str = "settings"
) -> Settings:
    """Make settings from a mapping shaped like the file, without the process's environment.

    Raises:
        UserError: as :func:`load`; ``name`` stands for the file.
    """
    lines: dict[KeyPath, int] = {}

    def walk(value: Any, path: KeyPath) -> Any:
        if path:
            lines[path] = 1
        if isinstance(value, Mapping):
            return {str(key): walk(item, (*path, str(key))) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [walk(item, (*path, index)) for index, item in enumerate(value)]
        return value

    plain = walk(values, ())
    return _finish([Document(name, plain, lines)], environ or {}, {})


def _read_all(paths: Sequence[Path]) -> list[Document]:
    documents, problems = [], []
    for path in paths:
        try:
            documents.append(document.read(Path(path)))
        except UserError as error:
            problems.append(str(error))
    document.refuse(problems)
    return documents


def _finish(
    documents: Sequence[Document], environ: Mapping[str, str], overrides: Mapping[str, Any]
) -> Settings:
    tree = Tree()
    for item in documents:
        tree.add(item)
    endpoint_of_files = tree.get(environment.LOCAL_ENDPOINT)
    problems = environment.apply(tree, environ, Settings)
    problems += _override(tree, overrides)
    _let_health_check_follow(tree, endpoint_of_files)
    try:
        settings = Settings.model_validate(tree.values)
    except ValidationError as error:
        document.refuse([*problems, *findings.lines(error, tree, Settings)])
        raise
    resolved = resolve(settings, environ)
    problems += [
        findings.line(tree, path, text)
        for path, text in (*checks.problems(settings), *resolved.problems)
    ]
    document.refuse(problems)
    backends = resolved.backends
    return settings.with_derived(
        Derived(
            backends=tuple(backends),
            api_keys=resolved.api_keys,
            alert_token=resolved.alert_token,
            sources=dict(tree.sources),
            key_sources=resolved.key_sources,
            warnings=tuple(
                findings.line(tree, *item) for item in advice.warnings(settings, backends, tree)
            ),
            notes=tuple(findings.line(tree, *item) for item in advice.notes(settings)),
        )
    )


def _override(tree: Tree, overrides: Mapping[str, Any]) -> list[str]:
    problems = []
    for key, value in overrides.items():
        parts = [part for part in key.replace("[", ".").replace("]", "").split(".") if part]
        try:
            path, _ = environment.find(tree, parts, Settings)
        except ValueError as error:
            problems.append(f"{COMMAND_LINE}: {error}")
            continue
        if not tree.set(path, value, COMMAND_LINE):
            problems.append(
                f"{COMMAND_LINE}: {document.dotted(path)}: has no place in the settings"
            )
    return problems


def _let_health_check_follow(tree: Tree, endpoint_of_files: Any) -> None:
    """Forget the files' probe address where it belonged to a local endpoint that was replaced.

    The guide's file names the local server twice; who moves it by ``LOCAL_LLM_ENDPOINT`` means
    both. The probe then takes the path of the new server's dialect.
    """
    endpoint, probe = tree.get(environment.LOCAL_ENDPOINT), tree.get(_HEALTH_ENDPOINT)
    texts = (endpoint_of_files, endpoint, probe)
    if endpoint == endpoint_of_files or not all(isinstance(text, str) for text in texts):
        return
    try:
        same = parse_endpoint(str(probe)).origin == parse_endpoint(endpoint_of_files).origin
    except ValueError:
        return
    if same:
        tree.remove(_HEALTH_ENDPOINT, tree.source(environment.LOCAL_ENDPOINT))
