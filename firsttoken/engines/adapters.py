"""Ways of restarting a local engine, each behind one method.

None goes through a shell, each has a time limit, and what a name may look like is checked, so that
no setting can turn into an option or a second command.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import urlsplit

from firsttoken.core.errors import UserError
from firsttoken.core.settings import Settings
from firsttoken.core.settings.own import SERVICE_NAME
from firsttoken.core.words import Tier
from firsttoken.engines.ollama import model_loaded

_BODY_BYTES = 1_048_576
_POLL_S = 0.1
_MAX_ERROR_CHARACTERS = 300


class Adapter(Protocol):
    """Restarts one engine."""

    def restart(self) -> None:
        """Restart it; blocks until that was done, not until the engine answers.

        Raises:
            UserError: it could not be done; one line says why.
        """


@dataclass(frozen=True, slots=True)
class Command:
    """Restarts an engine by a program.

    Args:
        argv: the program and its arguments.
        timeout_s: after which it is killed.
    """

    argv: tuple[str, ...]
    timeout_s: float = 60.0

    def restart(self) -> None:
        """See :meth:`Adapter.restart`."""
        program = self.argv[0]
        # A file and no pipe: an engine that the program leaves running would hold a pipe open.
        with tempfile.TemporaryFile() as errors:
            try:
                process = subprocess.Popen(
                    self.argv,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=errors,
                    process_group=0,
                )
            except OSError as error:
                raise UserError(f"cannot start {program}: {error.strerror or error}") from error
            try:
                code = process.wait(self.timeout_s)
            except subprocess.TimeoutExpired as error:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                raise UserError(f"{program} did not end within {self.timeout_s:g} s") from error
            if code != 0:
                errors.seek(0)
                lines = errors.read(_BODY_BYTES).decode("utf-8", "replace").strip().splitlines()
                told = f": {lines[-1][:_MAX_ERROR_CHARACTERS]}" if lines else ""
                raise UserError(f"{program} ended with exit code {code}{told}")


def docker(container: str, timeout_s: float = 60.0) -> Command:
    """Return the adapter of a container on this machine.

    Raises:
        UserError: no possible name.
    """
    return Command(("docker", "restart", _name(container, "container")), timeout_s)


def systemd(unit: str, timeout_s: float = 60.0) -> Command:
    """Return the adapter of a systemd unit on this machine.

    Raises:
        UserError: no possible name.
    """
    return Command(("systemctl", "restart", _name(unit, "unit")), timeout_s)


def _name(name: str, what: str) -> str:
    if re.fullmatch(SERVICE_NAME, name) is None:
        raise UserError(f"{name[:60]!r} is no possible name of a {what}")
    return name


@dataclass(frozen=True, slots=True)
class OllamaModel:
    """Unloads a model through Ollama's own API and loads it again.

    The process that computes is then a new one, while the server, which may live in another
    container, stays.

    Args:
        base_url: of the server.
        model: its name there.
        keep_alive: how long it then stays loaded.
        options: the ones that requests are made with; others would load the model once more.
        headers: sent along, such as a key.
        timeout_s: for unloading, and for any other answer.
        load_s: for loading, which Ollama gives up where nobody waits for it.
        sleep: waits for some seconds.
    """

    base_url: str
    model: str
    keep_alive: str | int = "24h"
    options: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    timeout_s: float = 60.0
    load_s: float = 120.0
    sleep: Callable[[float], None] = time.sleep

    def restart(self) -> None:
        """See :meth:`Adapter.restart`."""
        self._ask("POST", "/api/generate", {"model": self.model, "keep_alive": 0})
        # Loading at once could take hold of the process that is about to go.
        for _ in range(round(self.timeout_s / _POLL_S)):
            if not self._loaded():
                break
            self.sleep(_POLL_S)
        else:
            raise UserError(f"Ollama did not unload {self.model} within {self.timeout_s:g} s")
        load: dict[str, Any] = {"model": self.model, "keep_alive": self.keep_alive}
        if self.options:
            load["options"] = dict(self.options)
        self._ask("POST", "/api/generate", load, self.load_s)

    def _loaded(self) -> bool:
        return model_loaded(self._ask("GET", "/api/ps", None), self.model) is True

    def _ask(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None,
        timeout_s: float | None = None,
    ) -> dict[str, Any]:
        limit_s = timeout_s or self.timeout_s
        parts = urlsplit(self.base_url)
        kind = (
            http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        )
        connection = kind(parts.hostname or "", parts.port, timeout=limit_s)
        data = None if body is None else json.dumps({**body, "stream": False})
        headers = {**self.headers, "Content-Type": "application/json"}
        try:
            connection.request(method, parts.path.rstrip("/") + path, data, headers)
            response = connection.getresponse()
            told = response.read(_BODY_BYTES)
        except (OSError, http.client.HTTPException) as error:
            raise UserError(f"Ollama at {self.base_url} does not answer {path}: {error}") from error
        finally:
            connection.close()
        try:
            answer = json.loads(told)
        except ValueError:
            answer = {}
        answer = answer if isinstance(answer, dict) else {}
        if response.status != http.client.OK:
            why = str(answer.get("error", ""))[:_MAX_ERROR_CHARACTERS]
            message = f"Ollama answered {path} with HTTP {response.status}"
            raise UserError(f"{message}: {why}" if why else message)
        return answer


def of_settings(
    settings: Settings, *, engine: Adapter | None = None, options: Mapping[str, Any] | None = None
) -> Adapter | None:
    """Return the adapter that ``recovery`` names, or None where it names none.

    Args:
        settings: all settings.
        engine: the supervisor of the engine that this process started, where it did.
        options: the options with which Ollama is asked.

    Raises:
        UserError: it cannot be had here.
    """
    recovery = settings.recovery
    made: dict[str, Callable[[], Adapter | None]] = {
        "none": lambda: None,
        "embedded": lambda: _embedded(engine),
        "ollama": lambda: _ollama(settings, options or {}),
        "docker": lambda: docker(recovery.name or "", recovery.timeout),
        "systemd": lambda: systemd(recovery.name or "", recovery.timeout),
        "command": lambda: Command(recovery.command, recovery.timeout),
    }
    return made[recovery.adapter]()


def _embedded(engine: Adapter | None) -> Adapter:
    if engine is None:
        raise UserError(
            "recovery.adapter: embedded restarts an engine that this process started, and it "
            "started none; expected none, ollama, docker, systemd or command"
        )
    return engine


def _ollama(settings: Settings, options: Mapping[str, Any]) -> OllamaModel:
    local = next((each for each in settings.backends() if each.tier is Tier.LOCAL), None)
    if local is None:
        raise UserError("recovery.adapter: ollama needs llm_routing.local_model")
    return OllamaModel(
        local.base_url,
        local.model,
        settings.local_optimization.model_loading.keep_alive,
        options,
        {"Authorization": f"Bearer {local.api_key}"} if local.api_key else {},
        settings.recovery.timeout,
        settings.recovery.ready,
    )
