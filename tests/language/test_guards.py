"""The guards of the semantic cache: what may share an answer, and what may be cached."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firsttoken.language import english, thesaurus
from firsttoken.language.form import MAX_CHARS, form
from firsttoken.language.guards import Guard, Verdict, cacheable, compatible
from firsttoken.language.numerals import chinese_digits, english_digits
from firsttoken.language.reading import HYPHEN, TOKEN

DATA = Path(__file__).parent / "data"

TEXTS = st.text(max_size=80) | st.text(
    alphabet="的了不没三二一点百是什么怎么吗谁把从到在里吧呢the a isnot'\"“”《》?!,.:@-+5 \n",
    max_size=80,
)


def pairs(kind: str, name: str = "dev") -> list[tuple[str, str]]:
    """Return the pairs of a kind: of those the lists were written with, or of another file."""
    text = (DATA / f"cache_pairs_{name}.tsv").read_text(encoding="utf-8")
    rows = (line.split("\t") for line in text.splitlines()[1:])
    return [(row[3], row[4]) for row in rows if row[0] == kind]


def may_share(one: str, other: str) -> bool:
    """Say whether the guards let the one text have the other's answer."""
    return compatible(one, other).ok and cacheable(one) and cacheable(other)


@pytest.mark.parametrize(
    ("guard", "one", "other"),
    [
        (Guard.NUMBER, "三加五等于几", "三加六等于几"),
        (Guard.NUMBER, "两百五是多少", "两百零五是多少"),
        (Guard.NUMBER, "Set brightness to 50%", "Set brightness to 80%"),
        (Guard.NUMBER, "the third president", "the fourth president"),
        (Guard.NUMBER, ".5 cups of rice", "5 cups of rice"),
        (Guard.NEGATION, "我喜欢苹果", "我不喜欢苹果"),
        (Guard.NEGATION, "Why is the sky blue?", "Why isn't the sky blue?"),
        (Guard.NEGATION, "bread with no yeast", "bread with yeast"),
        (Guard.OPPOSITE, "打开客厅的灯", "关闭客厅的灯"),
        (Guard.OPPOSITE, "Turn on the light", "Turn off the light"),
        (Guard.DATE, "周二吃什么", "周四吃什么"),
        (Guard.DATE, "Is the sea cold in May?", "Is the sea cold in June?"),
        (Guard.DATE, "What is the capital of Japan?", "What was the capital of Japan?"),
        (Guard.LANGUAGE, "Is Mandarin tonal?", "Is Cantonese tonal?"),
        (Guard.QUESTION, "长城是什么时候修的", "长城是谁修的"),
        (Guard.QUESTION, "Where was Mozart born?", "When was Mozart born?"),
        (Guard.QUESTION, "什么是笑话", "讲个笑话"),
        (Guard.COMPARISON, "Is iron harder than tin?", "Is iron less hard than tin?"),
        (Guard.SCOPE, "Do only birds fly?", "Do birds fly?"),
        (Guard.QUANTITY, "一斤等于多少克", "一公斤等于多少克"),
        (Guard.NAME, "Who was Roger Bacon?", "Who was Francis Bacon?"),
        (Guard.NAME, "播放王菲的歌", "播放李菲的歌"),
        (Guard.CONTENT, "How long do cats live?", "How long do dogs live?"),
        (Guard.CONTENT, "红烧排骨怎么做", "红烧茄子怎么做"),
        (Guard.ORDER, "从北京到上海怎么走", "从上海到北京怎么走"),
        (Guard.ORDER, "Did Athens beat Sparta?", "Did Sparta beat Athens?"),
    ],
)
def test_a_guard_refuses_and_says_its_name(guard: Guard, one: str, other: str) -> None:
    assert compatible(one, other) == Verdict(guard)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("I don't want kids, what can I do?", "I don't love my husband, what can I do?"),
        ("我想哭，怎么办呢", "我想笑，怎么办呢"),
        ("谢谢用英语怎么说", "请用英语怎么说"),
        ("How do you say please in French?", "How do you say thanks in French?"),
        ("How do you spell color?", "How do you spell colour?"),
        ('What does "the" mean?', 'What does "a" mean?'),
        ("的和得的区别", "了和得的区别"),
        ("difference between huge and big", "difference between large and big"),
        ("Can you dance?", "Can I dance?"),
        ("What is 3-2?", "What is 3+2?"),
        ("What is -5 + 3?", "What is 5 + 3?"),
        ("What is 10²?", "What is 102?"),
        ("What is C++?", "What is C#?"),
        ("2*(3+4)", "2*3+4"),
        ("Call William", "Call Williams"),
        ("猫喜欢什么", "什么喜欢猫"),
        ("谁打败了拿破仑", "拿破仑打败了谁"),
        ("打开灯关闭空调", "关闭灯打开空调"),
        ("从哪里到北京", "从北京到哪里"),
        ("8除以2等于几", "2除以8等于几"),
        ("8除2", "8除以2"),
        ("附近的酒吧", "附近的酒"),
        ("不都是鸟", "都不是鸟"),
        ("only dogs eat meat", "dogs eat only meat"),
        ("Put the cup on the plate in the box", "Put the cup in the box on the plate"),
        ("你喜欢我吗", "你喜欢我"),
        ("What do cats eat?", "What eats cats?"),
        ("音乐会是什么", "音乐是什么"),
        ("Is a dog bigger than a cat?", "Is a cat bigger than a dog?"),
        ("A few people finished", "Few people finished"),
        ("What is WHO?", "What is who?"),
        ("meet at 6", "meet at 6 AM"),
    ],
)
def test_what_looks_alike_is_refused(one: str, other: str) -> None:
    assert not compatible(one, other).ok
    assert not compatible(other, one).ok


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("播放一首歌", "放一首歌曲"),
        ("打开电视", "请帮我把电视机打开"),
        ("Turn on the kitchen light", "Please switch the kitchen light on"),
        ("你好", "您好"),
        ("hello", "hi there"),
        ("介绍一下北京大学", "跟我说说北大"),
        ("什么是区块链", "区块链是什么呢"),
        ("番茄炒蛋的做法", "西红柿炒鸡蛋怎么做"),
        ("二加三等于几", "2+3等于多少"),
        ("法國的首都是哪裡", "法国首都是哪"),
        ("What's the capital of Japan?", "Could you please tell me the capital of Japan?"),
        ("Who wrote Don Quixote?", "Who is the author of Don Quixote?"),
        ("How do I cook rice?", "what's the best way to cook rice"),
        ("《红楼梦》是谁写的", "《红楼梦》的作者是谁"),
    ],
)
def test_the_same_said_otherwise_is_compatible(one: str, other: str) -> None:
    assert may_share(one, other)


@pytest.mark.parametrize("name", ["dev", "everyday", "hard"])
def test_no_pair_that_differs_is_compatible(name: str) -> None:
    assert [pair for pair in pairs("different", name) if may_share(*pair)] == []


# "everyday" and "hard" were written by other hands than the lists, and not looked into for them.
@pytest.mark.parametrize(("name", "share"), [("dev", 0.7), ("everyday", 0.6), ("hard", 0.25)])
def test_so_many_paraphrases_are_compatible(name: str, share: float) -> None:
    same = pairs("same", name)
    assert sum(may_share(*pair) for pair in same) >= share * len(same)


def test_no_two_development_texts_fall_together_but_paraphrases() -> None:
    texts = {text for kind in ("same", "different") for pair in pairs(kind) for text in pair}
    by_key: dict[tuple[str, ...], set[str]] = {}
    for text in texts:
        by_key.setdefault(form(text).key, set()).add(text)
    parent = {text: text for text in texts}

    def root(text: str) -> str:
        while parent[text] != text:
            text = parent[text]
        return text

    defined = ("What is photosynthesis?", "Explain photosynthesis.")
    for one, other in (*pairs("same"), defined):
        parent[root(one)] = root(other)
    assert [found for found in by_key.values() if len({root(text) for text in found}) > 1] == []


@pytest.mark.parametrize(
    "text",
    [
        "今天天气怎么样", "现在几点", "明天我要干什么", "苹果股价", "最新的新闻", "路上堵车吗",
        "湖人比分", "what's the weather like", "what time is it", "latest news", "who won the game",
        "traffic to the airport", "what is the price of gold", "pick a random number",
        "继续", "再说一遍", "为什么", "那个呢", "他多大了", "go on", "why?", "what about that one",
        "is it big?", "what is my name", "", "?!", "a" * (MAX_CHARS + 1),
    ],
)  # fmt: skip
def test_what_changes_or_needs_its_context_is_not_cacheable(text: str) -> None:
    assert not cacheable(text)


@pytest.mark.parametrize("text", ["水的沸点是多少", "Why is the sky blue?", "你好", "thanks!"])
def test_what_stays_true_is_cacheable(text: str) -> None:
    assert cacheable(text)


def test_a_long_text_is_compatible_with_nothing() -> None:
    text = "a" * (MAX_CHARS + 1)
    assert compatible(text, text) == Verdict(Guard.LENGTH)


@pytest.mark.parametrize(
    "unit",
    ["我", "说说", "，我", "不", "一百", "从北京到上海", "how do i ", "a ", "me, i know, ", '"a" '],
)
def test_the_longest_text_takes_bounded_time(unit: str) -> None:
    cacheable(unit)
    for text in ((unit * MAX_CHARS)[:MAX_CHARS], ("怎么" + unit * MAX_CHARS)[:MAX_CHARS]):
        started = time.thread_time()
        cacheable(text)
        assert time.thread_time() - started < 0.25


@given(TEXTS, TEXTS)
@settings(max_examples=150, deadline=None)
def test_compatible_is_symmetric_and_never_raises(one: str, other: str) -> None:
    assert compatible(one, other) == compatible(other, one)
    assert isinstance(cacheable(one), bool)


@given(TEXTS)
@settings(max_examples=150, deadline=None)
def test_compatible_is_reflexive(text: str) -> None:
    assert compatible(text, text).ok


@given(st.sampled_from(pairs("same")), st.sampled_from(pairs("different")))
@settings(max_examples=150, deadline=None)
def test_courtesy_changes_no_verdict(same: tuple[str, str], differing: tuple[str, str]) -> None:
    one, other = differing
    before, after = ("请问，", "，谢谢") if re.search("[一-鿿]", one) else ("Hello, ", ", please?")
    assert not may_share(before + one, other + after)
    assert compatible(*same) == compatible(same[1], same[0])


@pytest.mark.parametrize("language", thesaurus.LANGUAGES)
def test_opposites_are_many_and_never_compatible(language: str) -> None:
    frames = ("怎么{}", "{}的鱼") if language == "zh" else ("how do I {}", "the fish {}")
    opposites = thesaurus.opposites(language)
    assert len(opposites) >= 2 * 150
    for one, other in opposites:
        for frame in frames:
            assert not compatible(frame.format(one), frame.format(other)).ok, (one, other)


@pytest.mark.parametrize("language", thesaurus.LANGUAGES)
def test_a_group_of_synonyms_is_apart_from_the_others_and_holds_no_opposites(language: str) -> None:
    opposites = thesaurus.opposites(language)
    seen: set[str] = set()
    for group in thesaurus.groups(f"{language}_synonyms"):
        assert len(group) > 1
        assert not [1 for one in group for other in group if (one, other) in opposites]
        plain = {text if language == "zh" else english.base_forms(text) for text in group}
        assert "" not in plain
        assert not plain & seen, group
        seen |= plain


def test_no_word_that_a_guard_watches_is_dropped() -> None:
    for language in thesaurus.LANGUAGES:
        lists = thesaurus.words(language)
        for section in ("negation", "time", "compare", "scope", "unit", "language"):
            assert not lists[section] & lists["dropped"], (language, section)


@pytest.mark.parametrize(
    ("said", "digits"),
    [
        ("两百五", "250"), ("一百零五", "105"), ("十二", "12"), ("二零二四", "2024"),
        ("一万二", "12000"), ("三千五百", "3500"), ("三点五", "3.5"), ("百分之五十", "50%"),
        ("六点半", "6点半"), ("百科", "百科"), ("万一", "万一"), ("三亿二千万", "320000000"),
        ("6:05", "6点5分"),
    ],
)  # fmt: skip
def test_chinese_numerals(said: str, digits: str) -> None:
    assert chinese_digits(said) == digits


@pytest.mark.parametrize(
    ("said", "digits"),
    [
        ("twenty one days", "21 days"), ("two hundred five", "205"), ("third", "ord:3"),
        ("twenty third", "ord:23"), ("22nd", "ord:22"), ("three four", "3 4"),
        ("two thousand twenty", "2020"), ("cats", "cats"),
    ],
)  # fmt: skip
def test_english_numerals(said: str, digits: str) -> None:
    assert " ".join(english_digits(TOKEN.findall(HYPHEN.sub(" ", said)))) == digits
