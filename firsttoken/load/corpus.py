"""What talkers say: personas (system prompts) and utterances, read from two data files."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from firsttoken.core.errors import UserError

LANGUAGES = ("zh", "en", "mixed")


@dataclass(frozen=True, slots=True)
class Persona:
    """Who answers: one system prompt, the prefix of every chat of a device."""

    id: str
    lang: str
    """One of :data:`LANGUAGES`; a ``mixed`` persona is spoken to in every language."""
    system: str


@dataclass(frozen=True, slots=True)
class Utterance:
    """One thing a person says to a device."""

    id: str
    lang: str
    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class Corpus:
    """Personas and utterances in file order; every persona has at least one utterance."""

    personas: tuple[Persona, ...]
    utterances: tuple[Utterance, ...]

    def spoken_to(self, persona: Persona) -> tuple[Utterance, ...]:
        """Return the utterances in a language that ``persona`` speaks, in file order."""
        return tuple(
            utterance
            for utterance in self.utterances
            if "mixed" in (persona.lang, utterance.lang) or utterance.lang == persona.lang
        )


def read_corpus(folder: Path) -> Corpus:
    """Read ``personas.jsonl`` and ``utterances.jsonl`` of ``folder``.

    Raises:
        UserError: a file is missing, a line is not an object with the expected text fields, or a
            persona has nothing said to it in its language.
    """
    corpus = Corpus(
        personas=tuple(
            Persona(line["id"], line["lang"], line["system"])
            for line in _lines(folder / "personas.jsonl", ("id", "lang", "system"))
        ),
        utterances=tuple(
            Utterance(line["id"], line["lang"], line["kind"], line["text"])
            for line in _lines(folder / "utterances.jsonl", ("id", "lang", "kind", "text"))
        ),
    )
    if not corpus.personas:
        raise UserError(f"{folder / 'personas.jsonl'} holds no persona")
    for persona in corpus.personas:
        if not corpus.spoken_to(persona):
            raise UserError(
                f"{folder / 'utterances.jsonl'} holds nothing to say to persona {persona.id}"
                f" (lang {persona.lang})"
            )
    return corpus


def _lines(path: Path, keys: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    """Yield the objects of a JSON Lines file, each with non-empty text under all of ``keys``."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read {path}: {error}") from error
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except ValueError as error:
            raise UserError(f"{path}:{number} is not JSON: {error}") from error
        if not isinstance(value, dict):
            raise UserError(f"{path}:{number} is not an object")
        for key in keys:
            if not isinstance(value.get(key), str) or not value[key]:
                raise UserError(f"{path}:{number}: {key!r} must be a text that is not empty")
        if value["lang"] not in LANGUAGES:
            raise UserError(f"{path}:{number}: 'lang' must be one of {', '.join(LANGUAGES)}")
        yield value
