"""Probabilities of tokens, as OpenAI's API gives them and Ollama's takes over.

A list with one object a token: ``token``, ``bytes``, ``logprob`` (natural logarithm) and
``top_logprobs``, the likeliest candidates, the chosen one among them or not. JSON has no infinity:
servers write null or -9999 for a token that could not be.
"""

from __future__ import annotations

from math import inf
from typing import Any

from firsttoken.wire.events import Event, Probabilities

_IMPOSSIBLE = -9999.0
_ROUNDING = 1e-3
"""How far above 0 a logarithm may lie by rounding."""


def read_probabilities(content: object, t_ns: int, out: list[Event]) -> None:
    """Append the :class:`Probabilities` of one frame; what is malformed is left out as a whole,
    since a guess never ends a stream."""
    if not isinstance(content, list):
        return
    logprobs: list[float] = []
    runners_up: list[float | None] = []
    for token in content:
        logprob = _logprob(token)
        if logprob is None:
            return
        logprobs.append(logprob)
        runners_up.append(_runner_up(token, logprob))
    if logprobs:
        out.append(Probabilities(t_ns, tuple(logprobs), tuple(runners_up)))


def _logprob(token: object) -> float | None:
    """Return the logarithm of one token or candidate, at most 0; None where there is none."""
    if not isinstance(token, dict) or "logprob" not in token:
        return None
    value = token["logprob"]
    if value is None:
        return -inf
    if type(value) not in (float, int) or value > _ROUNDING:
        return None
    return -inf if value <= _IMPOSSIBLE else min(0.0, float(value))


def _runner_up(token: dict[str, Any], chosen: float) -> float | None:
    """Return the logarithm of the likeliest candidate beside the chosen token.

    The chosen one is found among the candidates by its logarithm: llama.cpp names it by the whole
    character that it completed and the same candidate by its last byte. Where a server rounds the
    two otherwise, by its name.
    """
    candidates = token.get("top_logprobs")
    if not isinstance(candidates, list):
        return None
    others = [(found, item) for item in candidates if (found := _logprob(item)) is not None]
    logprobs = [found for found, _ in others]
    if chosen in logprobs:
        logprobs.remove(chosen)
    else:
        name = (token.get("token"), token.get("bytes"))
        logprobs = [
            found for found, item in others if (item.get("token"), item.get("bytes")) != name
        ]
    return max(logprobs, default=None)
