"""Reading what Alertmanager posts to a webhook: its payload of version 4.

Only what decides is read, and only so much of it is kept. Texts of an alert (annotations, label
values) are never executed, rendered or logged.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Literal

import orjson
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

MOST_ALERTS = 1_000
MOST_LABELS = 100
_LONGEST = 4_096
_TIME = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,9})?(Z|[+-]\d{2}:\d{2})", re.ASCII)


class DeliveryError(ValueError):
    """The body is none of Alertmanager's; one line says what was expected where."""


@dataclass(frozen=True, slots=True)
class Alert:
    """What decides about one alert."""

    name: str
    action: str
    fingerprint: str
    starts_s: float
    """Unix time."""
    firing: bool


def _unix(text: str) -> float:
    if _TIME.fullmatch(text) is None:
        raise ValueError("expected a time such as 2026-01-31T08:15:30.5Z")
    return datetime.fromisoformat(text).timestamp()


Text = Annotated[str, Field(max_length=_LONGEST)]
Labels = Annotated[dict[Text, Text], Field(max_length=MOST_LABELS)]
Status = Literal["firing", "resolved"]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", strict=True, hide_input_in_errors=True)


class _Alert(_Model):
    status: Status
    labels: Labels
    annotations: Labels = Field(default_factory=dict)
    startsAt: Annotated[str, AfterValidator(_unix)]  # noqa: N815 - Alertmanager's name
    fingerprint: Annotated[str, Field(pattern=r"^[0-9a-f]{16}\z")]


class _Payload(_Model):
    version: Literal["4"]
    status: Status
    receiver: Text = ""
    groupKey: Text = ""  # noqa: N815 - Alertmanager's name
    alerts: Annotated[list[_Alert], Field(max_length=MOST_ALERTS)]


def parse(body: bytes) -> tuple[Alert, ...]:
    """Return the alerts of a delivery, in order.

    Raises:
        DeliveryError: it is not JSON, or not of this shape. The message repeats nothing of it.
    """
    try:
        payload = _Payload.model_validate(orjson.loads(body))
    except orjson.JSONDecodeError:
        raise DeliveryError("the body is not JSON; expected an Alertmanager webhook") from None
    except ValidationError as error:
        raise DeliveryError(_line(error)) from None
    return tuple(
        Alert(
            each.labels.get("alertname", ""),
            each.labels.get("action", ""),
            each.fingerprint,
            float(each.startsAt),
            each.status == "firing",
        )
        for each in payload.alerts
    )


def _line(error: ValidationError) -> str:
    """Return the first thing that is wrong, in one line.

    Keys of labels are the sender's words: no path goes below a name of the schema."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    path = ""
    for part in first["loc"]:
        if isinstance(part, int):
            path += f"[{part}]"
            continue
        if part not in _KNOWN:
            break
        path += f".{part}" if path else part
    what = first["msg"].removeprefix("Value error, ")
    return f"{path or 'the body'}: {what[:1].lower()}{what[1:]} (webhook payload version 4)"


_KNOWN = frozenset(_Payload.model_fields) | frozenset(_Alert.model_fields)
