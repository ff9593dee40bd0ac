"""Two targets: who they are, and what a reader is warned of."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from firsttoken.core import slo as slo_room
from firsttoken.core.child import Child
from firsttoken.core.words import Arm
from firsttoken.trials import measure
from firsttoken.trials.bench import Bench, bench
from firsttoken.trials.progress import Progress
from firsttoken.trials.target import Target
from firsttoken.trials.versus import Asked, arms_of, sharing_note
from reports import build, terminal

ROUTER = Target("http://127.0.0.1:8080", "auto", "openai", is_router=True)
ENGINE = Target("http://127.0.0.1:11434", "qwen", "ollama")


@pytest.mark.parametrize(
    ("targets", "words"),
    [
        ((ENGINE,), None),
        ((ENGINE, Target("http://10.0.0.2:11434", "qwen", "ollama")), None),
        ((ENGINE, Target("http://127.0.0.1:11434", "other", "openai")), "same server"),
        ((ROUTER, ENGINE), "behind it"),
        ((ROUTER, Target("http://127.0.0.1:8081", "auto", "openai", is_router=True)), "behind it"),
    ],
)
def test_a_shared_prefix_cache_is_warned_of(targets: tuple[Target, ...], words: str | None) -> None:
    note = sharing_note(targets)
    assert (note is None) if words is None else (note is not None and words in note)


def test_each_target_keeps_its_own_key() -> None:
    arms = arms_of((Target("http://a", "m", "openai", api_key_env="FIRST"), ENGINE))
    assert [arm.target.arm for arm in arms] == [Arm.TARGET, Arm.AGAINST]
    assert [arm.api_key_env for arm in arms] == ["FIRST", None]


def test_they_take_turns_each_beginning_every_other_round(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measure, "CALIBRATION_SECONDS", 0.5)
    slo = slo_room.load(None)
    with ExitStack() as stack:
        fast, slow = (
            stack.enter_context(
                Child.start(
                    [sys.executable, "-m", "tests.trials.crowded", each_ms],
                    log=tmp_path / f"{each_ms}.log",
                )
            )
            for each_ms in ("20", "60")
        )
        run_dir = bench(
            Bench(
                url=fast.url,
                model=None,
                dialect="openai",
                api_key_env=None,
                steps=(2,),
                step_seconds=1.0,
                warmup_seconds=0.2,
                scenario="steps",
                seed=1,
                max_tokens=8,
                out=tmp_path / "run",
                against=Asked(slow.url),
                rounds=2,
            ),
            slo,
            Progress(),
        )
    report = build.report(run_dir, slo)
    blocks = [item.arm for item in report.data.manifest.blocks]
    assert blocks == ["target", "against", "against", "target"]
    assert report.judged_arm == "target"
    p50, _ = report.as_dict()["comparison"]
    assert p50["ratio_high"] < 1
    assert len(p50["differences_ms"]) == 2
    assert "TTFT p50: target" in terminal.table(report)
