"""Whatever is wrong with settings is one clear line; nothing else ever comes out."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from firsttoken.core import settings
from firsttoken.core.errors import UserError
from firsttoken.core.settings import document

GUIDE = sorted((Path(__file__).parent / "guide").glob("*.yaml"))
ONE_FILE = "\n".join(path.read_text(encoding="utf-8") for path in GUIDE)

LOCAL = "llm_routing:\n  local_model:\n"
REMOTE = "llm_routing:\n  remote_models:\n    - "
TRIGGER = REMOTE + "{name: c, endpoint: 'http://h', model: m, trigger_conditions: ["
FALLBACK = "health_check:\n  fallback_strategy:\n    - "
ALERT = "monitoring_metrics:\n  alerts:\n    - "


def refused(tmp_path: Path, content: str | bytes) -> list[str]:
    path = tmp_path / "bad.yaml"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(UserError) as caught:
        settings.load([path], {})
    return str(caught.value).replace(str(path), "FILE").splitlines()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("llm_routng: {}\n", 'FILE:1: llm_routng: unknown key; did you mean "llm_routing"?'),
        (LOCAL + "    tmeout: 5\n", "FILE:3: llm_routing.local_model.tmeout: unknown key; did you"),
        (LOCAL + "    timeout: soon\n", "FILE:3: llm_routing.local_model.timeout: is not a number"),
        (LOCAL + "    timeout: '5'\n", "FILE:3: llm_routing.local_model.timeout: is not a number"),
        (LOCAL + "    timeout: .nan\n", "FILE:3: llm_routing.local_model.timeout: is not a finite"),
        (LOCAL + "    timeout: 1e999\n", "timeout: is not a finite number"),
        (LOCAL + "    timeout: 0\n", "timeout: is too small; expected more than 0"),
        (LOCAL + "    priority: 101\n", "priority: is too large; expected at most 100"),
        (LOCAL + "    priority: true\n", "priority: is not a whole number"),
        (LOCAL + "    max_tokens: 1.5\n", "max_tokens: is not a whole number"),
        (LOCAL + "    model: 7\n", "model: is not text"),
        (LOCAL + "    model: 'a b'\n", "model: is not of the right form; expected the name of a"),
        (LOCAL + "    dialect: grpc\n", "dialect: is not possible; expected 'openai', 'ollama' or"),
        (LOCAL + "    endpoint: localhost\n", "endpoint: is no http or https address"),
        (LOCAL + "    endpoint: 'http://h:99999'\n", "endpoint: is no address"),
        (LOCAL + "    endpoint: 'http://'\n", "endpoint: is no http or https address"),
        ("llm_routing: fast\n", "FILE:1: llm_routing: is not a section"),
        ("llm_routing: []\n", "FILE:1: llm_routing: is not a section"),
        ("llm_routing:\n  hybrid_mode: yes\n", "hybrid_mode: is not a truth value; expected true"),
        ("llm_routing:\n  remote_models: {}\n", "remote_models: is not a list"),
        (
            "llm_routing:\n  share_mode: random\n",
            "share_mode: is not possible; expected 'priority'",
        ),
        (REMOTE + "name: c\n", "FILE:3: llm_routing.remote_models[0].endpoint: is missing"),
        (REMOTE + "fast\n", "FILE:3: llm_routing.remote_models[0]: is not a section"),
        (REMOTE + "{name: local, endpoint: 'http://h'}\n", 'name: "local" has a meaning'),
        (REMOTE + "{name: 'a b', endpoint: 'http://h'}\n", "name: is not of the right form"),
        (REMOTE + "{name: c, endpoint: 'http://h'}\n", "[0].model: is missing; expected the name"),
        (TRIGGER + "'local_model_confidnce < 0.8']}\n", 'did you mean "local_model_confidence"?'),
        (TRIGGER + "query_complexity]}\n", '"query_complexity" lacks its comparison'),
        (TRIGGER + "'query_complexity > 2']}\n", "is a share and never over 100%"),
        (TRIGGER + "'query_complexity == 1']}\n", "is no condition; expected a name with a"),
        (TRIGGER + "local_model_timeout > 1]}\n", "is true or false and is not compared"),
        (TRIGGER + "5]}\n", "trigger_conditions[0]: is not text; expected a condition"),
        (FALLBACK + "{condition: local_model_slow, action: hybrid_mode}\n", "lacks its threshold"),
        (
            FALLBACK + "{condition: local_model_slow, threshold: cpu_usage > 9%, action: "
            "hybrid_mode}\n",
            '[0].threshold: unknown name "cpu_usage"; expected one of response_time',
        ),
        (FALLBACK + "{condition: local_model_slw, action: hybrid_mode}\n", "[0].condition: is not"),
        (
            FALLBACK + "{condition: local_model_unhealthy, action: restart_service}\n",
            "[0].action: is not possible; expected 'switch_to_remote', 'hybrid_mode' or 'reduce_",
        ),
        (ALERT + "{metric: memory_usage, threshold: '> 85', action: restart_service}\n", "share"),
        (ALERT + "{metric: memory_usage, threshold: '> 85ms', action: restart_service}\n", '"ms"'),
        (ALERT + "{metric: memory, threshold: '> 85%', action: restart_service}\n", "memory_usage"),
        (ALERT + "{metric: memory_usage, threshold: '> 5%', action: dance}\n", "action: is not"),
        ("monitoring_metrics: {performance: [cpu]}\n", 'performance[0]: unknown metric "cpu"'),
        ("routing_logic:\n  simple_queries:\n    patterns: ['(']\n", "patterns[0]: bad pattern"),
        ("routing_logic:\n  simple_queries:\n    patterns: '(?=x)'\n", "patterns: is not a list"),
        ("routing_logic:\n  simple_queries:\n    patterns: ['(?=x)']\n", "[0]: bad pattern"),
        (
            "routing_logic:\n  complex_queries:\n    route_to: remote_model\n",
            'route_to: "remote_model" is no backend; did you mean "remote_models"?',
        ),
        (
            "local_optimization:\n  model_loading:\n    keep_alive: soon\n",
            "FILE:3: local_optimization.model_loading.keep_alive: 'soon' is no duration",
        ),
        ("local_optimization: {model_loading: {keep_alive: [1]}}\n", "keep_alive: is no duration"),
        (
            "server: {port: 1}\nserver: {port: 2}\n",
            "FILE:2: server: is given twice, first on line 1",
        ),
        ("server:\n  port: 1\n  port: 2\n", "FILE:3: server.port: is given twice, first on line 2"),
        ("a: [1\nb: 2\n", "FILE:2: broken YAML: "),
        ("a: 'x\n", "broken YAML: "),
        ("a: *nobody\n", "FILE:1: broken YAML: found undefined alias"),
        ("a: 1\n---\nb: 2\n", "FILE:2: broken YAML: "),
        ("\tserver: 1\n", "FILE:1: broken YAML: "),
        ("server: !!python/object:os.system {}\n", "FILE:1: server: has the tag "),
        ("server:\n  port: !!int abc\n", "FILE:2: server.port: is no int"),
        ("1: 2\n", "FILE:1: a key is not text"),
        ("? [a]\n: 2\n", "FILE:1: a key is not text"),
        ("", "FILE:1: is empty"),
        ("# only a comment\n", "FILE:1: is empty"),
        ("~\n", "FILE:1: is empty"),
        ("- a\n", "FILE:1: holds a list; expected keys with values"),
        ("words\n", "FILE:1: holds plain text; expected keys with values"),
        ("services: {}\n", "this looks like a Compose file"),
        ("a: \x01\n", "FILE:1: broken YAML: a character that is not allowed"),
    ],
)
def test_each_mistake_is_one_line_with_its_place(tmp_path: Path, text: str, expected: str) -> None:
    lines = refused(tmp_path, text)
    assert len(lines) == 1
    assert expected in lines[0]
    assert re.match(r"FILE(:\d+)?: ", lines[0])
    assert "expected " in lines[0] or "unknown key" in lines[0]


def test_all_mistakes_are_said_at_once(tmp_path: Path) -> None:
    text = LOCAL + "    timeout: no\n    modle: x\nserver:\n  port: -1\n  hots: x\n"
    lines = refused(tmp_path, text)
    assert [line.split(": ")[0] for line in lines] == ["FILE:3", "FILE:4", "FILE:6", "FILE:7"]


def test_names_and_aliases_stand_once(tmp_path: Path) -> None:
    remote = "{name: c, endpoint: 'http://h', model: m, model_aliases: [x]}"
    text = (
        f"llm_routing:\n  local_model: {{model_aliases: [x]}}\n  remote_models:\n    - {remote}\n"
    )
    assert "alias of local too" in refused(tmp_path, text)[0]
    lines = refused(tmp_path, f"{REMOTE}{remote}\n    - {remote}\n")
    assert len(lines) == 1
    assert lines[0].startswith(
        'FILE:4: llm_routing.remote_models[1].name: "c" is the name of remote_models[0] too; '
    )


def test_size_depth_and_aliases_are_bounded(tmp_path: Path) -> None:
    assert "is over" in refused(tmp_path, "# " + "x" * document.MAX_BYTES)[0]
    assert "nested" in refused(tmp_path, "a: " + "[" * 60 + "]" * 60)[0]
    assert "nested more than" in refused(tmp_path, "a: " + "[" * 5000)[0]
    assert "over 500 characters" in refused(tmp_path, "a: 1\nb: " + "!" * 2000)[0]
    assert "nested" in refused(tmp_path, "a: &a [*a]\n")[0]
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12)
    )
    assert "aliases counted" in refused(tmp_path, bomb)[0]


def test_files_that_are_no_text_or_no_files(tmp_path: Path) -> None:
    assert "FILE:2: is not UTF-8" in refused(tmp_path, b"a: 1\n\xff\n")[0]
    missing = tmp_path / "missing.yaml"
    with pytest.raises(UserError, match="cannot be read") as caught:
        settings.load([missing, tmp_path], {})
    assert len(str(caught.value).splitlines()) == 2


def test_byte_order_mark_and_plain_anchors_are_fine(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    text = "\ufeffserver: {port: &p 4711}\nengine: {port: *p}\n"
    path.write_text(text, encoding="utf-8")
    assert settings.load([path], {}).engine.port == 4711


def complaints(load: Callable[[], object]) -> list[str]:
    """Return the lines with which settings are refused, or none."""
    try:
        load()
    except UserError as error:
        return str(error).splitlines() or ["nothing was said"]
    return []


# fmt: off
FRAGMENTS = [
    "&a ", "*a", "!!int ", "!x ", "!!set ", "---\n", "...\n", "%YAML 1.1\n", "%TAG ! x\n", "<<: ",
    "{", "}", "[", "]", ": ", "- ", "? ", "| \n", ">-\n", "'", '"', "\t", "\r", "\x00", "\x85",
    '"\\U99999999"', '"\\x', "\u2028", "\ufeff", "null", "~", "1:30", "0x", "0o9", "1e999",
    ".inf", ".nan", "9" * 5000, "=", "@", "`", "#", "yes", "> 5%", "http://a@b", "http://[",
    "2001-01-01", "\n", "\n  ", "priority: -1", "true", "好"
]
# fmt: on
mutations = st.lists(
    st.tuples(
        st.integers(0, len(ONE_FILE)),
        st.integers(0, 30),
        st.one_of(st.sampled_from(FRAGMENTS), st.text(max_size=8)),
    ),
    min_size=1,
    max_size=6,
)


@given(mutations)
@hypothesis_settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@example([(0, len(ONE_FILE), '"\\U99999999"')])
@example([(0, 0, "%YAML 1.1\n---\n")])
def test_mutated_settings_load_or_are_refused(
    tmp_path: Path, changes: list[tuple[int, int, str]]
) -> None:
    text = ONE_FILE
    for position, length, replacement in changes:
        text = text[:position] + replacement + text[position + length :]
    path = tmp_path / "mutated.yaml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    for line in complaints(lambda: settings.load([path], {})):
        assert line.startswith((f"{path}:", "and "))


def values_of_any_kind() -> st.SearchStrategy[object]:
    scalars = st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(10**20), 10**20),
        st.floats(),
        st.text(max_size=20),
        st.sampled_from(["http://h", "local_model", "-1", "24h", "> 5%"]),
    )
    return st.recursive(
        scalars,
        lambda inner: st.one_of(
            st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)
        ),
        max_leaves=6,
    )


KEYS = [key for key, _, _ in settings.load(GUIDE, {}).rows() if "[" not in key]


@given(st.sampled_from(KEYS), st.integers(1, 3), values_of_any_kind())
@hypothesis_settings(max_examples=300, deadline=None)
def test_any_value_at_any_key_loads_or_is_refused(key: str, depth: int, value: object) -> None:
    *holders, last = key.split(".")[:depth]
    root: dict[str, object] = {}
    here = root
    for holder in holders:
        child: dict[str, object] = {}
        here[holder] = child
        here = child
    here[last] = value
    for line in complaints(lambda: settings.from_mapping(root)):
        assert line.startswith("settings:1: ")


@given(st.text(max_size=60), st.sampled_from(["SERVER__PORT", "ENGINE__MODEL", "X", ""]))
@hypothesis_settings(max_examples=100, deadline=None)
def test_any_environment_loads_or_is_refused(text: str, name: str) -> None:
    for variable in (f"FIRSTTOKEN__{name}", "LOCAL_LLM_ENDPOINT", "LOCAL_LLM_PRIORITY"):
        for line in complaints(partial(settings.load, [], {variable: text})):
            assert line.startswith(f"environment variable {variable}: ")
