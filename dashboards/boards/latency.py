"""Latency: which tier is late, how late, and in which phase."""

from __future__ import annotations

from dashboards import metrics as m
from dashboards import queries, theme
from dashboards.boards import figures, speech
from dashboards.boards.frame import Board
from dashboards.panels import About, Line, Row, heatmap, timeseries
from dashboards.theme import LOCAL, REMOTE, TIER_COLOURS, Unit, coloured, mixed, named
from firsttoken.core.slo import Slo
from firsttoken.core.words import Outcome, Tier

_TIERS: dict[str, str] = {Tier.LOCAL: LOCAL, Tier.REMOTE: REMOTE}


def board(slo: Slo) -> Board:
    """Return the board for these targets and thresholds."""
    return Board(
        name="latency",
        title="Latency",
        description="Which tier is late, how late, and in which phase.",
        rows=[_first_token(slo), _phases(slo), _replies(), speech.row(slo)],
    )


def _first_token(slo: Slo) -> Row:
    target = slo.ttft_p95_ms
    edges = sorted({0.2, target / 1000, 0.5})
    return Row(
        "First token, as delivered",
        [
            heatmap(
                "First tokens by time",
                About(
                    "How many first tokens a second fell into each bucket, over all tiers.",
                    f"one dark band below {target:g} ms.",
                    "two bands are two tiers, or a model that had to be loaded: see the curves "
                    "by tier.",
                ),
                queries.per_second(m.TTFT, "le", part="_bucket"),
            ),
            timeseries(
                "Percentiles by tier",
                About(
                    "Median, 95th and 99th percentile of the delivered first token, each tier by "
                    "itself; the darker, the higher.",
                    f"p95 below {target:g} ms; dashed lines are the target and the alert.",
                    "p99 far above p95: a few requests wait for a slot, see the queue below.",
                ),
                [
                    Line(queries.quantile(q, m.TTFT, "tier"), f"{{{{tier}}}} {named(q)}")
                    for q in theme.QUANTILES
                ],
                Unit.SECONDS,
                decimals=1,
                limits=theme.first_token(slo),
                colours=theme.by_quantile(theme.QUANTILES, TIER_COLOURS),
                height=9,
            ),
            timeseries(
                "Share within",
                About(
                    "Share of first tokens within each time, over all tiers; exact, since buckets "
                    "of the histogram end there.",
                    f"95 % or more within {target:g} ms.",
                    "compare the tiers beside it.",
                ),
                [
                    Line(queries.within(m.TTFT, edge), f"within {edge * 1000:g} ms")
                    for edge in edges
                ],
                Unit.SHARE,
                decimals=1,
                limits=theme.within_target(),
                colours=[
                    coloured(f"^within {edge * 1000:g} ms$", mixed(theme.GOOD, 0.5 - 0.4 * place))
                    for place, edge in enumerate(edges)
                ],
                highest=1,
            ),
            timeseries(
                "Share within the target, by tier",
                About(
                    f"Share of first tokens within {target:g} ms, each tier by itself.",
                    "95 % or more; remote models far away may never reach it.",
                    "raise the local share, or choose a faster remote model.",
                ),
                [Line(queries.within(m.TTFT, target / 1000, "tier"), "{{tier}}")],
                Unit.SHARE,
                decimals=1,
                limits=theme.within_target(),
                colours=theme.BY_TIER,
                highest=1,
            ),
        ],
    )


def _phases(slo: Slo) -> Row:
    return Row(
        "Where the time goes",
        [
            timeseries(
                "First token of attempts, p95",
                About(
                    "95th percentile from the start of an attempt to the backend's first token, "
                    "failed attempts before it left out; of the local tier recorded as "
                    "local_model_response_time.",
                    "near the delivered figure; dashed lines are the target and the alert.",
                    "well below the delivered one: time is lost before, see the two panels beside.",
                ),
                [Line(queries.backend_quantile(0.95, m.BACKEND_TTFT), "{{tier}} {{backend}}")],
                Unit.SECONDS,
                decimals=1,
                limits=theme.first_token(slo),
                colours=theme.by_backend(),
                width=8,
            ),
            timeseries(
                "Wait for a slot, p95",
                About(
                    "95th percentile of the wait for a free slot of the backend, before the "
                    "attempt began.",
                    "under 50 ms, the first bucket.",
                    "more talkers than slots: add slots if memory allows, or let more go remote.",
                ),
                [Line(queries.backend_quantile(0.95, m.QUEUE), "{{tier}} {{backend}}")],
                Unit.SECONDS,
                decimals=1,
                colours=theme.by_backend(),
                width=8,
            ),
            timeseries(
                "Fallback tax, estimated",
                About(
                    "Median of the delivered first token minus median of the attempts': about the "
                    "time that waiting, failed attempts and the router itself cost.",
                    "a few milliseconds.",
                    "see fallbacks by reason on Routing and actions; a load test's report has "
                    "the tax of each request.",
                ),
                [Line(figures.fallback_tax(), "before the winning attempt")],
                Unit.SECONDS,
                decimals=1,
                colours=[coloured("^before", theme.ERROR)],
                width=8,
            ),
            timeseries(
                "First token of probes, p95",
                About(
                    "95th percentile of the exporter's own small requests, which run whether or "
                    "not there is traffic.",
                    "below the users' figure: probes are short and come alone.",
                    "slow probes without traffic: the engine or its host is at fault, not the "
                    "load.",
                ),
                [Line(queries.quantile(0.95, m.PROBE_TTFT, "backend"), "probe {{backend}}")],
                Unit.SECONDS,
                decimals=1,
                limits=theme.first_token(slo),
                colours=[coloured("^probe", theme.NEUTRAL)],
            ),
            timeseries(
                "Time per output token",
                About(
                    "Median and 95th percentile of the time between tokens after the first, by "
                    "tier.",
                    "below 100 ms: a voice speaks some three to five words a second.",
                    "it rises with requests that are decoded at once; see Engine and host.",
                ),
                [
                    Line(queries.quantile(q, m.TPOT, "tier"), f"{{{{tier}}}} {named(q)}")
                    for q in (0.5, 0.95)
                ],
                Unit.SECONDS,
                decimals=1,
                colours=theme.by_quantile((0.5, 0.95), _TIERS),
            ),
        ],
    )


def _replies() -> Row:
    return Row(
        "Whole replies",
        [
            timeseries(
                "Duration of replies",
                About(
                    "Median and 95th percentile from reading a request to the end of its answer, "
                    "for those that succeeded.",
                    "what your replies' length asks for; short ones under a second.",
                    "long replies: lower max_tokens. Slow ones: see time per output token.",
                ),
                [
                    Line(
                        queries.quantile(q, m.DURATION, "tier", where={"outcome": Outcome.SUCCESS}),
                        f"{{{{tier}}}} {named(q)}",
                    )
                    for q in (0.5, 0.95)
                ],
                Unit.SECONDS,
                decimals=1,
                colours=theme.by_quantile((0.5, 0.95), TIER_COLOURS),
            ),
            timeseries(
                "Duration by outcome, p95",
                About(
                    "95th percentile of the time until the end, by how requests ended.",
                    "what fails, fails fast: users wait for errors too.",
                    "slow timeouts: lower the backend's timeout, so that failover has time left.",
                ),
                [Line(queries.quantile(0.95, m.DURATION, "outcome"), "{{outcome}}")],
                Unit.SECONDS,
                decimals=1,
                colours=theme.BY_OUTCOME,
            ),
        ],
    )
