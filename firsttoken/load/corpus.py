"""What talkers say: personas (system prompts) and utterances, read from two data files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from firsttoken.core.errors import UserError
from firsttoken.core.personas import Persona, read_lines, read_personas


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
    folder: Path = Path()
    """Where they were read, and where a scenario finds further texts."""

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
        personas=read_personas(folder / "personas.jsonl"),
        utterances=tuple(
            Utterance(line["id"], line["lang"], line["kind"], line["text"])
            for line in read_lines(folder / "utterances.jsonl", ("id", "lang", "kind", "text"))
        ),
        folder=folder,
    )
    for persona in corpus.personas:
        if not corpus.spoken_to(persona):
            raise UserError(
                f"{folder / 'utterances.jsonl'} holds nothing to say to persona {persona.id}"
                f" (lang {persona.lang})"
            )
    return corpus
