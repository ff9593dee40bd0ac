"""The rules of the gate: what is packaged, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from firsttoken.core.errors import UserError
from reports.gate import rules
from reports.gate.rule import Kind


def test_packaged_rules() -> None:
    loaded = rules.load()
    found = [each.as_rule() for each in loaded.rules]
    assert [(each.name, each.kind, each.minimum_effect) for each in found] == [
        ("ttft_p50", Kind.QUANTILE, 0.05),
        ("ttft_p95", Kind.QUANTILE, 0.05),
        ("error_rate", Kind.PROPORTION, 0.01),
    ]
    assert [each.p for each in found[:2]] == [0.5, 0.95]
    assert all(each.minimum_n == 72 for each in found)


def test_what_is_left_out_has_the_default_effect(tmp_path: Path) -> None:
    path = tmp_path / "gate.yaml"
    path.write_text("rules:\n  - { metric: ttfs, p: 0.9, direction: higher }\n", encoding="utf-8")
    rule = rules.load(path).rules[0].as_rule()
    assert (rule.name, rule.minimum_effect, rule.higher_is_better) == ("ttfs_p90", 0.05, True)
    assert rules.load(path).benchmarks == ()


def test_the_first_fitting_pattern_counts(tmp_path: Path) -> None:
    path = tmp_path / "gate.yaml"
    path.write_text(
        'benchmarks:\n  - { tests: "*router*", minimum_effect: 0.1 }\n'
        '  - { tests: "*::test_read[[]openai]", minimum_effect: 0.2 }\n',
        encoding="utf-8",
    )
    loaded = rules.load(path)

    def effect(name: str) -> float | None:
        found = loaded.of_benchmark(name)
        return None if found is None else found.as_rule(name).minimum_effect

    assert effect("benchmarks/test_router.py::test_read[openai]") == 0.1
    assert effect("benchmarks/test_wire.py::test_read[openai]") == 0.2
    assert effect("benchmarks/test_wire.py::test_read[ollama]") is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("rulez: []\n", 'FILE:1: rulez: unknown key; did you mean "rules"?'),
        ("rules:\n  - { metric: ttft, p: 2 }\n", "FILE:2: rules[0].p: is too large"),
        ("rules:\n  - { metric: speed, p: 0.5 }\n", "FILE:2: rules[0].metric: is not possible"),
        ("rules:\n  - { metric: ttft }\n", "FILE:2: rules[0]: is a quantile without p"),
        ("rules:\n  - { metric: ttft, p: 0.99 }\n", "expected at least 368"),
        ("rules:\n  - { metric: error_rate }\n", "expected kind: proportion"),
        ("rules:\n  - { metric: ttft, kind: proportion }\n", "expected kind: quantile"),
        (
            "rules:\n  - { metric: error_rate, kind: proportion, p: 0.5 }\n",
            "expected p of a quantile only",
        ),
        (
            "rules:\n  - metric: ttft\n    p: 0.5\n    minimum_effect: -1\n",
            "FILE:4: rules[0].minimum_effect: is too small",
        ),
        ("rules:\n  - { metric: ttft, p: 0.5, detectable: 0.01 }\n", "below its minimum_effect"),
        ("benchmarks:\n  - { p: 0.5 }\n", "FILE:2: benchmarks[0].tests: is missing"),
        ("rules: []\n", "FILE: has no rule"),
        (
            "rules:\n  - { metric: ttft, p: 0.5 }\n  - { metric: ttft, p: 0.5 }\n",
            "FILE: has two rules for ttft_p50",
        ),
        ("", "FILE:1: is empty"),
    ],
)
def test_refused(tmp_path: Path, text: str, expected: str) -> None:
    path = tmp_path / "gate.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError) as caught:
        rules.load(path)
    assert expected.replace("FILE", str(path)) in str(caught.value)
    assert "\n" not in str(caught.value)
