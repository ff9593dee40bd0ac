"""``POST /-/alerts`` under attack: no action that was not asked for properly, one clear answer."""

from __future__ import annotations

import asyncio
import json
import random
import string
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from firsttoken.core.catalogue import Action, ActionResult
from firsttoken.core.errors import UserError
from router.actions.delivery import MOST_ALERTS, DeliveryError, parse
from router.actions.policy import Limit, Policy
from router.actions.settings import AlertRules
from router.actions.snapshot import engine_view
from router.app import Router, create_app
from router.config import RouterConfig
from router.fronts.alerts import MOST_BYTES
from router.health.breaker import BreakerRules
from router.policy.plan import Rules
from router.server import check_audit, check_keys
from tests.router.alertmanager import alert, delivery, written
from tests.router.conftest import backend

TOKEN = "a-token-of-the-tests-0123456789"
ERRORS = "LLMHighLocalErrorRate"
SWITCH = "switch_to_remote"
POLICY = Policy({ERRORS: frozenset({Action.SWITCH_TO_REMOTE})}, dry_run=False)


class Bench:
    """A router in this process whose webhook is on; nothing listens where its backends are."""

    def __init__(self, router: Router, http: httpx.AsyncClient, audit: Path) -> None:
        self.router = router
        self.http = http
        self.audit = audit

    @property
    def circuit(self) -> str:
        return str(self.router.serving.monitor.report()["local"]["state"])

    async def post(self, body: Any, token: str | None = TOKEN, **headers: str) -> httpx.Response:
        sent = {"content-type": "application/json", **headers}
        if token is not None:
            sent["authorization"] = f"Bearer {token}"
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return await self.http.post("/-/alerts", content=content, headers=sent)

    async def results(self, *alerts: dict[str, Any]) -> list[str]:
        reply = await self.post(delivery(*alerts))
        assert reply.status_code == 200, reply.text
        return [each["result"] for each in reply.json()["alerts"]]

    async def count(self, name: str, **labels: str) -> float:
        lines = (await self.http.get("/metrics")).text.splitlines()
        wanted = [f'{key}="{value}"' for key, value in labels.items()]
        return sum(
            float(line.rpartition(" ")[2])
            for line in lines
            if line.startswith(f"{name}{{") and all(each in line for each in wanted)
        )

    def entries(self, kind: str) -> list[dict[str, Any]]:
        lines = self.audit.read_text().splitlines() if self.audit.exists() else []
        return [each for line in lines if (each := json.loads(line))["kind"] == kind]


Begin = Callable[..., Awaitable[Bench]]


def _config(folder: Path, **changes: Any) -> RouterConfig:
    rules: dict[str, Any] = {
        "enable": True,
        "policy": POLICY,
        "token": TOKEN,
        "kill_switch": folder / "stop",
        "audit_log": folder / "log" / "audit.jsonl",
        "snapshots": folder / "snapshots",
        "hold_s": 3600.0,
    }
    return RouterConfig(
        Rules((backend("local"), backend("cloud", "http://127.0.0.1:9/cloud"))),
        breaker=BreakerRules(failures=1000, least_attempts=1000),
        alerts=AlertRules(**(rules | changes)),
    )


@pytest.fixture
async def begin(tmp_path: Path) -> AsyncIterator[Begin]:
    started: list[Bench] = []

    async def start(**changes: Any) -> Bench:
        config = _config(tmp_path, **changes)
        router = Router(config)
        await router.start()
        transport = httpx.ASGITransport(create_app(router))
        http = httpx.AsyncClient(transport=transport, base_url="http://router")
        started.append(Bench(router, http, config.alerts.audit_log))
        return started[-1]

    yield start
    for bench in started:
        await bench.http.aclose()
        await bench.router.aclose()


async def test_an_alert_opens_the_circuit_once_and_a_resolved_one_closes_nothing(
    begin: Begin,
) -> None:
    bench = await begin()
    firing = alert(ERRORS, SWITCH, time.time() - 5)
    assert bench.circuit == "closed"
    reply = await bench.post(delivery(firing))
    [told] = reply.json()["alerts"]
    assert told["action"] == SWITCH
    assert told["result"] == "succeeded"
    assert "3 probes in a row" in told["why"]
    assert bench.circuit == "open"
    assert await bench.results(firing, firing) == ["duplicate", "duplicate"]
    assert await bench.results(firing | {"status": "resolved"}) == ["ignored"]
    assert bench.circuit == "open"
    assert await bench.count("llm_alert_actions_total", action=SWITCH, result="succeeded") == 1
    assert await bench.count("llm_alert_actions_total", action=SWITCH, result="duplicate") == 2
    assert await bench.count("llm_alert_deliveries_total", result="accepted") == 3
    assert await bench.count("llm_alert_action_last_timestamp_seconds", action=SWITCH) > 1e9
    assert [each["result"] for each in bench.entries("decision")] == [
        "started",
        "duplicate",
        "duplicate",
        "ignored",
    ]
    assert [each["result"] for each in bench.entries("end")] == ["succeeded"]
    assert bench.audit.stat().st_mode & 0o777 == 0o600
    assert TOKEN not in bench.audit.read_text()


@pytest.mark.parametrize(
    "token",
    [None, "", "wrong", TOKEN + "x", TOKEN[:-1], TOKEN.upper(), f"{TOKEN} {TOKEN}", "\u00e9"],
)
async def test_a_forged_token_does_nothing(begin: Begin, token: str | None) -> None:
    bench = await begin()
    headers = {} if token is None else {"authorization": f"Bearer {token}".encode("latin-1")}
    body = json.dumps(delivery(alert(ERRORS, SWITCH, time.time()))).encode()
    sent = {"content-type": "application/json"} | headers
    reply = await bench.http.post("/-/alerts", content=body, headers=sent)  # type: ignore[arg-type]
    assert reply.status_code == 401
    assert reply.headers["www-authenticate"] == "Bearer"
    assert list(reply.json()) == ["error"]
    assert bench.circuit == "closed"
    assert bench.entries("delivery") == []
    assert await bench.count("llm_alert_deliveries_total", result="unauthorized") == 1


async def test_a_token_of_another_scheme_or_in_the_address_does_nothing(begin: Begin) -> None:
    bench = await begin()
    body = json.dumps(delivery(alert(ERRORS, SWITCH, time.time()))).encode()
    for headers in ({"authorization": f"Basic {TOKEN}"}, {"x-api-key": TOKEN}):
        sent = {"content-type": "application/json"} | headers
        for path in ("/-/alerts", f"/-/alerts?token={TOKEN}"):
            assert (await bench.http.post(path, content=body, headers=sent)).status_code == 401
    assert bench.circuit == "closed"


async def test_switched_off_it_is_not_there(begin: Begin) -> None:
    bench = await begin(enable=False)
    reply = await bench.post(delivery(alert(ERRORS, SWITCH, time.time())))
    assert reply.status_code == 404
    assert "alert_actions.enable" in reply.json()["error"]
    assert not bench.audit.exists()


async def test_without_a_token_a_web_page_may_not_send_alerts_either(begin: Begin) -> None:
    bench = await begin(token=None)
    body = delivery(alert(ERRORS, SWITCH, time.time()))
    plain = {"content-type": "text/plain;charset=UTF-8"}
    assert (await bench.post(body, None, **plain)).status_code == 422
    assert bench.circuit == "closed"
    assert (await bench.post(body, None)).status_code == 200
    assert bench.circuit == "open"


async def test_too_large_a_body_is_not_read_to_its_end(begin: Begin) -> None:
    bench = await begin()
    body = json.dumps(delivery(alert(ERRORS, SWITCH, time.time()), pad="x" * MOST_BYTES)).encode()
    reply = await bench.post(body)
    assert reply.status_code == 413
    assert str(MOST_BYTES) in reply.json()["error"]
    assert await bench.count("llm_alert_deliveries_total", result="too_large") == 1
    assert bench.circuit == "closed"


NOW_S = 1_700_000_000.0
GOOD = alert(ERRORS, SWITCH, NOW_S)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "the body is not JSON"),
        (b"\xff\xfe", "the body is not JSON"),
        (b"[" * 100_000, "the body is not JSON"),
        (b"[]", "the body: "),
        (b"null", "the body: "),
        (delivery(version="3"), "version: "),
        ({**delivery(), "alerts": None}, "alerts: "),
        (delivery(status="burning"), "status: "),
        (delivery(*[GOOD] * (MOST_ALERTS + 1)), "alerts: "),
        (delivery(GOOD, {}), "alerts[1].status: "),
        (delivery({**GOOD, "labels": {"alertname": 7}}), "alerts[0].labels: "),
        (delivery({**GOOD, "labels": {str(n): "" for n in range(101)}}), "alerts[0].labels: "),
        (delivery({**GOOD, "labels": {"alertname": "x" * 5000}}), "alerts[0].labels: "),
        (delivery({**GOOD, "startsAt": "yesterday"}), "alerts[0].startsAt: expected a time"),
        (delivery({**GOOD, "startsAt": "2023-13-01T00:00:00Z"}), "alerts[0].startsAt: "),
        (delivery({**GOOD, "startsAt": 1_700_000_000}), "alerts[0].startsAt: "),
        (delivery({**GOOD, "fingerprint": "../../etc/passwd"}), "alerts[0].fingerprint: "),
        (delivery({**GOOD, "fingerprint": "0123456789abcdef\n"}), "alerts[0].fingerprint: "),
    ],
)
def test_malformed_bodies_are_told_in_one_line(body: Any, said: str) -> None:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    with pytest.raises(DeliveryError) as found:
        parse(raw)
    assert str(found.value).startswith(said)
    assert "\n" not in str(found.value)
    assert len(str(found.value)) < 200


def test_a_delivery_is_read() -> None:
    [found] = parse(
        json.dumps(delivery(GOOD | {"startsAt": "2023-11-14T22:13:20.123456789Z"})).encode()
    )
    assert (found.name, found.action, found.firing) == (ERRORS, SWITCH, True)
    assert found.starts_s == pytest.approx(NOW_S + 0.123456)
    [elsewhere] = parse(
        json.dumps(delivery(GOOD | {"startsAt": "2023-11-15T06:13:20+08:00"})).encode()
    )
    assert elsewhere.starts_s == NOW_S
    assert parse(json.dumps(delivery()).encode()) == ()


async def test_unknown_actions_and_names_do_nothing(begin: Begin) -> None:
    bench = await begin()
    now_s = time.time()
    pairs = [
        (ERRORS, "rm"),
        (ERRORS, None),
        (ERRORS, "restart_service"),
        (ERRORS, f"{SWITCH} "),
        ("LLMHighLocalErrorRat", SWITCH),
        ("", SWITCH),
        ("$(reboot)", "{{ .Labels }}"),
    ]
    asked = [
        alert(name, action, now_s, fingerprint=f"{number:016x}")
        for number, (name, action) in enumerate(pairs)
    ]
    assert await bench.results(*asked) == ["ignored"] * len(pairs)
    assert bench.circuit == "closed"
    assert len(bench.entries("decision")) == len(pairs)
    assert await bench.count("llm_alert_actions_total", result="succeeded") == 0


async def test_the_kill_switch(begin: Begin, tmp_path: Path) -> None:
    bench = await begin()
    (tmp_path / "stop").touch()
    firing = alert(ERRORS, SWITCH, time.time())
    assert await bench.results(firing) == ["refused"]
    assert bench.circuit == "closed"
    (tmp_path / "stop").unlink()
    assert await bench.results(firing) == ["succeeded"]


async def test_a_dry_run_does_nothing(begin: Begin) -> None:
    bench = await begin(policy=Policy(POLICY.allowed))
    assert await bench.results(alert(ERRORS, SWITCH, time.time())) == ["dry_run"]
    assert bench.circuit == "closed"


async def test_nothing_is_done_that_cannot_be_entered(begin: Begin, tmp_path: Path) -> None:
    bench = await begin(audit_log=tmp_path)
    reply = await bench.post(delivery(alert(ERRORS, SWITCH, time.time())))
    [told] = reply.json()["alerts"]
    assert (told["result"], told["why"].split(":")[0]) == (
        "refused",
        "the audit log cannot be written",
    )
    assert bench.circuit == "closed"


async def test_limits_outlive_the_router(begin: Begin) -> None:
    before = await begin()
    firing = alert(ERRORS, SWITCH, time.time())
    assert await before.results(firing) == ["succeeded"]
    await before.router.aclose()
    after = await begin()
    other = firing | {"fingerprint": "f" * 16}
    assert await after.results(firing, other) == ["duplicate", "refused"]
    assert after.circuit == "closed"


async def test_limits_outlive_a_reload_but_a_dry_run_ends_with_it(begin: Begin) -> None:
    bench = await begin(policy=Policy(POLICY.allowed))
    firing = alert(ERRORS, SWITCH, time.time())
    assert await bench.results(firing) == ["dry_run"]
    await bench.router.alerts.configure(bench.router.alerts.rules)
    assert await bench.results(firing) == ["duplicate"]
    await bench.router.alerts.configure(_config(bench.audit.parents[1]).alerts)
    assert await bench.results(firing) == ["succeeded"]
    await bench.router.alerts.configure(bench.router.alerts.rules)
    assert await bench.results(firing) == ["duplicate"]


async def test_a_snapshot_is_taken_and_holds_no_text(begin: Begin, tmp_path: Path) -> None:
    name, what = "LLMHighLocalResponseTime", Action.INVESTIGATE_PERFORMANCE
    policy = Policy(
        {name: frozenset({what})}, {**POLICY.limits, what: Limit(0.0, 60)}, dry_run=False
    )
    bench = await begin(policy=policy, most_snapshots=3)
    body = {"model": "auto", "messages": [{"role": "user", "content": "a secret of mine"}]}
    await bench.http.post("/v1/chat/completions", json=body)
    for number in range(5):
        firing = alert(name, what, time.time(), fingerprint=f"{number:016x}")
        assert await bench.results(firing) == ["started"]
        await asyncio.gather(*bench.router.alerts._tasks)
    assert {each["result"] for each in bench.entries("end")} == {"succeeded"}
    files = sorted((tmp_path / "snapshots").iterdir())
    assert len(files) == 3
    assert files[0].stat().st_mode & 0o777 == 0o600
    content = json.loads(files[-1].read_text())
    assert content["alert"] == name
    assert {"mode", "circuits", "decisions", "attempts", "host", "engine"} <= content.keys()
    assert content["decisions"][0]["outcome"] == "error"
    assert content["host"]["processes"]["router"]["resident_bytes"] > 0
    assert "a secret of mine" not in files[-1].read_text()


async def test_a_snapshot_does_not_wait_for_an_engine_that_hangs() -> None:
    async def hang(url: str) -> tuple[int, bytes]:
        await asyncio.Event().wait()
        raise AssertionError(url)

    assert await asyncio.wait_for(engine_view(hang, "http://engine", 0.01), 5) == {}


@pytest.mark.parametrize("changes", [{"token": None}, {}])
def test_open_to_others_it_does_not_start_without_a_token(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    config = _config(tmp_path, **changes)
    check_keys(config, "127.0.0.1")
    keyed = replace(config, api_keys=("a-key",))
    if changes:
        with pytest.raises(UserError, match=r"alert_actions\.token_env"):
            check_keys(keyed, "0.0.0.0")  # noqa: S104 - it is refused
    else:
        check_keys(keyed, "0.0.0.0")  # noqa: S104 - nothing listens
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"alert_actions\.audit_log: cannot write"):
        check_audit(_config(tmp_path, audit_log=tmp_path / "file" / "audit.jsonl"))


# ---- Ten thousand bodies -------------------------------------------------------------------------


def _words(draw: random.Random) -> Any:
    """Return a random value of JSON."""
    kinds: list[Callable[[], Any]] = [
        lambda: None,
        lambda: draw.choice([True, False]),
        lambda: draw.randint(-(2**40), 2**40),
        lambda: draw.random() * 1e6,
        lambda: "".join(draw.choices(string.printable + "中文\u202e", k=draw.randint(0, 30))),
        lambda: [_words(draw) for _ in range(draw.randint(0, 3))],
        lambda: {draw.choice(list(delivery())): _words(draw) for _ in range(draw.randint(0, 3))},
    ]
    return draw.choice(kinds)()


def _almost(draw: random.Random) -> dict[str, Any]:
    """Return a delivery of which something is not as it should be, or that asks for nothing that
    may be done."""
    now_s = time.time()
    names = ["LLMHighLocalErrorRates", "", "Watchdog", "../" * 9, "llmhighlocalerrorrate"]
    labels = [*Action, "shutdown", "", "a;b", "SWITCH_TO_REMOTE"]
    alerts = []
    for _ in range(draw.randint(0, 4)):
        starts = written(now_s + draw.choice([-1e6, -5e4, 0, 1e4]))
        one = alert(draw.choice(names), draw.choice(labels), now_s, startsAt=starts)
        if draw.random() < 0.3:
            one = alert(ERRORS, SWITCH, now_s, status="resolved")
        alerts.append(one | {"fingerprint": f"{draw.getrandbits(64):016x}"})
    whole: dict[str, Any] = delivery(*alerts)
    if draw.random() < 0.5:
        place: Any = whole
        while isinstance(place, dict | list) and place and draw.random() < 0.7:
            keys = list(place) if isinstance(place, dict) else list(range(len(place)))
            key = draw.choice(keys)
            if draw.random() < 0.5:
                place[key] = _words(draw)
                break
            place = place[key]
    return whole


def _body(draw: random.Random) -> bytes:
    kind = draw.random()
    if kind < 0.2:
        return draw.randbytes(draw.randint(0, 300))
    if kind < 0.4:
        return json.dumps(_words(draw)).encode()
    raw = bytearray(json.dumps(_almost(draw)).encode())
    if kind < 0.6:
        for _ in range(draw.randint(1, 5)):
            raw[draw.randrange(len(raw))] = draw.randrange(256)
    return bytes(raw)


async def test_ten_thousand_random_bodies(begin: Begin) -> None:
    bench = await begin()
    draw = random.Random(5)  # noqa: S311 - a seed, so that a failure comes again
    statuses = dict.fromkeys((200, 401, 422), 0)
    told = 0
    for _ in range(10_000):
        forged = draw.random() < 0.1
        reply = await bench.post(_body(draw), "forged" if forged else TOKEN)
        statuses[reply.status_code] += 1
        answer = reply.json()
        assert (reply.status_code == 401) == forged
        if reply.status_code == 200:
            told += len(answer["alerts"])
            assert {each["result"] for each in answer["alerts"]} <= {"ignored"}
        else:
            assert "\n" not in answer["error"]
            assert 0 < len(answer["error"]) < 200
    assert min(statuses.values()) > 500
    assert bench.circuit == "closed"
    assert bench.router.serving.watch.state.local_share == 1
    assert len(bench.entries("end")) == 0
    assert len(bench.entries("delivery")) == statuses[200]
    assert len(bench.entries("decision")) == told
    for result in ActionResult:
        wanted = None if result is ActionResult.IGNORED else 0
        count = await bench.count("llm_alert_actions_total", result=result)
        assert wanted is None or count == wanted
