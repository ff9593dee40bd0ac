"""The streaming client against a server that says exactly what is written here."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import time
from pathlib import Path

import pytest

from firsttoken.core.errors import UserError
from firsttoken.core.words import ErrorType, Outcome
from firsttoken.load.client import Limits, Line, StreamClient
from firsttoken.load.endpoint import Endpoint
from firsttoken.load.exchange import Exchange
from firsttoken.wire import dialects
from firsttoken.wire.dialect import ChatRequest
from firsttoken.wire.http_reply import MAX_HEADER_BYTES
from tests.load.scripted import (
    CHUNKED_HEAD,
    CLOSE_HEAD,
    DONE,
    ROLE,
    STOP,
    USAGE,
    Reply,
    Scripted,
    chunked,
    delta,
    error_reply,
    length_head,
    sse,
)

EVENTS = sse(ROLE, delta("你好"), delta("，我在"), STOP, USAGE, DONE)
REQUEST = ChatRequest(
    "m", [{"role": "user", "content": "hi"}], stream=True, max_tokens=5, include_usage=True
)


def line_to(
    server: Scripted, limits: Limits | None = None, dialect: str = "openai", key: str | None = None
) -> Line:
    endpoint = Endpoint.resolve(server.url)
    return Line(endpoint, dialects.get(dialect), key, limits or Limits())


def ask(client: StreamClient, request_id: str = "r-1") -> Exchange:
    exchange = Exchange(request_id, time.monotonic_ns())
    client.ask(REQUEST, exchange)
    assert exchange.outcome is not None
    assert exchange.t_end_ns is not None
    return exchange


def once(reply: Reply, limits: Limits | None = None) -> Exchange:
    with Scripted([reply]) as server:
        client = StreamClient(line_to(server, limits))
        exchange = ask(client)
        client.close()
    return exchange


BODY = b"".join(EVENTS)
MIDDLE = BODY.index("好".encode()) + 1
FRAMINGS = {
    "chunked": Reply([CHUNKED_HEAD, *chunked(EVENTS)]),
    "chunked, all in one write": Reply([CHUNKED_HEAD + b"".join(chunked(EVENTS))]),
    "chunked, byte by byte": Reply(
        [bytes([byte]) for byte in CHUNKED_HEAD + b"".join(chunked(EVENTS))]
    ),
    "one event over two chunks": Reply(
        [CHUNKED_HEAD, *chunked([EVENTS[0] + EVENTS[1][:40], EVENTS[1][40:], b"".join(EVENTS[2:])])]
    ),
    "a character over two chunks": Reply([CHUNKED_HEAD, *chunked([BODY[:MIDDLE], BODY[MIDDLE:]])]),
    "content-length": Reply([length_head(len(BODY)), *EVENTS]),
    "until close": Reply([CLOSE_HEAD, *EVENTS], close=True),
    "after an interim reply": Reply(
        [b"HTTP/1.1 100 Continue\r\n\r\n", CHUNKED_HEAD, *chunked(EVENTS)]
    ),
    "with trailers": Reply(
        [CHUNKED_HEAD, *chunked(EVENTS, end=False), b"0\r\nx-firsttoken-tier: remote\r\n\r\n"]
    ),
    "with pings between": Reply(
        [CHUNKED_HEAD, *chunked([b": ping\n\n", EVENTS[0], b": ping\n\n", *EVENTS[1:]])]
    ),
}


@pytest.mark.parametrize("framing", FRAMINGS)
def test_every_framing_gives_the_same_record(framing: str) -> None:
    exchange = once(FRAMINGS[framing])
    assert (exchange.outcome, exchange.error_type) == (Outcome.SUCCESS, None)
    assert exchange.http_status == 200
    assert (exchange.prompt_tokens, exchange.cached_tokens, exchange.output_tokens) == (7, 5, 9)
    assert exchange.token_events == 2
    assert not exchange.tokens_counted_here
    stamps = [
        exchange.t_sched_ns,
        exchange.t_send_ns,
        exchange.t_headers_ns,
        exchange.t_first_event_ns,
        exchange.t_first_token_ns,
        exchange.t_first_sentence_ns,
        exchange.t_last_token_ns,
        exchange.t_end_ns,
    ]
    known = [stamp for stamp in stamps if stamp is not None]
    assert len(known) == len(stamps)
    assert known == sorted(known)


def test_router_headers_are_kept_and_trailers_are_not() -> None:
    exchange = once(FRAMINGS["with trailers"])
    assert (exchange.tier, exchange.backend, exchange.reason, exchange.attempts) == (
        "local",
        "local",
        "rule_simple",
        1,
    )
    strange = b"x-firsttoken-tier: moon\r\nx-firsttoken-attempts: many\r\n\r\n"
    head = CLOSE_HEAD.replace(b"\r\n\r\n", b"\r\n" + strange)
    exchange = once(Reply([head, *EVENTS], close=True))
    assert (exchange.tier, exchange.attempts) == (None, None)


def test_a_role_frame_is_no_first_token() -> None:
    exchange = once(
        Reply([CHUNKED_HEAD, *chunked([EVENTS[0]], end=False), 0.15, *chunked(EVENTS[1:])])
    )
    assert exchange.ttft_ms is not None
    assert exchange.t_first_event_ns is not None
    assert exchange.t_first_token_ns is not None
    assert exchange.t_first_token_ns - exchange.t_first_event_ns > 100e6
    assert exchange.ttft_ms > 100


def test_the_first_sentence_is_cut_where_a_voice_server_cuts_it() -> None:
    pieces: list[bytes | float] = [CHUNKED_HEAD]
    for event in sse(delta("你好"), delta("，我"), delta("在。"), STOP, DONE):
        pieces += [*chunked([event], end=False), 0.03]
    exchange = once(Reply([*pieces, b"0\r\n\r\n"]))
    assert exchange.ttft_ms is not None
    assert exchange.ttfs_ms is not None
    assert exchange.e2e_ms is not None
    assert exchange.ttft_ms < exchange.ttfs_ms < exchange.e2e_ms


def test_without_usage_token_events_are_counted_and_said_to_be() -> None:
    exchange = once(Reply([CHUNKED_HEAD, *chunked(sse(delta("a"), delta("b"), STOP, DONE))]))
    assert exchange.output_tokens == 2
    assert exchange.tokens_counted_here
    assert exchange.prompt_tokens is None


def test_an_answer_given_whole_has_its_first_token_at_the_end() -> None:
    message = '{"role":"assistant","content":"hi"}'
    body = f'{{"choices":[{{"index":0,"message":{message},"finish_reason":"stop"}}]}}'.encode()
    exchange = once(Reply([length_head(len(body), "application/json"), 0.1, body]))
    assert exchange.outcome == Outcome.SUCCESS
    assert exchange.ttft_ms is not None
    assert exchange.ttft_ms > 80


ERRORS = {
    "cut in the stream": (
        Reply([CHUNKED_HEAD, *chunked(EVENTS[:2], end=False)], close=True),
        ErrorType.PROTOCOL,
    ),
    "reset in the stream": (
        Reply([CHUNKED_HEAD, *chunked(EVENTS[:2], end=False)], reset=True),
        ErrorType.PROTOCOL,
    ),
    "cut in the headers": (Reply([CHUNKED_HEAD[:40]], close=True), ErrorType.PROTOCOL),
    "no reply at all": (Reply([], close=True), ErrorType.PROTOCOL),
    "cut before its length": (
        Reply([length_head(9999), EVENTS[0], EVENTS[1]], close=True),
        ErrorType.PROTOCOL,
    ),
    "a clean end without a token": (
        Reply([CHUNKED_HEAD, *chunked(sse(ROLE, STOP, DONE))]),
        ErrorType.PROTOCOL,
    ),
    "an error event": (
        Reply([CHUNKED_HEAD, *chunked(sse(delta("a"), '{"error":{"message":"x","code":500}}'))]),
        ErrorType.HTTP_5XX,
    ),
    "not HTTP": (Reply([b"SSH-2.0-OpenSSH_9\r\n\r\n"]), ErrorType.PROTOCOL),
    "endless headers": (
        Reply([b"HTTP/1.1 200 OK\r\n" + b"x: " + b"y" * (MAX_HEADER_BYTES + 70_000)]),
        ErrorType.PROTOCOL,
    ),
    "bad chunk": (Reply([CHUNKED_HEAD, b"zz\r\n"]), ErrorType.PROTOCOL),
    "401": (error_reply(401, '{"error":{"message":"bad key"}}'), ErrorType.AUTH),
    "404": (error_reply(404, '{"error":{"message":"no such model"}}'), ErrorType.HTTP_4XX),
    "context": (
        error_reply(400, '{"error":{"message":"m","type":"exceed_context_size_error"}}'),
        ErrorType.CONTEXT_OVERFLOW,
    ),
    "500": (error_reply(500, "oops"), ErrorType.HTTP_5XX),
    "503": (error_reply(503, '{"error":{"message":"Loading model"}}'), ErrorType.HTTP_5XX),
    "302": (error_reply(302, "", "Location: /login\r\n"), ErrorType.PROTOCOL),
}


@pytest.mark.parametrize("case", ERRORS)
def test_what_went_wrong_is_named(case: str) -> None:
    reply, error_type = ERRORS[case]
    exchange = once(reply)
    assert (exchange.outcome, exchange.error_type) == (Outcome.ERROR, error_type)
    assert exchange.message


def test_turned_away_for_load_is_rejected_and_a_spent_quota_an_error() -> None:
    for reply, outcome, error_type in (
        (error_reply(429, "slow down"), Outcome.ERROR, ErrorType.RATE_LIMITED),
        (
            error_reply(503, "busy", "Retry-After: 1\r\n"),
            Outcome.REJECTED,
            ErrorType.OVERLOADED,
        ),
    ):
        exchange = once(reply)
        assert (exchange.outcome, exchange.error_type) == (outcome, error_type)


def test_timeouts_are_told_apart() -> None:
    silent = once(Reply([CHUNKED_HEAD, 2.0]), Limits(total_s=2.0, silence_s=0.1))
    assert (silent.outcome, silent.error_type) == (
        Outcome.TIMEOUT,
        ErrorType.FIRST_TOKEN_TIMEOUT,
    )
    stalled = once(
        Reply([CHUNKED_HEAD, *chunked(EVENTS[:2], end=False), 2.0]),
        Limits(total_s=2.0, silence_s=0.1),
    )
    assert stalled.error_type == ErrorType.STALLED
    assert stalled.t_first_token_ns is not None
    tick: list[bytes | float] = [*chunked(sse(delta("a")), end=False), 0.02]
    late = once(Reply([CHUNKED_HEAD, *(tick * 50)]), Limits(total_s=0.2))
    assert (late.outcome, late.error_type) == (Outcome.TIMEOUT, ErrorType.TOTAL_TIMEOUT)
    assert late.e2e_ms == pytest.approx(200, abs=100)


def test_nobody_listening_is_a_connect_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    client = StreamClient(
        Line(Endpoint.resolve(f"http://127.0.0.1:{port}"), dialects.get("openai"))
    )
    exchange = ask(client)
    assert (exchange.outcome, exchange.error_type) == (Outcome.ERROR, ErrorType.CONNECT)
    assert exchange.t_send_ns is None
    assert exchange.ttft_ms is None


def test_a_connection_is_kept_and_counted() -> None:
    reply = FRAMINGS["chunked"]
    with Scripted([reply] * 3) as server:
        client = StreamClient(line_to(server))
        assert [ask(client, f"r-{n}").conn_reused for n in range(3)] == [False, True, True]
        client.close()
        assert server.connections == 1
        assert b"x-request-id: r-2\r\n" in server.requests[2]


def test_a_connection_closed_while_idle_is_replaced_before_sending() -> None:
    reply = Reply([CHUNKED_HEAD, *chunked(EVENTS)], close=True)
    with Scripted([reply, reply]) as server:
        client = StreamClient(line_to(server))
        first, second = ask(client), ask(client)
        client.close()
        assert server.connections == 2
    assert (first.outcome, second.outcome) == (Outcome.SUCCESS, Outcome.SUCCESS)


def test_a_kept_connection_that_ends_unanswered_is_retried_once_and_not_a_fault() -> None:
    good = FRAMINGS["chunked"]
    with Scripted([good, Reply([0.1], close=True), good]) as server:
        client = StreamClient(line_to(server))
        ask(client)
        exchange = ask(client)
        client.close()
        assert server.connections == 2
        assert len(server.requests) == 3
    assert exchange.outcome == Outcome.SUCCESS
    assert exchange.conn_reused is False
    assert exchange.ttft_ms is not None
    assert exchange.ttft_ms > 90, "the time lost in the first try was waited for too"


def test_a_reset_kept_connection_that_has_begun_to_answer_is_not_retried() -> None:
    with Scripted([FRAMINGS["chunked"], Reply([CHUNKED_HEAD[:20]], reset=True)]) as server:
        client = StreamClient(line_to(server))
        ask(client)
        exchange = ask(client)
        client.close()
        assert len(server.requests) == 2
    assert exchange.error_type == ErrorType.PROTOCOL


@pytest.mark.parametrize(
    "spent",
    [
        Reply([CLOSE_HEAD, *EVENTS], close=True),
        Reply([CHUNKED_HEAD, *chunked(EVENTS, end=False)]),
        Reply([CHUNKED_HEAD + b"".join(chunked(EVENTS)) + b"HTTP/1.1 200 OK\r\n\r\nunasked"]),
    ],
    ids=["closed", "message not ended", "bytes nobody asked for"],
)
def test_a_spent_connection_is_not_reused(spent: Reply, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("firsttoken.load.client.LINGER_S", 0.1)
    with Scripted([spent, FRAMINGS["chunked"]]) as server:
        client = StreamClient(line_to(server))
        first, second = ask(client), ask(client)
        client.close()
    assert (first.outcome, second.outcome) == (Outcome.SUCCESS, Outcome.SUCCESS)
    assert first.e2e_ms is not None
    assert first.e2e_ms < 90, "waiting for the end of the HTTP message is no part of the reply"
    assert second.conn_reused is False


def test_what_is_sent() -> None:
    with Scripted([FRAMINGS["chunked"]]) as server:
        line = line_to(server, key="k-123")
        client = StreamClient(line)
        ask(client, "run-hybrid-0-1-2")
        client.close()
        head, _, body = server.requests[0].partition(b"\r\n\r\n")
    lines = head.decode().lower().split("\r\n")
    assert lines[0] == "post /v1/chat/completions http/1.1"
    assert "x-request-id: run-hybrid-0-1-2" in lines
    assert "authorization: bearer k-123" in lines
    sent = json.loads(body)
    assert sent["stream"] is True
    assert sent["stream_options"] == {"include_usage": True}
    assert "k-123" not in repr(line)


def test_an_interrupted_talker_leaves_a_cancelled_record_and_no_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupted(*_: object) -> bytes:
        raise KeyboardInterrupt

    with Scripted([FRAMINGS["chunked"]]) as server:
        client = StreamClient(line_to(server))
        monkeypatch.setattr(StreamClient, "_receive", interrupted)
        exchange = Exchange("r", time.monotonic_ns())
        with pytest.raises(KeyboardInterrupt):
            client.ask(REQUEST, exchange)
    assert (exchange.outcome, exchange.error_type) == (Outcome.CANCELLED, ErrorType.CLIENT_GONE)


OLLAMA = [
    b'{"model":"m","message":{"role":"assistant","content":"\xe4\xbd\xa0"},"done":false}\n',
    b'{"model":"m","message":{"role":"assistant","content":"\xe5\xa5\xbd"},"done":false}\n',
    b'{"model":"m","done":true,"done_reason":"stop","prompt_eval_count":7,"eval_count":2}\n',
]


def test_ollama_is_spoken_too() -> None:
    head = CHUNKED_HEAD.replace(b"text/event-stream", b"application/x-ndjson")
    with Scripted([Reply([head, *chunked(OLLAMA)])]) as server:
        client = StreamClient(line_to(server, dialect="ollama"))
        exchange = ask(client)
        client.close()
        assert server.requests[0].startswith(b"POST /api/chat HTTP/1.1\r\n")
    assert exchange.outcome == Outcome.SUCCESS
    assert (exchange.prompt_tokens, exchange.output_tokens) == (7, 2)


def test_tls_with_a_kept_connection(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-nodes", "-days", "1", "-subj", "/CN=localhost"),
            *("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"),
            *("-addext", "subjectAltName=DNS:localhost"),
            *("-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(certificate, key)
    with Scripted([FRAMINGS["chunked"]] * 2, tls=serving) as server:
        trusting = ssl.create_default_context(cafile=str(certificate))
        endpoint = Endpoint.resolve(server.url, tls=trusting)
        client = StreamClient(Line(endpoint, dialects.get("openai")))
        assert [ask(client).conn_reused for _ in range(2)] == [False, True]
        client.close()
        untrusting = StreamClient(Line(Endpoint.resolve(server.url), dialects.get("openai")))
        assert ask(untrusting).error_type == ErrorType.CONNECT


@pytest.mark.parametrize(
    ("url", "prefix"),
    [
        ("http://127.0.0.1:8080", ""),
        ("http://127.0.0.1:8080/", ""),
        ("http://127.0.0.1:8080/v1", ""),
        ("http://127.0.0.1/compatible-mode/v1/", "/compatible-mode"),
    ],
)
def test_a_base_url_may_end_in_v1_or_not(url: str, prefix: str) -> None:
    assert Endpoint.resolve(url).prefix == prefix


@pytest.mark.parametrize(
    "url",
    [
        "127.0.0.1:8080",
        "ftp://127.0.0.1",
        "http://",
        "http://127.0.0.1:99999",
        "http://user:secret@127.0.0.1",
        "http://127.0.0.1/?a=b",
        "http://127.0.0.1/a b",
        "http://127.0.0.1/\r\nx: y",
        "http://host.invalid",
    ],
)
def test_a_bad_url_is_one_clear_line(url: str) -> None:
    with pytest.raises(UserError) as caught:
        Endpoint.resolve(url)
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_key_that_no_header_can_carry_is_refused_without_being_shown() -> None:
    with pytest.raises(UserError, match="API key") as caught:
        Line(Endpoint.resolve("http://127.0.0.1"), dialects.get("openai"), "a\r\nb")
    assert "a\r\nb" not in str(caught.value)


@pytest.mark.parametrize(
    ("dialect", "variable", "says"),
    [("latin", None, "latin"), ("openai", "NO_SUCH_KEY", "NO_SUCH_KEY")],
)
def test_a_line_that_cannot_be_made_is_one_clear_line(
    dialect: str, variable: str | None, says: str
) -> None:
    with pytest.raises(UserError, match=says):
        Line.to("http://127.0.0.1:1", dialect, variable, 30.0)


def test_the_key_comes_from_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_KEY", "k-9")
    assert Line.to("http://127.0.0.1:1", "openai", "SOME_KEY", 3.0).api_key == "k-9"
