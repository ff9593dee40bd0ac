"""All dialects by name."""

from __future__ import annotations

from firsttoken.core.errors import UserError
from firsttoken.wire.dashscope import DASHSCOPE
from firsttoken.wire.dialect import Dialect
from firsttoken.wire.ollama import OLLAMA_CHAT, OLLAMA_GENERATE
from firsttoken.wire.openai import OPENAI

DIALECTS: dict[str, Dialect] = {
    dialect.name: dialect for dialect in (OPENAI, OLLAMA_CHAT, OLLAMA_GENERATE, DASHSCOPE)
}


def get(name: str) -> Dialect:
    """Return a dialect by name: ``openai``, ``ollama``, ``ollama_generate`` or ``dashscope``.

    Raises:
        UserError: there is no dialect of that name.
    """
    try:
        return DIALECTS[name]
    except KeyError:
        raise UserError(
            f"unknown dialect {name!r}: expected one of {', '.join(DIALECTS)}"
        ) from None
