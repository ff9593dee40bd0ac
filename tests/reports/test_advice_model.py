"""Order and words of advice."""

from __future__ import annotations

import json
import math

from reports.advice import Advice, Advised, show
from reports.advice.model import Confidence, Effect, Figure, Gain, Line, rank


def advice(key: str, effect: Effect, gain: Gain) -> Advice:
    return Advice(key, effect, f"Finding of {key}.", (), gain, Confidence.MEASURED)


def test_what_helps_most_comes_first() -> None:
    items = [
        advice("harms", Effect.HARMS, Gain("x", ttft_p95_ms=-300.0)),
        advice("nothing", Effect.HELPS_NOTHING, Gain("x", ttft_p95_ms=0.0)),
        advice("unknown", Effect.HELPS, Gain("unknown")),
        advice("small", Effect.HELPS, Gain("x", ttft_p95_ms=10.0)),
        advice("large", Effect.HELPS, Gain("x", ttft_p95_ms=900.0)),
        advice("endless", Effect.HELPS, Gain("x", ttft_p95_ms=math.inf)),
        advice("errors", Effect.HELPS, Gain("x", error_share=0.05)),
        advice("not-shown", Effect.NOT_SHOWN, Gain("unknown")),
    ]
    order = [item.key for item in sorted(items, key=rank)]
    assert order == [
        "errors", "endless", "large", "small", "unknown", "not-shown", "nothing", "harms",
    ]  # fmt: skip


def test_a_line_is_yaml() -> None:
    assert str(Line("hedging.enable", value=True)) == "hedging.enable: true"
    assert str(Line("engine.slots", 24)) == "engine.slots: 24"


def shown() -> Advised:
    item = Advice(
        key="slots",
        effect=Effect.HELPS,
        finding="20 requests are in flight and only 4 are answered at once.",
        evidence=(
            Figure("TTFT p95", 5481.04, "ms", 128),
            Figure("from the cache", 0.305, "share", 90),
            Figure("worst", math.inf, "ms", 3),
        ),
        gain=Gain("two decode steps", ttft_p95_ms=4800.0),
        confidence=Confidence.ESTIMATED,
        lines=(Line("engine.slots", 20),),
        elsewhere=("Ollama: OLLAMA_NUM_PARALLEL=20",),
    )
    return Advised("r1", "hybrid", 20, 128, (item,), (), ("memory was not sampled",))


def test_terminal_markdown_and_json_say_the_same() -> None:
    found = shown()
    for words in (show.terminal(found), show.markdown(found)):
        flat = " ".join(words.split())
        assert "TTFT p95 5481 ms (n 128)" in flat
        assert "from the cache 30.5 % (n 90)" in flat
        assert "worst never (n 3)" in flat
        assert "TTFT p95 -4800 ms (two decode steps)" in flat
        assert "engine.slots: 20" in flat
        assert "memory was not sampled" in flat
    assert max(map(len, show.terminal(found).splitlines())) <= 100
    body = json.loads(show.to_json(found))
    assert body["advice"][0]["evidence"][2]["value"] is None
    assert body["advice"][0]["lines"] == [{"path": "engine.slots", "value": 20}]


def test_a_run_without_a_cause_says_so() -> None:
    found = Advised("r1", "hybrid", 20, 128, (), (), ())
    assert "no cause that a setting would remove" in show.terminal(found)
    assert "No".lower() in show.markdown(found).lower()
