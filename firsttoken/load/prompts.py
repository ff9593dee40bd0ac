"""Prompts of a length in tokens, made of the corpus; sessions share their beginning."""

from __future__ import annotations

import random
from typing import Any

from firsttoken.load.corpus import Corpus

CHARACTERS_PER_TOKEN = {"en": 4.1, "zh": 0.6, "mixed": 1.1}
"""By language of the utterances: measured with the tokenizer of SmolLM2 on this corpus. Models made
for Chinese take fewer tokens for it, so English is used where the corpus has any."""
CHAT_MARKS = 14
"""Tokens that ChatML, the chat template of SmolLM2 and Qwen, puts around a system and a user
message."""


class Prompts:
    """Makes the messages of a turn, about as many tokens long as asked.

    The system message is the beginning of a text that each session has to itself, endless and
    always the same: so the longer prompt of a later turn begins like the shorter one before it, as
    a growing conversation does, and a prefix cache finds what it would find in real use. The user
    message ends with the number of the turn: no two turns are equal, so no answer cache has seen
    one of them.
    """

    def __init__(self, corpus: Corpus, seed: int, longest_tokens: int) -> None:
        lang = next(
            lang
            for lang in CHARACTERS_PER_TOKEN
            if any(utterance.lang == lang for utterance in corpus.utterances)
        )
        self._ratio = CHARACTERS_PER_TOKEN[lang]
        texts = [utterance.text for utterance in corpus.utterances if utterance.lang == lang]
        random.Random(f"{seed}/prompts").shuffle(texts)  # noqa: S311 - not a secret
        once = ". ".join(texts) + ". "
        self._round = len(once)
        needed = self._round + int(longest_tokens * self._ratio)
        self._text = once * (needed // self._round + 1)
        self._seed = seed

    def messages(self, session: int, number: int, tokens: int) -> list[dict[str, Any]]:
        """Return the turn with the ``number`` (in the run) of ``session``, in the shape of OpenAI
        messages, about ``tokens`` long as a server counts, chat template included.

        The shortest prompt there is has no system message: a request for fewer tokens gets it.
        """
        question = f"question {number}"
        asked = {"role": "user", "content": question}
        opening = f"session {session}: "
        room = int((tokens - CHAT_MARKS) * self._ratio) - len(question) - len(opening)
        if room <= 0:
            return [asked]
        start = random.Random(f"{self._seed}/{session}").randrange(self._round)  # noqa: S311
        context = opening + self._text[start : start + room]
        return [{"role": "system", "content": context}, asked]
