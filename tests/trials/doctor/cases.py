"""Facts for tests: a deployment with which all is well, and ways to spoil it."""

from __future__ import annotations

from typing import Any

from firsttoken.core import slo
from firsttoken.core.host import Memory
from firsttoken.core.settings import from_mapping
from firsttoken.engines.gguf import Header
from firsttoken.engines.memory import MemoryNeed
from firsttoken.trials.doctor.facts import (
    Asked,
    EngineFacts,
    FailoverFacts,
    Machine,
    ModelFile,
    Package,
    Port,
    PrometheusFacts,
    RemoteFacts,
    RouterFacts,
    SettingsFacts,
    Sizing,
)
from firsttoken.trials.doctor.facts import Facts as _Facts
from firsttoken.trials.doctor.findings import Checklist
from firsttoken.trials.doctor.sources import GUIDE_METRICS
from firsttoken.trials.status_snapshot import Request, Samples, snapshot

GIB = 1 << 30
URL = "http://127.0.0.1:8080"
ENGINE = "http://127.0.0.1:11434"
MODEL = "qwen2:1.5b-instruct-q4_0"
TARGETS = slo.load()

_SETTINGS: dict[str, Any] = {
    "llm_routing": {
        "local_model": {"endpoint": ENGINE, "model": MODEL, "slots": 20},
        "remote_models": [
            {"name": "cloud", "endpoint": "http://10.0.0.9", "model": "big", "priority": 20}
        ],
    },
    "local_optimization": {"model_loading": {"num_ctx": 5120}},
    "health_check": {
        "fallback_strategy": [{"condition": "local_model_unhealthy", "action": "switch_to_remote"}]
    },
}


def samples(questions: int) -> Samples:
    """The series behind the guide's metrics, after so many questions."""
    lines = ['llm_mode{mode="normal"} 1']
    for sources in GUIDE_METRICS.values():
        for source in sources:
            labels = ",".join(f'{name}="{value}"' for name, value in source.labels)
            lines.append(f"{source.name}{{{labels}}} {questions if source.moves else 1}")
    return Samples("\n".join(dict.fromkeys(lines)) + "\n")


def asked(first_ms: float, tier: str = "local", problem: str = "") -> Asked:
    """A question that was answered, the whole reply 100 ms after the first token."""
    return Asked(first_ms, first_ms + 100, tier, tier, 1, problem)


def requests(good: int, bad: int = 0) -> list[Request]:
    """Requests of the last minutes."""
    return [Request(0.0, "local", "success", None, 100.0)] * good + [
        Request(0.0, "none", "error", "connect", None)
    ] * bad


def router(good: int = 200, bad: int = 0, **changes: Any) -> RouterFacts:
    """A router that serves."""
    text = (
        'llm_mode{mode="normal"} 1\nllm_backend_info{backend="local",tier="local"} 1\n'
        'llm_circuit_state{backend="local",state="closed"} 1\nllm_backend_up{backend="local"} 1\n'
        f"llm_memory_unreclaimable_bytes {changes.pop('used', GIB)}\n"
        f"llm_memory_limit_bytes {2 * GIB}\n"
    )
    ready = {"ready": changes.pop("ready", True), "queues": {}}
    values: dict[str, Any] = {
        "running": True,
        "snapshot": snapshot(URL, Samples(text), ready, requests(good, bad), unix_s=1.0),
        "before": samples(3),
        "after": samples(8),
        "asked": tuple(asked(ms) for ms in (210, 220, 230, 240, 250)),
    }
    return RouterFacts(URL, **(values | changes))


def engine(**changes: Any) -> EngineFacts:
    """An Ollama with the guide's model."""
    values: dict[str, Any] = {
        "answers": True,
        "kind": "ollama",
        "models": (MODEL,),
        "present": True,
        "loaded": True,
        "slots": 20,
        "size": 934_000_000,
        "digest": "sha256:0123456789abcdef",
        "memory": Memory(GIB, GIB, 8 * GIB),
        "token": asked(300.0),
        "direct": (asked(205.0, ""), asked(215.0, "")),
    }
    return EngineFacts(ENGINE, MODEL, **(values | changes))


def machine(**changes: Any) -> Machine:
    """The guide's machine."""
    values: dict[str, Any] = {
        "available": 5 * GIB,
        "cores": 4.0,
        "folder": "/models",
        "disk_free": 50 * 10**9,
        "packages": (Package("httpx", "0.28", "0.28.1"), Package("rich", "14", "14.0")),
        "programs": ("Ollama (/usr/bin/ollama)",),
        "ports": (Port("server.port", 8080, "ours", "firsttoken, process 7"),),
    }
    return Machine(**(values | changes))


def settings(**changes: Any) -> SettingsFacts:
    """Settings in which nothing is amiss; ``changes`` replace whole sections."""
    made = from_mapping({**_SETTINGS, **changes})
    return SettingsFacts(("my.yaml",), made, (), {"你好": "local", "帮我写代码": "remote"})


def remote(**changes: Any) -> RemoteFacts:
    """A remote backend that answers."""
    values: dict[str, Any] = {
        "name": "cloud",
        "host": "cloud.example",
        "enabled": True,
        "disabled_reason": "",
        "key": "set (from CLOUD_KEY)",
        "reached": "http",
        "status": 200,
    }
    return RemoteFacts(**(values | changes))


def sizing(total: int, limit: int) -> Sizing:
    """So much needed of so much."""
    return Sizing(MemoryNeed(total, 0, 0), 20, 5120, limit, 7)


def model_file(**changes: Any) -> ModelFile:
    """A GGUF file that is whole."""
    header = Header(3, {"general.architecture": "qwen2"}, 338, 0, 900_000_000)
    values: dict[str, Any] = {"size": 934_000_000, "header": header}
    return ModelFile("/models/a.gguf", **(values | changes))


def prometheus(**changes: Any) -> PrometheusFacts:
    """A Prometheus that has what it should."""
    values: dict[str, Any] = {
        "rules": frozenset(GUIDE_METRICS),
        "alerts": frozenset({"A", "B"}),
        "up": {"firsttoken-router": True},
        "alertmanagers": 1,
    }
    return PrometheusFacts("http://127.0.0.1:9090", **(values | changes))


def facts(**changes: Any) -> _Facts:
    """A deployment with which all is well."""
    values: dict[str, Any] = {
        "lists": frozenset(Checklist),
        "demanded": False,
        "targets": TARGETS,
        "settings": settings(),
        "machine": machine(),
        "model_file": None,
        "engine": engine(),
        "remotes": (remote(),),
        "router": router(),
        "failover": FailoverFacts(asked(1800.0, "remote")),
        "prometheus": prometheus(),
        "sizing": sizing(3 * GIB, 6 * GIB),
    }
    return _Facts(**(values | changes))
