"""A row of the latency board: what talking devices heard."""

from __future__ import annotations

from dashboards import metrics as m
from dashboards import promql, queries, theme
from dashboards.panels import About, Line, Row, timeseries
from dashboards.theme import TIER_COLOURS, Unit, coloured, mixed
from firsttoken.core.slo import Slo

NOBODY_TALKS = "nobody talks"


def row(slo: Slo) -> Row:
    """Return the row for these targets."""
    return Row(
        "Talking devices",
        [
            timeseries(
                "First sentence beside first token, p95",
                About(
                    "95th percentile until the first sentence that can be spoken was handed to a "
                    "talking device, beside that of the first tokens of all clients, by tier.",
                    "a few hundred milliseconds apart: the words of half a sentence.",
                    "far apart: long first sentences, slow tokens, or whole answers that come as "
                    "one tool call.",
                ),
                [
                    Line(queries.quantile(0.95, m.FIRST_SENTENCE, "tier"), "{{tier}} sentence"),
                    Line(queries.quantile(0.95, m.TTFT, "tier"), "{{tier}} token"),
                ],
                Unit.SECONDS,
                decimals=1,
                limits=theme.first_token(slo),
                colours=[
                    coloured(f"^{tier}\\b {word}", mixed(colour, light))
                    for tier, colour in TIER_COLOURS.items()
                    for word, light in (("sentence", 0.0), ("token", 0.5))
                ],
                empty=NOBODY_TALKS,
            ),
            timeseries(
                "Silences within answers",
                About(
                    "Share of the spoken segments that came after those before them had been "
                    "spoken, by tier.",
                    "near 0: tokens come faster than speech.",
                    "see time per output token; fewer talkers at once, or a faster model.",
                ),
                [
                    Line(
                        promql.ratio(
                            queries.per_second(m.STUTTERS, "tier"),
                            queries.per_second(m.SEGMENTS, "tier"),
                        ),
                        "{{tier}}",
                    )
                ],
                Unit.SHARE,
                decimals=1,
                colours=theme.BY_TIER,
                highest=1,
                empty=NOBODY_TALKS,
            ),
            timeseries(
                "Spoken failures and retries",
                About(
                    "Requests of talking devices that nobody answered, so that the router spoke "
                    "its sentence for that, by why; and requests that clients sent again.",
                    "none.",
                    "see errors and circuits on Routing and actions; each retry cost its user a "
                    "second or two.",
                ),
                [
                    Line(
                        queries.seen(queries.per_second(m.SPOKEN_FAILURES, "error_type")),
                        "{{error_type}}",
                    ),
                    Line(queries.seen(queries.per_second(m.RETRIES)), "sent again"),
                ],
                Unit.REQUESTS_PER_SECOND,
                colours=[
                    coloured("^sent again$", theme.NEUTRAL),
                    coloured("^(?!sent)", theme.ERROR),
                ],
                empty="none",
            ),
            timeseries(
                "Requests a turn",
                About(
                    "How many requests an answer took on average: one, and one more for each round "
                    "of tools.",
                    "below 1.5: most answers need no tool.",
                    "many rounds: fewer tools, or clearer descriptions of them.",
                ),
                [Line(queries.mean(m.VOICE_TURNS), "requests")],
                Unit.NUMBER,
                colours=[coloured("^requests$", theme.NEUTRAL)],
                empty=NOBODY_TALKS,
            ),
        ],
    )
