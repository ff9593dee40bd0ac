"""What error bodies say."""

from __future__ import annotations

import pytest

from firsttoken.core.errors import UserError
from firsttoken.core.words import ErrorType
from firsttoken.wire import faults
from firsttoken.wire.dialects import DIALECTS, get
from tests.wire.samples import whole


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (400, whole("llamacpp_too_long.json"), ErrorType.CONTEXT_OVERFLOW),
        (400, whole("llamacpp_bad_role.json"), ErrorType.HTTP_4XX),
        (400, b'{"error":{"code":"context_length_exceeded"}}', ErrorType.CONTEXT_OVERFLOW),
        (400, b'{"code":"Arrearage","message":"Access denied"}', ErrorType.AUTH),
        (400, b'{"code":"Throttling","message":"slow down"}', ErrorType.RATE_LIMITED),
        (401, b"", ErrorType.AUTH),
        (403, b"<html>", ErrorType.AUTH),
        (404, b'{"error":"model not found"}', ErrorType.HTTP_4XX),
        (429, b"{}", ErrorType.RATE_LIMITED),
        (503, b'{"error":{"code":503,"message":"Loading model"}}', ErrorType.HTTP_5XX),
        (503, b'{"error":{"type":"overloaded"}}', ErrorType.OVERLOADED),
        (302, b"", ErrorType.PROTOCOL),
    ],
)
def test_error_types(status: int, body: bytes, expected: ErrorType) -> None:
    assert faults.error_type(status, body) is expected


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"error":{"message":"a\\n b"}}', "a b"),
        (b'{"error":"a"}', "a"),
        (b'{"detail":"a"}', "a"),
        (b'{"detail":[{"msg":"a"}]}', "the server named no reason"),
        (b"<html> <b>502</b>\n</html>", "<html> <b>502</b> </html>"),
        (b"", "the server named no reason"),
        (b"\xff\xfe", "\ufffd\ufffd"),
        (b'"text"', "text"),
        (b"x" * 2000, "x" * 500),
        (b'{"message":"wrong key sk-abcdefghijklmnop given"}', "wrong key sk-*** given"),
        (b"Authorization: Bearer abcdefghijklmnop", "Authorization: Bearer ***"),
    ],
)
def test_descriptions(body: bytes, expected: str) -> None:
    assert faults.describe(body) == expected


def test_dialects_by_name() -> None:
    assert [get(name).name for name in DIALECTS] == list(DIALECTS)
    assert set(DIALECTS) == {"openai", "ollama", "ollama_generate", "dashscope"}
    with pytest.raises(UserError, match="unknown dialect 'soap': expected one of openai, ollama"):
        get("soap")
