"""The corpora are data that verdicts rest on: their mix is held here."""

from __future__ import annotations

import json
import re
import unicodedata
from collections import Counter
from pathlib import Path

import pytest

CORPORA = Path(__file__).resolve().parents[2] / "loadtests" / "corpora"

KIND_SHARES = {
    "chat": 0.315,
    "story": 0.12,
    "weather": 0.18,
    "time": 0.07,
    "music": 0.10,
    "device": 0.08,
    "news": 0.05,
    "exit": 0.07,
    "complex": 0.015,
}
"""Wanted share of each kind; held to within two points."""

LANGUAGE_SHARES = {"zh": (0.45, 0.55), "en": (0.35, 0.45), "mixed": (0.07, 0.13)}

# The complex patterns of the deployment guide: Latin words on word boundaries, Chinese anywhere.
COMPLEX = re.compile(
    r"写代码|编程|翻译|分析|创作|\b(?:programming|translate|analysis|creative)\b", re.IGNORECASE
)

HAN = re.compile(r"[\u4e00-\u9fff]")
LATIN_WORD = re.compile(r"[A-Za-z]+(?:'[A-Za-z]+)*")


def _lines(name: str) -> list[dict[str, str]]:
    """Read one corpus; every line must be one JSON object of non-empty strings."""
    text = (CORPORA / name).read_text(encoding="utf-8")
    assert text.endswith("\n")
    rows = []
    for line in text.splitlines():
        row = json.loads(line)
        assert isinstance(row, dict), line
        assert all(
            isinstance(value, str) and value.strip() == value != "" for value in row.values()
        )
        rows.append(row)
    return rows


@pytest.fixture(scope="module")
def utterances() -> list[dict[str, str]]:
    return _lines("utterances.jsonl")


@pytest.fixture(scope="module")
def personas() -> list[dict[str, str]]:
    return _lines("personas.jsonl")


def _language(text: str) -> str:
    """Tell the language of ``text`` from its scripts."""
    han, latin = bool(HAN.search(text)), bool(LATIN_WORD.search(text))
    return "mixed" if han and latin else "zh" if han else "en"


def _units(text: str) -> int:
    """Count Chinese characters and Latin words together."""
    return len(HAN.findall(text)) + len(LATIN_WORD.findall(text))


def _spoken_form(text: str) -> str:
    """Return ``text`` without case, spaces and punctuation: what two duplicates share."""
    return "".join(
        char
        for char in unicodedata.normalize("NFKC", text).casefold()
        if unicodedata.category(char)[0] in "LN"
    )


def test_utterances_have_exactly_the_documented_fields(utterances: list[dict[str, str]]) -> None:
    assert len(utterances) >= 180
    for row in utterances:
        assert list(row) == ["id", "lang", "kind", "text"]
        assert row["kind"] in KIND_SHARES


def test_ids_are_unique_and_in_file_order(
    utterances: list[dict[str, str]], personas: list[dict[str, str]]
) -> None:
    assert [row["id"] for row in utterances] == [
        f"u{number:03}" for number in range(1, len(utterances) + 1)
    ]
    assert [row["id"] for row in personas] == [
        f"p{number:02}" for number in range(1, len(personas) + 1)
    ]


def test_no_utterance_is_there_twice(utterances: list[dict[str, str]]) -> None:
    counts = Counter(_spoken_form(row["text"]) for row in utterances)
    assert [text for text, count in counts.items() if count > 1] == []


def test_language_is_what_the_text_is_written_in(utterances: list[dict[str, str]]) -> None:
    assert [row for row in utterances if row["lang"] != _language(row["text"])] == []


def test_language_shares(utterances: list[dict[str, str]]) -> None:
    counts = Counter(row["lang"] for row in utterances)
    assert set(counts) == set(LANGUAGE_SHARES)
    for language, (low, high) in LANGUAGE_SHARES.items():
        assert low <= counts[language] / len(utterances) <= high, language


def test_kind_shares(utterances: list[dict[str, str]]) -> None:
    counts = Counter(row["kind"] for row in utterances)
    for kind, share in KIND_SHARES.items():
        assert counts[kind] / len(utterances) == pytest.approx(share, abs=0.02), kind


def test_every_kind_is_there_in_every_language(utterances: list[dict[str, str]]) -> None:
    assert {(row["lang"], row["kind"]) for row in utterances} == {
        (language, kind) for language in LANGUAGE_SHARES for kind in KIND_SHARES
    }


def test_utterances_are_short(utterances: list[dict[str, str]]) -> None:
    for row in utterances:
        text = row["text"]
        if row["lang"] == "zh":
            assert 2 <= len(text) <= 20, text
        elif row["lang"] == "en":
            assert 1 <= len(text.split()) <= 10, text
        else:
            assert 2 <= _units(text) <= 20, text


def test_utterances_look_like_recognised_speech(utterances: list[dict[str, str]]) -> None:
    for row in utterances:
        text = row["text"]
        assert text == text.lower(), text
        assert unicodedata.category(text[-1])[0] == "L", text
        assert "  " not in text
        assert all(unicodedata.category(char)[0] != "C" for char in text), text


def test_complex_ones_are_few_and_labelled(utterances: list[dict[str, str]]) -> None:
    matching = {row["id"] for row in utterances if COMPLEX.search(row["text"])}
    labelled = {row["id"] for row in utterances if row["kind"] == "complex"}
    assert matching == labelled
    assert 0 < len(matching) / len(utterances) <= 0.02


def test_any_stretch_of_the_file_is_a_fair_sample(utterances: list[dict[str, str]]) -> None:
    languages = [row["lang"] for row in utterances]
    for start in range(0, len(languages) - 40, 20):
        assert set(languages[start : start + 40]) == set(LANGUAGE_SHARES), start


def test_readme_states_the_counts(utterances: list[dict[str, str]]) -> None:
    readme = (CORPORA / "README.md").read_text(encoding="utf-8")
    cells = Counter((row["kind"], row["lang"]) for row in utterances)
    for kind in KIND_SHARES:
        counts = [cells[kind, language] for language in ("zh", "en", "mixed")]
        row = " | ".join(str(count) for count in [*counts, sum(counts)])
        assert f"| {kind} | {row} |" in readme


def test_personas_have_exactly_the_documented_fields(personas: list[dict[str, str]]) -> None:
    assert all(list(row) == ["id", "lang", "role", "system"] for row in personas)
    assert Counter(row["lang"] for row in personas) == {"zh": 2, "en": 2, "mixed": 1}
    assert len({_spoken_form(row["system"]) for row in personas}) == len(personas)


def test_personas_are_short_and_ask_for_one_short_sentence(
    personas: list[dict[str, str]],
) -> None:
    one_sentence = {
        "zh": re.compile("一句"),
        "en": re.compile("one short sentence"),
        "mixed": re.compile("一句|one short sentence"),
    }
    for row in personas:
        prompt, language = row["system"], row["lang"]
        low, high = (25, 45) if language == "en" else (40, 70)
        assert _language(prompt) == language, row["id"]
        assert low <= _units(prompt) <= high, (row["id"], _units(prompt))
        assert one_sentence[language].search(prompt), row["id"]
