"""The complexity score: how well it tells the labelled queries apart, and what it may depend on.

``python -m tests.language.test_complexity`` prints the figures of ``docs/query-complexity.md``.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firsttoken.language.complexity import BASE, FEATURES, WINDOW_CHARS, explain, score

DATA = Path(__file__).parent / "data" / "complexity.tsv"
THRESHOLD = 0.7
"""Of the guide's trigger ``query_complexity > 0.7``."""


@dataclass(frozen=True, slots=True)
class Query:
    """A labelled query of the set."""

    hard: bool
    language: str
    text: str

    @property
    def split(self) -> str:
        """The half it belongs to, by a hash of the text: weights were tuned on ``dev`` alone."""
        return "held_out" if hashlib.sha256(self.text.encode()).digest()[0] % 2 else "dev"


@dataclass(frozen=True, slots=True)
class Figures:
    """How well the score tells some queries apart."""

    easy: int
    hard: int
    accuracy: float
    precision: float
    recall: float
    false_positive_rate: float
    auc: float


def read_queries() -> list[Query]:
    lines = DATA.read_text(encoding="utf-8").splitlines()[1:]
    rows = [line.split("\t") for line in lines]
    return [Query(label == "complex", language, text) for label, language, text in rows]


def figures(queries: Sequence[Query]) -> Figures:
    easy = [score(query.text) for query in queries if not query.hard]
    hard = [score(query.text) for query in queries if query.hard]
    false = sum(value > THRESHOLD for value in easy)
    true = sum(value > THRESHOLD for value in hard)
    pairs = [(h > e) + (h == e) / 2 for h in hard for e in easy]
    return Figures(
        easy=len(easy),
        hard=len(hard),
        accuracy=(true + len(easy) - false) / len(queries),
        precision=true / max(true + false, 1),
        recall=true / len(hard),
        false_positive_rate=false / len(easy),
        auc=sum(pairs) / len(pairs),
    )


QUERIES = read_queries()


def half(split: str, *languages: str) -> list[Query]:
    wanted = languages or ("zh", "en", "mixed")
    return [query for query in QUERIES if query.split == split and query.language in wanted]


def points(text: str) -> dict[str, float]:
    return {row.name: row.points for row in explain(text).contributions}


@pytest.mark.parametrize("languages", [(), ("zh",), ("en",)])
def test_held_out_half_is_told_apart(languages: tuple[str, ...]) -> None:
    found = figures(half("held_out", *languages))
    assert found.precision >= 0.97
    assert found.false_positive_rate <= 0.02
    assert found.recall >= 0.85
    assert found.accuracy >= 0.93
    assert found.auc >= 0.99


def test_the_set_is_what_the_page_says() -> None:
    assert len({query.text for query in QUERIES}) == len(QUERIES) >= 400
    assert {query.language for query in QUERIES} == {"zh", "en", "mixed"}
    assert abs(len(half("dev")) - len(half("held_out"))) < 0.05 * len(QUERIES)


@given(st.text(st.characters(), max_size=300))
def test_any_text_has_a_score(text: str) -> None:
    value = score(text)
    assert 0.0 <= value <= 1.0
    assert value == score(text)


@pytest.mark.parametrize(
    "text", ["", " \n", "?!", "，。", "\ud800", "\x00", "😀", "___", "ﷺ" * 3000]
)
def test_odd_texts_are_easy_or_long(text: str) -> None:
    assert 0.0 <= score(text) < 0.1


@given(st.lists(st.sampled_from([query.text for query in QUERIES]), min_size=1, max_size=200))
def test_points_add_up_to_the_score(texts: list[str]) -> None:
    found = explain("，".join(texts))
    total = math.fsum(row.points for row in found.contributions)
    assert found.score == pytest.approx(1 / (1 + math.exp(-total)))
    order = [row.name for row in (BASE, *FEATURES)]
    names = [row.name for row in found.contributions]
    assert names == sorted(names, key=order.index)


def test_only_the_window_is_read() -> None:
    text = "x " * (WINDOW_CHARS // 2)
    assert score(text + "证明根号二是无理数") == score(text)


WIDE = str.maketrans({code: code + 0xFEE0 for code in range(0x21, 0x7F)} | {0x20: 0x3000})
SILENT = str.maketrans(dict.fromkeys("，。？！、：；,?!;", " "))


def test_the_way_of_writing_makes_no_difference() -> None:
    for text in (query.text for query in QUERIES):
        expected = score(text)
        for written in (text.upper(), text.translate(WIDE), text.translate(SILENT), f" {text}？！"):
            assert score(written) == expected, written


@pytest.mark.parametrize(
    "filler", ["那个，", "嗯……请问一下，", "小爱同学，", "um, so, ", "Hey, could you please "]
)
def test_fillers_at_the_start_make_no_difference(filler: str) -> None:
    for query in QUERIES:
        if query.hard:
            assert score(filler + query.text) == score(query.text), query.text


@pytest.mark.parametrize(
    ("lower", "higher"),
    [
        ("你好", "写一首七言律诗"),
        ("打开客厅的灯", "比较一下两种灯的优缺点"),
        ("写一篇作文", "写一篇八百字的作文，必须有三个要点，语气正式"),
        ("good morning", "prove the theorem"),
        ("translate hello", "translate this long letter " + "about my family and my house " * 5),
        ("I have two cats", "how many legs do two cats, three dogs and four birds have in total"),
        ("why is the sky blue", "explain why the sky is blue and derive the equation"),
        ("can I eat cheese", "can I take aspirin with cheese"),
        ("今天好累，放点音乐，比较一下这两个", "比较一下这两个"),
    ],
)
def test_harder_requests_score_higher(lower: str, higher: str) -> None:
    assert score(lower) < score(higher)


def test_small_talk_and_commands_speak_for_the_local_model() -> None:
    assert points("打开客厅的灯")["commands"] < 0
    assert points("今天心情不好")["small talk"] < 0
    assert points("how do you spell prove")["short facts"] < 0
    assert score("我今天写了一天代码好累啊，放点音乐吧") < 0.1


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("writer", False),  # "write" is a whole word
        ("analysing", True),  # "analy*" has any ending
        ("写python", True),  # a Latin word begins after a Chinese one
        ("c++", True),
        ("jsonify", False),
    ],
)
def test_words_are_found_where_they_begin_and_end(text: str, found: bool) -> None:
    names = points(text)
    assert bool(names.keys() & {"code", "write", "reasoning", "task first"}) is found


def main() -> None:
    """Print the figures by half and language."""
    print("half      language  simple complex accuracy precision recall false-pos. AUC")
    for split in ("dev", "held_out"):
        for name, languages in (("zh", ["zh"]), ("en", ["en"]), ("mixed", ["mixed"]), ("all", [])):
            row = figures(half(split, *languages))
            print(
                f"{split:9} {name:9} {row.easy:6} {row.hard:7} {row.accuracy:8.3f} "
                f"{row.precision:9.3f} {row.recall:6.3f} {row.false_positive_rate:10.3f} "
                f"{row.auc:.4f}"
            )


if __name__ == "__main__":
    main()
