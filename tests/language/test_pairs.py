"""The labelled pairs that judge the semantic cache are well formed, varied and fairly split.

Each file holds pairs of questions: ``different`` (an answer to one must never be given for the
other) and ``same`` (one answer serves both). Thresholds are chosen on the dev file alone, so the
held-out file must share no text with it, else its result says nothing about unseen questions.
"""

import unicodedata
from collections import Counter
from difflib import SequenceMatcher
from itertools import combinations
from pathlib import Path
from statistics import median
from typing import NamedTuple

import pytest

DATA = Path(__file__).parent / "data"
FILES = ("cache_pairs_dev.tsv", "cache_pairs_hard.tsv")
HEADER = "kind\tlanguage\tguard\ta\tb"
LANGUAGE_SHARES = {"zh": (0.45, 0.55), "en": (0.40, 0.50), "mixed": (0.04, 0.07)}
GUARDS = {
    "different": frozenset(
        [
            "negation",
            "opposite",
            "number",
            "date",
            "name",
            "order",
            "content",
            "question",
            "comparison",
            "quantity",
            "language",
            "scope",
        ]
    ),
    "same": frozenset(
        ["politeness", "filler", "synonym", "syntax", "spelling", "particle", "abbreviation"]
    ),
}
MINIMUM_PAIRS = 420
"""Pairs of each kind in each file."""
MINIMUM_PER_GUARD = 15
MAXIMUM_PER_PATTERN = 3
"""Paraphrases that add the very same words before and after the question."""
NEAR_COPY = 0.6
"""Jaccard similarity of letter trigrams above which two questions of one kind are near-copies."""


class Pair(NamedTuple):
    """One labelled row."""

    kind: str
    language: str
    guard: str
    a: str
    b: str


def lines_of(name: str) -> list[str]:
    """Return the lines of a data file; newlines are not translated, so a stray CR is seen."""
    return (DATA / name).read_bytes().decode("utf-8").removesuffix("\n").split("\n")


def pairs_of(name: str) -> list[Pair]:
    """Return the rows of a data file below its header."""
    return [Pair(*line.split("\t")) for line in lines_of(name)[1:]]


def bare(text: str) -> str:
    """Return a text without case, punctuation, spaces and width variants."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return "".join(character for character in folded if character.isalnum())


def has_han(text: str) -> bool:
    """Tell whether a text holds a Chinese character of the basic block."""
    return any("\u4e00" <= character <= "\u9fff" for character in text)


def has_latin(text: str) -> bool:
    """Tell whether a text holds a Latin letter."""
    return any("LATIN" in unicodedata.name(character, "") for character in text)


def in_language(text: str, language: str) -> bool:
    """Tell whether the scripts of a text fit its language label."""
    return {
        "zh": has_han(text),
        "en": has_latin(text) and not has_han(text),
        "mixed": has_han(text) and has_latin(text),
    }[language]


def wrapping(pair: Pair) -> tuple[str, str] | None:
    """Return what one text adds before and after the other, or None if neither holds the other."""
    short, long = sorted((bare(pair.a), bare(pair.b)), key=len)
    before, found, after = long.partition(short)
    return (before, after) if found and short != long else None


def trigrams(text: str) -> frozenset[str]:
    """Return the letter trigrams of a bare text; empty for fewer than three letters."""
    letters = bare(text)
    return frozenset(letters[start : start + 3] for start in range(len(letters) - 2))


@pytest.mark.parametrize("name", FILES)
def test_every_line_has_five_known_trimmed_fields(name: str) -> None:
    lines = lines_of(name)
    assert lines[0] == HEADER
    for number, line in enumerate(lines[1:], start=2):
        fields = line.split("\t")
        assert len(fields) == 5, (name, number, line)
        pair = Pair(*fields)
        assert pair.guard in GUARDS[pair.kind], (name, number, line)
        for text in (pair.a, pair.b):
            assert text, (name, number, line)
            assert text == text.strip(), (name, number, line)
            assert text.isprintable(), (name, number, line)
            assert in_language(text, pair.language), (name, number, line)


@pytest.mark.parametrize("name", FILES)
def test_counts_and_language_shares(name: str) -> None:
    for kind, guards in GUARDS.items():
        pairs = [pair for pair in pairs_of(name) if pair.kind == kind]
        assert len(pairs) >= MINIMUM_PAIRS, (name, kind, len(pairs))
        by_guard = Counter(pair.guard for pair in pairs)
        assert all(by_guard[guard] >= MINIMUM_PER_GUARD for guard in guards), (name, by_guard)
        by_language = Counter(pair.language for pair in pairs)
        for language, (least, most) in LANGUAGE_SHARES.items():
            assert least <= by_language[language] / len(pairs) <= most, (name, kind, by_language)


@pytest.mark.parametrize("name", FILES)
def test_the_two_texts_of_a_pair_differ(name: str) -> None:
    for pair in pairs_of(name):
        assert pair.a != pair.b, pair
        # Different questions must differ in more than case, spaces or punctuation.
        assert pair.kind == "same" or bare(pair.a) != bare(pair.b), pair


def test_no_text_stands_in_two_pairs_of_either_file() -> None:
    rows = [(name, pair) for name in FILES for pair in pairs_of(name)]
    uses = Counter(text for _, pair in rows for text in {bare(pair.a), bare(pair.b)})
    repeated = [row for row in rows if max(uses[bare(row[1].a)], uses[bare(row[1].b)]) > 1]
    assert not repeated, repeated


@pytest.mark.parametrize("name", FILES)
def test_paraphrases_are_not_made_from_one_pattern(name: str) -> None:
    same = [pair for pair in pairs_of(name) if pair.kind == "same"]
    patterns = Counter(found for pair in same if (found := wrapping(pair)) is not None)
    common = {words: count for words, count in patterns.items() if count > MAXIMUM_PER_PATTERN}
    assert not common, common


def test_no_question_is_a_near_copy_of_another_of_its_kind() -> None:
    rows = [(pair, trigrams(pair.a)) for name in FILES for pair in pairs_of(name)]
    copies = [
        (one.a, two.a)
        for (one, left), (two, right) in combinations(rows, 2)
        if one.kind == two.kind and len(left & right) > NEAR_COPY * len(left | right)
    ]
    assert not copies, copies


@pytest.mark.parametrize("name", FILES)
def test_different_pairs_look_more_alike_than_paraphrases(name: str) -> None:
    """Were it the other way round, any similarity threshold would pass the test."""
    alike = {
        kind: median(
            SequenceMatcher(None, bare(pair.a), bare(pair.b)).ratio()
            for pair in pairs_of(name)
            if pair.kind == kind
        )
        for kind in GUARDS
    }
    assert alike["different"] > 0.75, alike
    assert alike["different"] > alike["same"], alike
