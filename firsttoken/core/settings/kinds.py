"""The base of every settings model and the value types that several of them share."""

from __future__ import annotations

from typing import Annotated, Any

import re2
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    Strict,
    model_validator,
)

from firsttoken.core.settings import durations
from firsttoken.core.settings.endpoint import parse as parse_endpoint


class Section(BaseModel):
    """A frozen mapping of known keys. A key without a value counts as left out."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        str_max_length=4096,
        hide_input_in_errors=True,
    )

    @model_validator(mode="before")
    @classmethod
    def _leave_out_empty_values(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        return {
            key: value
            for key, value in data.items()
            if value is not None or key not in cls.model_fields
        }


def _pattern(text: str) -> str:
    options = re2.Options()
    options.log_errors = False
    try:
        re2.compile(text, options)
    except re2.error as error:
        detail = error.args[0] if error.args else "it does not compile"
        why = detail.decode("utf-8", "replace") if isinstance(detail, bytes) else str(detail)
        raise ValueError(f"bad pattern ({why[:120]}); expected the syntax of RE2") from None
    return text


def _keep_alive(value: Any) -> str | int:
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ValueError(f"is no duration; {durations.EXPECTED}")  # noqa: TRY004 - pydantic's way
    durations.seconds(value)
    return value


def _endpoint(text: str) -> str:
    parse_endpoint(text)
    return text


def _path(text: str) -> str:
    if not text.strip() or "\x00" in text:
        raise ValueError("is empty; expected the path of a file")
    return text


Seconds = Annotated[float, Field(gt=0, le=86_400)]
Share = Annotated[float, Field(ge=0, le=1)]
Percent = Annotated[int, Field(ge=0, le=100)]
Tokens = Annotated[int, Field(ge=1, le=10_000_000)]
Slots = Annotated[int, Field(ge=1, le=1024)]
Port = Annotated[int, Field(ge=0, le=65_535)]
"""0 asks the operating system for a free one."""
Price = Annotated[float, Field(ge=0, le=1000)]
Endpoint = Annotated[str, AfterValidator(_endpoint)]
FilePath = Annotated[str, AfterValidator(_path)]
KeepAlive = Annotated[str | int, BeforeValidator(_keep_alive)]
Pattern = Annotated[str, Field(min_length=1, max_length=1000), AfterValidator(_pattern)]
Patterns = Annotated[tuple[Pattern, ...], Strict(strict=False), Field(max_length=200)]
Sentences = Annotated[tuple[str, ...], Strict(strict=False), Field(max_length=100)]
EnvironmentName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,99}$")]
BackendName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$")]
ModelName = Annotated[str, Field(pattern=r"^[^\s\x00-\x1f]{1,200}$")]
