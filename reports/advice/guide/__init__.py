"""The guide's nine ``tuning_recommendations``: what each means here, and what a run says of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from firsttoken.core.settings import Settings
from reports.advice.facts import Facts
from reports.advice.guide import high_error_rate, high_memory, slow_response
from reports.advice.guide.said import Said
from reports.advice.model import UNKNOWN, Advice, Confidence, Effect


@dataclass(frozen=True, slots=True)
class Recommendation:
    """One sentence of the guide, and what it means here."""

    key: str
    action: str
    look: Callable[[Facts, Settings], Said]


RECOMMENDATIONS: Mapping[str, Recommendation] = {
    "减少num_ctx到1024": Recommendation(
        "guide-num-ctx", "reduce num_ctx to 1024 tokens a slot", slow_response.num_ctx
    ),
    "降低temperature到0.5": Recommendation(
        "guide-temperature", "lower the temperature to 0.5", slow_response.temperature
    ),
    "启用更激进的缓存": Recommendation(
        "guide-cache", "turn the exact and the semantic cache on", slow_response.cache
    ),
    "减少keep_alive时间": Recommendation(
        "guide-keep-alive", "unload the model sooner (keep_alive)", high_memory.keep_alive
    ),
    "清理模型缓存": Recommendation(
        "guide-clear-cache", "clear the engine's prompt and KV cache, never model files",
        high_memory.clear_cache,
    ),
    "重启服务": Recommendation(
        "guide-restart", "restart the engine, guarded (recovery)", high_memory.restart
    ),
    "检查模型文件完整性": Recommendation(
        "guide-model-file", "check the model file's integrity", high_error_rate.model_file
    ),
    "增加超时时间": Recommendation(
        "guide-timeout", "raise the local timeout", high_error_rate.timeout
    ),
    "切换到远程模型": Recommendation(
        "guide-remote", "send requests to the cloud", high_error_rate.go_remote
    ),
}  # fmt: skip
"""By the guide's sentence."""


def guide(facts: Facts, settings: Settings) -> list[Advice]:
    """Return what the run says of each sentence of ``tuning_recommendations``, in their order."""
    told = settings.tuning_recommendations
    sentences = (*told.slow_response, *told.high_memory, *told.high_error_rate)
    return [_answer(sentence, facts, settings) for sentence in sentences]


_GENERAL = frozenset({"guide-temperature", "guide-cache", "guide-restart"})
"""What can be said without a local answer."""


def _answer(sentence: str, facts: Facts, settings: Settings) -> Advice:
    known = RECOMMENDATIONS.get(sentence)
    if known is None:
        return Advice(
            key="guide-unknown",
            effect=Effect.NOT_SHOWN,
            finding="This sentence is not one of the guide's nine: no action is known for it.",
            evidence=(),
            gain=UNKNOWN,
            confidence=Confidence.MECHANISM,
            sentence=sentence,
        )
    said = known.look(facts, settings)
    if not facts.local.size and said.effect is not Effect.NOT_SHOWN and known.key not in _GENERAL:
        said = replace(
            said,
            effect=Effect.NOT_SHOWN,
            finding="No request of this run was answered by a local model.",
            gain=UNKNOWN,
            confidence=Confidence.MECHANISM,
        )
    return Advice(
        key=known.key,
        effect=said.effect,
        finding=said.finding,
        evidence=said.evidence,
        gain=said.gain,
        confidence=said.confidence,
        lines=said.lines,
        elsewhere=said.elsewhere,
        sentence=sentence,
        action=known.action,
    )
