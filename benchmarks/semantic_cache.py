"""What the semantic cache hits, what it hits wrongly, and what a look-up costs.

    python -m benchmarks.semantic_cache [FILE] [--encoder NAME]

FILE holds labelled pairs: tab-separated columns kind (``same`` or ``different``), language, guard,
a, b, under a line of their names. Prints the share of paraphrases hit and the number of wrong hits
by threshold, with and without the guards, the same by kind of pair, and the times. Exits 0
whatever the figures are.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from firsttoken.language import encoder
from firsttoken.language.encoder import Encoder, Vector
from firsttoken.language.guards import cacheable, compatible
from router.cache.semantic import SemanticIndex

PAIRS = Path(__file__).parent.parent / "tests" / "language" / "data" / "cache_pairs_dev.tsv"
THRESHOLDS = (0.0, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
ENTRIES = 10_000
TIMED = 2_000


@dataclass(frozen=True, slots=True)
class Pair:
    """Two texts, whether they mean the same, and what the cache makes of them."""

    same: bool
    kind: str
    similarity: float
    guarded: bool
    """Whether the guards let the one have the other's answer."""


def read(path: Path, model: Encoder) -> list[Pair]:
    """Read and judge the pairs of a file."""
    rows = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()[1:] if line]
    return [
        Pair(
            same=kind == "same",
            kind=f"{kind} {guard}",
            similarity=float(model.encode(one) @ model.encode(other)),
            guarded=compatible(one, other).ok and cacheable(one) and cacheable(other),
        )
        for kind, _, guard, one, other in rows
    ]


def curve(pairs: Sequence[Pair]) -> list[str]:
    """Return the table of thresholds."""
    same = sum(pair.same for pair in pairs)
    head = (
        "| threshold | paraphrases hit, score alone | wrong hits | with the guards | wrong hits |"
    )
    lines = [head, "|---|---|---|---|---|"]
    for threshold in THRESHOLDS:
        over = [pair for pair in pairs if pair.similarity >= threshold]
        alone, kept = Counter(p.same for p in over), Counter(p.same for p in over if p.guarded)
        lines.append(
            f"| {threshold:.2f} | {alone[True] / same:.1%} | {alone[False]} "
            f"| {kept[True] / same:.1%} | {kept[False]} |"
        )
    return lines


def by_kind(pairs: Sequence[Pair], threshold: float) -> list[str]:
    """Return the table of kinds of pairs at one threshold."""
    total = Counter(pair.kind for pair in pairs)
    hit = Counter(p.kind for p in pairs if p.guarded and p.similarity >= threshold)
    lines = ["| kind of pair | pairs | hits |", "|---|---|---|"]
    return lines + [f"| {kind} | {total[kind]} | {hit[kind]} |" for kind in sorted(total)]


def quantiles_ms(call: Callable[[str], object], texts: Sequence[str]) -> str:
    """Return the median and the 99th percentile of the processor time of a call.

    Processor time: what else runs on the machine shall not be measured.
    """
    taken = []
    for text in texts:
        started = time.thread_time_ns()
        call(text)
        taken.append((time.thread_time_ns() - started) / 1e6)
    taken.sort()
    return f"p50 {taken[len(taken) // 2]:.3f} ms, p99 {taken[int(len(taken) * 0.99)]:.3f} ms"


def times(model: Encoder, texts: Sequence[str]) -> list[str]:
    """Return what encoding, the guards and a look-up among ``ENTRIES`` of one scope cost."""
    found = model.encode("any")

    def vector() -> Vector:
        return found

    index: SemanticIndex[int] = SemanticIndex(ENTRIES, 3600.0)
    for number in range(ENTRIES):
        index.put(b"scope", f"What do {number} cats eat?", vector, number, 0.0)
    step = ENTRIES // TIMED
    asked = [f"please, what do {number * step} cats eat?" for number in range(TIMED)]
    sample = [texts[number % len(texts)] for number in range(TIMED)]

    def look_up(text: str) -> bool:
        return index.lookup(b"scope", text, vector, 1.0) is not None

    hits = sum(map(look_up, asked))
    return [
        f"encoder: {quantiles_ms(model.encode, sample)}",
        f"guards (canonical form and cacheable): {quantiles_ms(cacheable, sample)}",
        f"look-up among {ENTRIES}, {hits} of {TIMED} hit: {quantiles_ms(look_up, asked)}",
        f"the same, form known from the guards: {quantiles_ms(look_up, [asked[0]] * TIMED)}",
    ]


def main(arguments: Sequence[str]) -> int:
    """Print all tables."""
    parser = argparse.ArgumentParser(description="Measure the semantic cache.")
    parser.add_argument("file", nargs="?", type=Path, default=PAIRS)
    parser.add_argument("--encoder", default=encoder.DEFAULT)
    chosen = parser.parse_args(arguments)
    model, why = encoder.load(chosen.encoder)
    if why:
        print(why)
    pairs = read(chosen.file, model)
    texts = [row.split("\t")[3] for row in chosen.file.read_text("utf-8").splitlines()[1:] if row]
    print(f"{chosen.file.name}: {len(pairs)} pairs, {model.name}, threshold {model.threshold}\n")
    print("\n".join([*curve(pairs), "", *by_kind(pairs, model.threshold), ""]))
    print("\n".join(times(model, texts)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
