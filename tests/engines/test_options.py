"""Engine options come from the settings and are checked before anything starts."""

from __future__ import annotations

import importlib.metadata
from dataclasses import replace
from pathlib import Path

import pytest

from firsttoken.core import host, settings
from firsttoken.core.errors import UserError
from firsttoken.engines import options
from firsttoken.engines.options import EngineOptions
from tests.engines import ggufs

GIB = 1 << 30


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "small.gguf"
    path.write_bytes(ggufs.small())
    return path


def test_settings_become_options(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "cpu_quota", lambda: 3.5)
    made = settings.from_mapping(
        {
            "local_optimization": {
                "model_loading": {"num_ctx": 1024, "num_predict": 64, "preload": False},
                "inference": {"num_thread": 4, "batch_size": 1, "temperature": 0.1},
                "memory": {"mmap": False, "mlock": True},
            },
            "engine": {"model": str(model), "slots": 12},
        }
    )
    chosen = options.from_settings(made)
    assert chosen == EngineOptions(
        model=model,
        slots=12,
        context_per_slot=1024,
        threads=3,
        max_tokens=64,
        mmap=False,
        mlock=True,
        preload=False,
    )
    assert chosen.model_name == "small"


def test_arguments_win_and_threads_by_hand_are_kept(model: Path) -> None:
    chosen = options.from_settings(
        settings.from_mapping({}),
        model=model,
        slots=3,
        context_per_slot=300,
        threads=64,
        port=5,
        host_name="::1",
    )
    assert (chosen.slots, chosen.context_per_slot, chosen.threads) == (3, 300, 64)
    assert (chosen.port, chosen.host) == (5, "::1")


def test_own_section_wins_over_the_guide(model: Path) -> None:
    chosen = options.from_settings(
        settings.from_mapping({"engine": {"context": 777, "threads": 1, "model": str(model)}})
    )
    assert (chosen.context_per_slot, chosen.threads) == (777, 1)


@pytest.mark.parametrize(("quota", "wanted", "threads"), [(2, 4, 2), (8, 4, 4), (0.5, 4, 1)])
def test_threads_within_the_quota(
    quota: float, wanted: int, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host, "cpu_quota", lambda: quota)
    assert options.usable_threads(wanted) == threads


def test_json_and_back(model: Path) -> None:
    chosen = EngineOptions(model=model, slots=3, host="::1")
    assert EngineOptions.from_json(chosen.to_json()) == chosen
    assert "\n" not in chosen.to_json()


def test_default_model_is_the_packaged_one() -> None:
    assert options.default_model().name == "SmolLM2-135M-Instruct.Q4_1.gguf"
    assert options.default_model().is_file()


def test_default_model_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(options, "MODEL_DISTRIBUTION", "no-such-distribution")
    with pytest.raises(UserError, match="no model: expected one with --model"):
        options.default_model()


def test_default_model_without_its_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.metadata, "files", lambda _name: None)
    with pytest.raises(UserError, match="holds no model"):
        options.default_model()


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("slots", 0, "slots: 0 is out of range"),
        ("slots", -3, "slots: -3 is out of range"),
        ("slots", 1025, "expected 1 to 1,024"),
        ("context_per_slot", 0, "context per slot: 0 is out of range"),
        ("context_per_slot", 1 << 21, "out of range"),
        ("threads", 0, "threads: 0 is out of range"),
        ("threads", -1, "threads: -1 is out of range"),
        ("port", 65_536, "port: 65536 is out of range"),
        ("port", -1, "port: -1 is out of range"),
    ],
)
def test_numbers_out_of_range(model: Path, field: str, value: int, message: str) -> None:
    chosen = EngineOptions(model=model)
    chosen = replace(chosen, **{field: value})  # type: ignore[arg-type]
    with pytest.raises(UserError, match=message):
        options.check(chosen, GIB)


def test_too_little_memory_says_what_would_fit() -> None:
    chosen = EngineOptions(model=options.default_model(), slots=24, context_per_slot=2048)
    with pytest.raises(UserError) as caught:
        options.check(chosen, GIB // 2)
    message = str(caught.value)
    assert message.startswith("too little memory: 24 slots of 2048 tokens need 1,")
    assert "512 MiB are available" in message
    fitting = int(message.rsplit("; ", 1)[1].split(maxsplit=1)[0])
    assert 1 <= fitting < 24
    options.check(replace(chosen, slots=fitting), GIB // 2)
    with pytest.raises(UserError, match="not even one slot would fit"):
        options.check(chosen, 1 << 20)


def test_unknown_memory_is_no_obstacle(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "memory_available", lambda: None)
    assert options.check(EngineOptions(model=model)).need.total > 0


def test_warnings(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "cpu_quota", lambda: 2.0)
    quiet = EngineOptions(model=model, context_per_slot=512, threads=2)
    assert options.check(quiet, GIB).warnings == ()
    loud = replace(quiet, context_per_slot=513, threads=3, host="0.0.0.0")  # noqa: S104
    context, threads, reachable = options.check(loud, GIB).warnings
    assert "513 tokens is above the 512" in context
    assert threads == "3 threads on 2 cores slow each other down"
    assert "reachable at 0.0.0.0" in reachable


def test_a_relative_model_path_becomes_absolute(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(model.parent)
    assert options.check(EngineOptions(model=Path(model.name)), GIB).options.model == model
