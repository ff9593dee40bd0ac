"""Seeded replies in Chinese and English, in pieces about the size of a token."""

from __future__ import annotations

import re

from firsttoken.upstreams.draws import uniform

_HAN = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff]")
_PIECE = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff]{1,2}|\s*[^\s\u3400-\u4dbf\u4e00-\u9fff]+|\s+")

# The first of a reply, short as a speaker's opening is, and what may follow it.
_OPENINGS = {
    "zh": (
        "好的。",
        "没问题！",
        "当然可以。",
        "这个问题很好。",
        "嗯，我来说说看。",
        "我明白你的意思了。",
    ),
    "en": (
        "Sure.",
        "Of course!",
        "Good question.",
        "Let me think about that.",
        "I see what you mean.",
        "Here is a short answer.",
    ),
}
_SENTENCES = {
    "zh": (
        "先把大的任务拆成几个小步骤，再一个一个完成。",
        "如果时间不多，可以从最重要的那一件开始。",
        "晚上早点休息，第二天的精神会好很多。",
        "出门之前看一眼天空，带上一把伞总不会错。",
        "这两种办法各有好处，要看你更在意速度还是质量。",
        "多喝水，多走路，身体自然会轻松一些。",
        "你可以先试一个小例子，确认没有问题再继续。",
        "小火慢慢炖半个小时，味道会更浓。",
        "声音是靠空气的振动传到耳朵里的。",
        "需要的话，我可以再讲得详细一点。",
    ),
    "en": (
        "Break the work into small steps, and finish them one at a time.",
        "If time is short, begin with the part that matters most.",
        "A good night of sleep makes the next morning much easier.",
        "Look at the sky before you leave, and take an umbrella with you.",
        "Both ways have their merits, so it depends on what you value.",
        "Drink some water, take a walk, and you will feel better.",
        "Try a small example first, and go on once it works.",
        "Let it simmer for half an hour, and the taste gets richer.",
        "Sound reaches your ear as waves that travel through the air.",
        "I can go into more detail if you like.",
    ),
}


def language(text: str) -> str:
    """Return ``zh`` where ``text`` holds a Chinese character, else ``en``."""
    return "zh" if _HAN.search(text) else "en"


def pieces(text: str) -> list[str]:
    """Cut ``text`` into pieces of one or two Chinese characters or one word; joined they are it."""
    return _PIECE.findall(text)


def reply(seed: int, request_id: str, prompt: str) -> list[str]:
    """Return the pieces of the reply to ``prompt``, fixed by ``seed`` and ``request_id``.

    An opening and two to four different sentences, in the language of ``prompt``.
    """
    which = language(prompt)
    openings, rest = _OPENINGS[which], list(_SENTENCES[which])
    chosen = [openings[int(uniform(seed, "opening", request_id) * len(openings))]]
    for turn in range(2 + int(uniform(seed, "sentences", request_id) * 3)):
        index = int(uniform(seed, "sentence", str(turn), request_id) * len(rest))
        chosen.append(rest.pop(index))
    return pieces(("" if which == "zh" else " ").join(chosen))
