"""What a model is worth for a voice client, by a formula from what was measured; and what the
deployment guide claims of four models."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from reports.statistics import Estimate

GUIDE_LIMIT_BYTES = 2 << 30
"""The memory limit of the deployment guide's Compose file."""
LONG_LOAD_S = 10.0
"""The deployment guide waits so long for its server before it goes on."""
STARS = 5

FORMULA = (
    "mark = 5 x cube root of (first token x memory x quality), each from 0 to 1: "
    "first token = min(1, target / TTFT p95), of cold and warm prefix the later one; "
    "memory = min(1, allowed share x limit / resident); quality = right answers / questions"
)
DIFFICULTY_RULE = (
    "difficulty: easy without an obstacle, medium with one, hard with more; obstacles are resident "
    "memory over the allowed share of the limit, a TTFT p95 over the target, more than "
    f"{LONG_LOAD_S:g} s to load, and a file without a chat template"
)


@dataclass(frozen=True, slots=True)
class Claim:
    """A row of the deployment guide's model table, as it stands there."""

    model: str
    memory: str
    delay: str
    stars: int
    """``智能程度``."""
    difficulty: str
    mark: int
    """``推荐指数``."""
    words: tuple[str, ...]
    """In the name of a file of that model, whatever signs stand between."""


CLAIMS = (
    Claim("Qwen2-1.5B-INT4", "1.2 GB", "200-300 ms", 4, "easy", 5, ("qwen2", "1.5b")),
    Claim("TinyLlama-1.1B-INT4", "800 MB", "150-250 ms", 3, "easy", 4, ("tinyllama", "1.1b")),
    Claim("ChatGLM3-6B-INT4", "4.5 GB", "400-600 ms", 5, "medium", 3, ("chatglm3", "6b")),
    Claim("Phi-3-mini-INT4", "1.8 GB", "250-350 ms", 4, "easy", 4, ("phi3", "mini")),
)


def _plain(name: str) -> str:
    return "".join(sign for sign in name.casefold() if sign.isalnum() or sign == ".")


def claim_of(name: str, claims: Sequence[Claim] = CLAIMS) -> Claim | None:
    """Return what the guide claims of the model that a file or an Ollama model of this name holds;
    None where it names none. Qwen2.5 is not Qwen2, and Phi-3.5 not Phi-3."""
    plain = _plain(name)
    for claim in claims:
        starts = [plain.find(word) for word in claim.words]
        if min(starts) < 0:
            continue
        after = plain[starts[0] + len(claim.words[0]) :]
        if not after.startswith("."):
            return claim
    return None


@dataclass(frozen=True, slots=True)
class Goals:
    """What a model is measured against."""

    ttft_p95_ms: float
    memory_share: float
    limit_bytes: int


@dataclass(frozen=True, slots=True)
class Mark:
    """The overall mark and what it is made of; a part is None where it was not measured."""

    first_token: float | None
    memory: float | None
    quality: float | None
    stars: float | None
    """From 0 to 5, to a tenth; None unless all three parts were measured."""
    difficulty: str
    obstacles: tuple[str, ...]


def later_p95(cold: Estimate, warm: Estimate) -> float | None:
    """Return the later of two p95 in milliseconds; infinite where requests failed that often."""
    known = [each.value for each in (cold, warm) if each.value is not None]
    return max(known) if known else None


def _enough(allowed: float, used: float | None) -> float | None:
    """Return ``min(1, allowed / used)``: what keeps its limit is not rewarded for less."""
    if used is None:
        return None
    return 1.0 if used <= allowed else allowed / used


def mark(
    goals: Goals,
    *,
    p95_ms: float | None,
    resident_bytes: int | None,
    right: int,
    asked: int,
    load_s: float | None,
    has_template: bool | None,
) -> Mark:
    """Return the mark of one model by :data:`FORMULA` and :data:`DIFFICULTY_RULE`.

    The geometric mean lets no part buy off another: a model that answers nothing right has no
    stars, however soon it does so.

    Args:
        goals: what is allowed.
        p95_ms: of TTFT with one talker; may be infinite.
        resident_bytes: of the engine with the model in it.
        right: questions answered rightly, of ``asked``.
        asked: questions.
        load_s: until the model served.
        has_template: whether the file says how a conversation is written; None: not known.
    """
    allowed_bytes = goals.memory_share * goals.limit_bytes
    parts = (
        _enough(goals.ttft_p95_ms, p95_ms),
        _enough(allowed_bytes, resident_bytes),
        right / asked if asked else None,
    )
    known = [part for part in parts if part is not None]
    stars = round(STARS * math.prod(known) ** (1 / 3), 1) if len(known) == len(parts) else None
    obstacles = []
    if resident_bytes is not None and resident_bytes > allowed_bytes:
        obstacles.append(f"over {goals.memory_share:.0%} of {goals.limit_bytes >> 20:,} MiB")
    if p95_ms is not None and p95_ms > goals.ttft_p95_ms:
        obstacles.append(f"TTFT p95 over {goals.ttft_p95_ms:g} ms")
    if load_s is not None and load_s > LONG_LOAD_S:
        obstacles.append(f"loads for more than {LONG_LOAD_S:g} s")
    if has_template is False:
        obstacles.append("no chat template in the file")
    difficulty = ("easy", "medium", "hard")[min(len(obstacles), 2)]
    return Mark(*parts, stars=stars, difficulty=difficulty, obstacles=tuple(obstacles))
