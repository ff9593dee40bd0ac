"""The exporter as a process of its own, beside the real embedded engine."""

from __future__ import annotations

import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from firsttoken.core.child import Child
from firsttoken.engines.options import check
from firsttoken.engines.supervisor import EngineSupervisor
from firsttoken.trials.watched import of_settings
from tests.engines.test_supervisor import SMALL, request, until
from tests.exporter.promtool import promtool

Samples = dict[str, dict[str, float]]


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineSupervisor]:
    log = tmp_path_factory.mktemp("engine") / "log"
    with EngineSupervisor(check(SMALL).options, log=log) as running:
        yield running


@pytest.fixture(scope="module")
def exporter(engine: EngineSupervisor) -> Iterator[str]:
    command = ["-m", "firsttoken.cli.main", "exporter", "--target", f"{engine.url}/v1"]
    told = ["--port", "0", "--probe-seconds", "0.2", "--ready-json"]
    with Child.start([sys.executable, *command, *told]) as child:
        yield child.ready["url"]
        assert child.poll() is None


def scrape(url: str) -> str:
    with urllib.request.urlopen(f"{url}/metrics", timeout=5) as reply:  # noqa: S310 - loopback
        assert reply.headers["content-type"].startswith("text/plain; version=0.0.4")
        text: str = reply.read().decode()
    return text


def samples(text: str) -> Samples:
    """Return values by name, then by the label values in the order of the labels' names."""
    found: Samples = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            key = ",".join(sample.labels[label] for label in sorted(sample.labels))
            found.setdefault(sample.name, {})[key] = sample.value
    return found


def test_the_embedded_engine(engine: EngineSupervisor, exporter: str) -> None:
    def settled() -> bool:
        now = samples(scrape(exporter))
        return (
            now["llm_probes_total"]["local,success"] >= 2
            and "llm_process_cpu_seconds_total" in now
            and now.get("llm_engine_slots") == {"local": 2.0}
        )

    until(settled)
    now = samples(scrape(exporter))
    model = engine.options.model_name
    assert now["llm_backend_up"] == {"local": 1.0}
    assert now["llm_probe_time_to_first_token_seconds_count"][f"local,{model}"] >= 2
    assert 0 < now["llm_probe_time_to_first_token_seconds_sum"][f"local,{model}"] < 60
    assert now["llm_probe_engine_seconds"]["local,prompt"] > 0
    assert now["llm_engine_model_loaded"] == {"local": 1.0}
    assert now["llm_engine_model_bytes"]["local"] > 5e7
    assert now["llm_process_resident_memory_bytes"]["engine"] > 5e7
    assert now["llm_memory_limit_bytes"][""] > now["llm_memory_unreclaimable_bytes"][""] > 1e6
    assert now["llm_cpu_limit_cores"][""] > 0

    def counted() -> bool:
        return "local,output" in samples(scrape(exporter)).get("llm_engine_tokens_total", {})

    until(counted)
    assert now["llm_exporter_collections_total"]["host,success"] >= 1


def test_it_says_that_it_is_alive_and_where_nothing_is(exporter: str) -> None:
    statuses = [request(exporter, "GET", path)[0].status for path in ("/healthz", "/nothing")]
    assert statuses == [200, 404]


def test_promtool_finds_nothing_to_mend(exporter: str) -> None:
    assert promtool("check", "metrics", text=scrape(exporter)) == (0, "")


def test_mistakes_are_one_line(tmp_path: Path) -> None:
    wrong: tuple[tuple[list[str], str], ...] = (
        (["--target", "ftp://x"], "--target: "),
        (["--target", "http://x", "--dialect", "morse"], "--dialect morse: expected openai or"),
        (["--target", "http://x", "--probe-seconds", "-1"], "--probe-seconds -1: expected 0"),
        (["--target", "http://x", "--api-key-env", "NOT_SET_HERE"], "NOT_SET_HERE"),
        ([], "give --target URL"),
    )
    for arguments, message in wrong:
        done = subprocess.run(
            [sys.executable, "-m", "firsttoken.cli.main", "exporter", *arguments],
            capture_output=True,
            text=True,
            check=False,
            cwd=tmp_path,
        )
        assert done.returncode == 2
        assert message in done.stderr
        assert done.stderr.count("\n") == 1


def test_the_local_model_of_the_settings(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(
        "llm_routing:\n  local_model:\n"
        "    endpoint: http://127.0.0.1:11434\n    model: qwen2:1.5b\n"
        "local_optimization:\n  model_loading: {keep_alive: 24h, num_ctx: 1536}\n"
    )
    target = of_settings([file], None, None, None, api_key_env=None, probe_seconds=5.0, pid=None)
    assert (target.base_url, target.model) == ("http://127.0.0.1:11434", "qwen2:1.5b")
    assert target.ollama["keep_alive"] == "24h"
    assert target.ollama["options"]["num_ctx"] == 1536
    other = of_settings(
        [file], "http://127.0.0.1:1", "ollama", "m", api_key_env=None, probe_seconds=5.0, pid=7
    )
    assert (other.base_url, other.dialect, other.model) == ("http://127.0.0.1:1", "ollama", "m")
    assert other.pid == 7
