"""What Ollama says of itself."""

from __future__ import annotations


def model_loaded(running: object, model: str) -> bool | None:
    """Read the answer of Ollama's ``/api/ps``: whether ``model`` is listed, None if unreadable.

    A model is listed from the moment its loading begins. A name without a tag means ``latest``.
    """
    models = running.get("models") if isinstance(running, dict) else None
    if not isinstance(models, list):
        return None
    names = {
        _with_tag(each[key])
        for each in models
        if isinstance(each, dict)
        for key in ("name", "model")
        if isinstance(each.get(key), str)
    }
    return _with_tag(model) in names


def _with_tag(model: str) -> str:
    return model if ":" in model.rpartition("/")[2] else f"{model}:latest"
