"""``bench --models``: judge, mark, table, and a tiny run on the real engine."""

from __future__ import annotations

import json
import math
import os
import signal
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from typing import Any, ClassVar

import httpx
import pytest

from firsttoken.core import settings as settings_room
from firsttoken.core import slo as slo_room
from firsttoken.core.errors import UserError
from firsttoken.engines.options import default_model
from firsttoken.engines.supervisor import EngineSupervisor
from firsttoken.trials.models import ModelsPlan, measure_models, page, table
from firsttoken.trials.models.ask import Asker, Reply
from firsttoken.trials.models.mark import CLAIMS, Goals, claim_of, later_p95, mark
from firsttoken.trials.models.measure import delays_of
from firsttoken.trials.models.quality import ITEMS, JUDGES, Answer, Item, judge, normalise
from firsttoken.trials.models.result import Comparison, Delays, Failed, Measured
from firsttoken.trials.models.serve import MemoryUse, Wanted, process_memory
from firsttoken.trials.progress import Progress
from firsttoken.wire import dialects
from reports.statistics import Estimate, quantile

MIB = 1 << 20
GOALS = Goals(400.0, 0.8, 2048 * MIB)
BY_NAME = {item.name: item for item in ITEMS}


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("　Ｐａｒｉｓ！ ", "paris"),
        ("１２。", "12"),
        ("“客厅的灯，已经关了。”", "客厅的灯 已经关了"),
        ("It's 3.5, or -4!", "it s 3.5 or -4"),
        ("1,000 - well", "1,000 well"),
        ("……", ""),
    ],
)
def test_normalised(said: str, expected: str) -> None:
    assert normalise(said) == expected


@pytest.mark.parametrize(
    ("name", "said", "right"),
    [
        ("en-capital", "The capital is **Paris**.", True),
        ("en-capital", "Parisian", False),
        ("en-add", "7 + 5 = 12", True),
        ("en-add", "120", False),
        ("en-add", "-12", False),
        ("en-add", "12.5", False),
        ("en-word", "Ready.", True),
        ("en-word", "I am ready", False),
        ("en-copy", "the lamp in room 4 is off", True),
        ("en-copy", "The lamp in room 4 is off. Anything else?", False),
        ("en-yes", "Yes, it is.", True),
        ("en-yes", "Yesterday", False),
        ("en-yes", "No. Yes.", False),
        ("zh-capital", "中国的首都是北京。", True),
        ("zh-year", "１２个月", True),
        ("zh-year", "十二", True),
        ("zh-copy", "“客厅的灯已经关了！”", True),
        ("zh-copy", "客厅的灯关了。", False),
        ("zh-yes", "是的。", True),
        ("zh-yes", "不是", False),
        ("zh-yes", "是不是？", False),
        ("zh-yes", "对。", True),
        ("zh-yes", "对不起，我不知道。", False),
        ("zh-no", "不知道。", False),
        ("zh-minus", "二十减六等于十四。", True),
        ("zh-minus", "二十四", False),
        ("zh-add", "十七个", True),
        ("zh-add", "一百十七", False),
        ("zh-no", "不会。", True),
        ("zh-no", "会", False),
        ("zh-no", "", False),
    ],
)
def test_judged(name: str, said: str, right: bool) -> None:
    assert judge(BY_NAME[name], said) is right


def test_ten_questions_a_language_and_both_answers_to_yes_or_no() -> None:
    assert [sum(item.language == each for item in ITEMS) for each in ("zh", "en")] == [10, 10]
    assert len(BY_NAME) == len(ITEMS)
    assert {item.judge for item in ITEMS} == set(JUDGES)
    for item in ITEMS:
        assert judge(item, item.accepted[0]), item.name
        if item.judge == "equals":
            # What is asked to be said stands in some questions: repeating them is no answer.
            assert not judge(item, item.prompt), item.name


def marked(**changed: Any) -> Any:
    usual: dict[str, Any] = {
        "p95_ms": 200.0,
        "resident_bytes": 500 * MIB,
        "right": 10,
        "asked": 20,
        "load_s": 2.0,
        "has_template": True,
    }
    return mark(GOALS, **{**usual, **changed})


def test_the_formula() -> None:
    assert (marked().first_token, marked().memory, marked().quality) == (1.0, 1.0, 0.5)
    assert marked().stars == round(5 * 0.5 ** (1 / 3), 1) == 4.0
    half = marked(p95_ms=800.0, resident_bytes=round(2 * 0.8 * 2048 * MIB))
    assert half.first_token == 0.5
    assert half.memory == pytest.approx(0.5)
    assert half.stars == 2.5
    assert marked(right=20).stars == 5.0


def test_nothing_buys_off_a_zero_and_nothing_is_made_up() -> None:
    assert marked(right=0).stars == 0.0
    assert marked(p95_ms=math.inf).stars == 0.0
    assert marked(resident_bytes=None).stars is None
    assert marked(resident_bytes=None).memory is None


def test_difficulty_counts_obstacles_and_names_them() -> None:
    assert (marked().difficulty, marked().obstacles) == ("easy", ())
    assert marked(has_template=None).difficulty == "easy"
    assert marked(has_template=False).obstacles == ("no chat template in the file",)
    assert marked(p95_ms=400.1).difficulty == "medium"
    hard = marked(load_s=11.0, resident_bytes=1700 * MIB)
    assert hard.difficulty == "hard"
    assert hard.obstacles == ("over 80% of 2,048 MiB", "loads for more than 10 s")


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("qwen2-1_5b-instruct-q4_0", None),
        ("qwen2:1.5b-instruct-q4_0", "Qwen2-1.5B-INT4"),
        ("Qwen2-1.5B-Instruct", "Qwen2-1.5B-INT4"),
        ("qwen2.5-1.5b", None),
        ("TinyLlama-1.1B-Chat", "TinyLlama-1.1B-INT4"),
        ("Phi-3-mini-4k-instruct-q4", "Phi-3-mini-INT4"),
        ("Phi-3.5-mini", None),
        ("SmolLM2-135M", None),
    ],
)
def test_the_guides_models_by_name(name: str, model: str | None) -> None:
    found = claim_of(name)
    assert (found.model if found else None) == model


def test_a_request_without_a_token_is_later_than_everything() -> None:
    good = [
        Reply(0, first_ns=each * 1_000_000, prompt_tokens=90 + each, cached_tokens=4)
        for each in (1, 2, 3)
    ]
    found = delays_of([*good, Reply(0, failed="cut")])
    assert (found.p50_ms.value, found.p95_ms.value, found.failed) == (2.0, math.inf, 1)
    assert (found.prompt_tokens, found.cached_tokens) == (92, 4)
    assert later_p95(found.p95_ms, Estimate(5.0, None, None, 9)) == math.inf
    assert later_p95(Estimate(7.0, None, None, 9), Estimate(5.0, None, None, 9)) == 7.0


def test_a_reply_that_never_ends_is_not_waited_for() -> None:
    def line(_: int) -> bytes:
        return b'{"message": {"content": "x"}, "done": false}\n'

    transport = httpx.MockTransport(lambda _: httpx.Response(200, content=map(line, count())))
    hours_ns = count(0, 60 * 1_000_000_000)
    with httpx.Client(base_url="http://h", transport=transport) as http:
        asker = Asker(http, dialects.get("ollama"), "m", now_ns=lambda: next(hours_ns))
        reply = asker.ask("?", max_tokens=4)
    assert reply.failed == "no whole reply within 600 s"
    assert reply.text == "x" * 11


def test_speed_is_that_after_the_first_token() -> None:
    assert Reply(0, 10, 10 + 1_000_000_000, output_tokens=33).tokens_per_second == 32.0
    assert Reply(0, 10, 10, output_tokens=1).tokens_per_second is None


def test_memory_of_a_process(tmp_path: Path) -> None:
    status = tmp_path / "proc/7/status"
    status.parent.mkdir(parents=True)
    status.write_text(
        "Name:\tx\nVmHWM:\t 900 kB\nVmRSS:\t 800 kB\nRssAnon:\t 300 kB\nRssFile:\t 490 kB\n"
        "RssShmem:\t 10 kB\n"
    )
    found = process_memory(7, tmp_path)
    assert (found.resident, found.unreclaimable, found.peak) == (800 << 10, 310 << 10, 900 << 10)
    assert process_memory(8, tmp_path).resident is None


def measured(name: str, **changed: Any) -> Measured:
    delays = Delays(quantile([50.0], 0.5), quantile([60.0], 0.95), 0, 90, 4)
    usual: dict[str, Any] = {
        "name": name,
        "settings": "embedded engine",
        "title": None,
        "shape": ("llama", 30, 576),
        "file_bytes": 94 * MIB,
        "load_s": 1.0,
        "memory": MemoryUse(200 * MIB, 90 * MIB, 210 * MIB, "process"),
        "cold": delays,
        "warm": delays,
        "tokens_per_second": 80.0,
        "answers": (Answer("en-add", "12 | <b>\x1b[31m", right=True),),
        "mark": marked(),
    }
    return Measured(**{**usual, **changed})


def comparison(*models: Measured, failed: tuple[Failed, ...] = ()) -> Comparison:
    return Comparison(
        "2026-01-31T00:00:00+00:00", GOALS, {}, (BY_NAME["en-add"],), models, failed, finished=True
    )


def test_the_table_has_the_guides_claims_beside_what_was_measured() -> None:
    found = comparison(
        measured("qwen2:1.5b"), measured("smol"), failed=(Failed("cut", "it is cut"),)
    )
    lines = table.rows(found)
    assert [row[:2] for row in lines] == [
        ["Qwen2-1.5B-INT4", "guide's claim"],
        ["qwen2:1.5b", "measured"],
        ["TinyLlama-1.1B-INT4", "guide's claim, not measured"],
        ["ChatGLM3-6B-INT4", "guide's claim, not measured"],
        ["Phi-3-mini-INT4", "guide's claim, not measured"],
        ["smol", "measured"],
        ["cut", "not measured"],
    ]
    assert lines[0][2:] == ["1.2 GB", "200-300 ms", "–", "★★★★☆", "easy", "5 of 5"]
    assert lines[1][2:] == [
        "200 MiB", "50.0 / 60.0 ms", "80.0", "1/1 (100%)", "easy", "4.0 of 5",
    ]  # fmt: skip
    assert any("one architecture, depth and width" in note for note in table.notes(found))
    assert "cut: not measured: it is cut" in table.notes(found)
    assert any("smol: only 1 first token in the time" in note for note in table.notes(found))


def test_no_text_of_a_model_breaks_terminal_markdown_or_json() -> None:
    found = comparison(measured("smol"))
    assert "\x1b" not in page.terminal(found)
    assert "12 \\| &lt;b&gt;" in page.markdown(found)
    late = Delays(quantile([math.inf], 0.5), quantile([math.inf], 0.95), 1, None, None)
    told = json.loads(page.to_json(comparison(measured("smol", cold=late))))
    assert told["models"][0]["cold"]["p95_ms"]["value"] == "never"
    assert len(told["guide_claims"]) == len(CLAIMS) == 4


def test_columns_stand_below_each_other_in_chinese_too() -> None:
    first, second = page.aligned(("a", "b"), [["北京", "x"]]).splitlines()
    assert first == "a     b"
    assert second == "北京  x"


def few(*names: str) -> tuple[Item, ...]:
    return tuple(BY_NAME[name] for name in names)


@pytest.fixture
def goals() -> tuple[Any, Any]:
    settings = settings_room.load(None, environ={})
    # Two threads wait for each other at every layer where other tests want the cores as well.
    calm = settings.engine.model_copy(update={"threads": 1})
    settings = settings.model_copy(update={"engine": calm})
    return settings, slo_room.load(None, settings)


def test_a_broken_file_is_named_and_the_others_are_measured(
    tmp_path: Path, goals: tuple[Any, Any]
) -> None:
    whole = default_model()
    cut = tmp_path / "cut.gguf"
    with whole.open("rb") as file:
        cut.write_bytes(file.read(4 * MIB))
    plan = ModelsPlan(
        (
            Wanted("cut", cut),
            Wanted("gone", tmp_path / "gone.gguf"),
            Wanted(whole.stem, whole),
        ),
        samples=1,
        warm_up=1,
        speed_tokens=4,
        items=few("en-capital"),
        out=tmp_path / "out",
    )
    run_dir, found = measure_models(plan, *goals, Progress())
    assert [each.name for each in found.failed] == ["cut", "gone"]
    assert "it is cut: 4,194,304 bytes" in found.failed[0].why
    assert found.failed[1].why == f"no such model file: {tmp_path / 'gone.gguf'}"
    (one,) = found.measured
    assert (one.cold.failed, one.warm.failed, one.cold.p95_ms.n) == (0, 0, 1)
    assert one.memory.resident is not None
    assert one.memory.unreclaimable is not None
    assert 50 * MIB < one.memory.unreclaimable < one.memory.resident
    assert one.cold.prompt_tokens is not None
    assert one.cold.cached_tokens is not None
    assert one.warm.cached_tokens is not None
    # What all prompts share is the few tokens before the number that makes them differ.
    assert one.cold.cached_tokens < 10 < one.cold.prompt_tokens // 2 < one.warm.cached_tokens
    assert one.tokens_per_second is not None
    assert one.tokens_per_second > 1
    assert "Paris" in one.answers[0].text
    assert one.answers[0].right
    told = json.loads((run_dir / "models.json").read_text(encoding="utf-8"))
    assert told["models"][0]["right"] == one.right
    assert "guide's claim, not measured" in (run_dir / "models.md").read_text(encoding="utf-8")


def test_an_engine_that_dies_and_a_ctrl_c(
    tmp_path: Path, goals: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = default_model()
    pids: list[int] = []
    asked = 0
    ask = Asker.ask

    def dying(self: Asker, *arguments: Any, **named: Any) -> Reply:
        nonlocal asked
        asked += 1
        if asked == 2:
            os.kill(pids[-1], signal.SIGKILL)
        if asked > 2 and len(pids) == 2:
            raise KeyboardInterrupt
        return ask(self, *arguments, **named)

    start = EngineSupervisor.start

    def started(self: Any) -> None:
        start(self)
        pids.append(self.pid)

    monkeypatch.setattr(EngineSupervisor, "start", started)
    monkeypatch.setattr(Asker, "ask", dying)
    plan = ModelsPlan(
        (Wanted("dies", model), Wanted("stopped", model), Wanted("never", model)),
        samples=2,
        items=(),
        out=tmp_path / "out",
    )
    with pytest.raises(KeyboardInterrupt):
        measure_models(plan, *goals, Progress())
    assert len(pids) == 2
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
    told = json.loads((tmp_path / "out/models.json").read_text(encoding="utf-8"))
    assert told["finished"] is False
    (failed,) = told["not_measured"]
    assert failed["name"] == "dies"
    assert "was ended by signal 9" in failed["why"]


class Ollama(BaseHTTPRequestHandler):
    """Knows one model, which takes 1.5 GiB and says Paris; tells of what it was asked."""

    asked: ClassVar[list[tuple[str, Any]]] = []
    loaded = False

    def _reply(self, *lines: Any, status: int = 200) -> None:
        body = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        held = [{"name": "qwen2:1.5b", "size": 1536 * MIB}] if Ollama.loaded else []
        self._reply({"models": held if self.path == "/api/ps" else []})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        Ollama.asked.append((self.path, body))
        if body["model"] != "qwen2:1.5b":
            self._reply({"error": f"model '{body['model']}' not found"}, status=404)
        elif self.path == "/api/generate":
            Ollama.loaded = body["keep_alive"] != 0
            self._reply({"done": True})
        else:
            self._reply(
                {"message": {"role": "assistant", "content": "Paris"}, "done": False},
                {"message": {"content": ""}, "done": True, "done_reason": "stop",
                 "prompt_eval_count": 70, "eval_count": 2},
            )  # fmt: skip

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name there
        """Say nothing."""


@pytest.fixture
def ollama() -> Iterator[str]:
    Ollama.asked.clear()
    Ollama.loaded = False
    with ThreadingHTTPServer(("127.0.0.1", 0), Ollama) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_names_at_an_ollama(ollama: str, tmp_path: Path, goals: tuple[Any, Any]) -> None:
    plan = ModelsPlan(
        (Wanted("absent", None), Wanted("qwen2:1.5b", None)),
        ollama,
        samples=2,
        items=few("en-capital", "zh-capital"),
        out=tmp_path / "out",
    )
    _, found = measure_models(plan, *goals, Progress())
    assert [each.why for each in found.failed] == [
        "Ollama answered /api/generate with HTTP 404: model 'absent' not found"
    ]
    (one,) = found.measured
    assert (one.memory.resident, one.memory.unreclaimable) == (1536 * MIB, None)
    assert [answer.right for answer in one.answers] == [True, False]
    assert one.settings == "Ollama, num_ctx 2048, num_gpu 0"
    assert table.rows(found)[1][:3] == ["qwen2:1.5b", "measured", "1,536 MiB"]
    # It is asked with the options it was loaded with: others would load it once more.
    mine = [(path, body) for path, body in Ollama.asked if body["model"] == "qwen2:1.5b"]
    assert mine[0][1]["keep_alive"] == mine[-1][1]["keep_alive"] == 0
    assert not Ollama.loaded
    wanted = {"num_ctx": 2048, "num_gpu": 0}
    assert mine[1][1]["options"] == wanted
    chats = [body["options"] for path, body in mine if path == "/api/chat"]
    assert chats
    assert all(options.items() >= wanted.items() for options in chats)
    assert all(options["temperature"] == 0 for options in chats)


def test_a_name_without_an_ollama(tmp_path: Path, goals: tuple[Any, Any]) -> None:
    plan = ModelsPlan((Wanted("qwen2:1.5b", None),), "http://127.0.0.1:9", out=tmp_path / "out")
    with pytest.raises(UserError, match=r"no Ollama answers at http://127\.0\.0\.1:9"):
        measure_models(plan, *goals, Progress())
    assert not (tmp_path / "out").exists()
