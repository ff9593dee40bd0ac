"""Engine and host: is the machine the limit? Processor, memory, pressure, slots, tokens."""

from __future__ import annotations

from dashboards import metrics as m
from dashboards import promql, queries, theme
from dashboards.boards import figures
from dashboards.boards.frame import Board
from dashboards.panels import About, Line, Row, timeline, timeseries
from dashboards.promql import Query
from dashboards.theme import Unit, coloured
from firsttoken.core.catalogue import TokenType
from firsttoken.core.slo import Slo

_COMPONENTS = [coloured("^engine", theme.LOCAL), coloured("^router", theme.NEUTRAL)]
_DIRECTIONS = [
    coloured("^input", theme.mixed(theme.LOCAL, 0.45)),
    coloured("^output", theme.LOCAL),
    coloured("^cached", theme.CACHE),
]
_LOADED = theme.states(("not loaded", "in memory"), (theme.ERROR, theme.GOOD))


def board(slo: Slo) -> Board:
    """Return the board for these targets and thresholds."""
    return Board(
        name="engine",
        title="Engine and host",
        description="Is the machine the limit? Processor, memory, pressure, slots, tokens.",
        rows=[_processor(slo), _memory(slo), _slots(), _tokens()],
    )


def _processor(slo: Slo) -> Row:
    return Row(
        "Processor",
        [
            timeseries(
                "Engine's share of its processors",
                About(
                    "Processor time of the engine over what its control group may use (recorded "
                    "as cpu_usage).",
                    "below 90 % on average.",
                    "the engine computes all the time: fewer slots make each reply faster, more "
                    "remote traffic makes fewer of them.",
                ),
                [Line(figures.cpu_share(), "engine")],
                Unit.SHARE,
                decimals=1,
                limits=theme.cpu(slo),
                colours=_COMPONENTS,
                width=8,
                empty="no data",
            ),
            timeseries(
                "Processors in use",
                About(
                    "Processor seconds a second of engine and router, beside the limit.",
                    "the router well under a tenth of the engine.",
                    "a busy router: look for very many small requests, or scrapes too often.",
                ),
                [
                    Line(_cores(), "{{component}}"),
                    Line(queries.highest(m.CPU_LIMIT), "limit"),
                ],
                Unit.NUMBER,
                colours=[*_COMPONENTS, coloured("^limit$", theme.ERROR)],
                width=8,
                empty="no data",
            ),
            timeseries(
                "Waiting for a processor",
                About(
                    "Share of the last minute in which some task waited for a processor (PSI).",
                    "below 20 % while there is traffic.",
                    "more threads than processors, or a neighbour on the host: set num_thread to "
                    "the quota.",
                ),
                [Line(queries.highest(m.CPU_PRESSURE), "some task waited")],
                Unit.SHARE,
                decimals=1,
                colours=[coloured("^some", theme.WARN)],
                width=8,
                empty="no data",
            ),
        ],
    )


def _memory(slo: Slo) -> Row:
    return Row(
        "Memory",
        [
            timeseries(
                "Unreclaimable memory over the limit",
                About(
                    "Memory that the kernel cannot take back, over the limit (recorded as "
                    "memory_usage).",
                    f"below {slo.memory_share:.0%}; dashed lines are the target and the alert.",
                    "fewer slots or a smaller num_ctx: the cache of keys and values grows with "
                    "both.",
                ),
                [Line(figures.memory_share(), "unreclaimable")],
                Unit.SHARE,
                decimals=1,
                limits=theme.memory(slo),
                colours=[coloured("^unreclaimable", theme.LOCAL)],
                width=8,
                empty="no data",
            ),
            timeseries(
                "Memory by kind",
                About(
                    "Unreclaimable memory, and what the kernel can take back: above all the "
                    "mapped model file.",
                    "both together below the limit: then the model stays in memory.",
                    "above it the kernel drops parts of the model, and first tokens wait for the "
                    "disk.",
                ),
                [
                    Line(queries.highest(m.MEMORY_UNRECLAIMABLE), "unreclaimable"),
                    Line(queries.highest(m.MEMORY_RECLAIMABLE), "reclaimable"),
                    Line(queries.highest(m.MEMORY_LIMIT), "limit"),
                ],
                Unit.BYTES,
                decimals=1,
                colours=[
                    coloured("^unreclaimable", theme.LOCAL),
                    coloured("^reclaimable", theme.mixed(theme.LOCAL, 0.5)),
                    coloured("^limit$", theme.ERROR),
                ],
                width=8,
                empty="no data",
            ),
            timeseries(
                "Waiting for memory",
                About(
                    "Share of the last minute in which some or all tasks stood still for want of "
                    "memory (PSI).",
                    "zero.",
                    "the mapped model does not fit: a smaller model or a higher limit.",
                ),
                [Line(queries.highest(m.MEMORY_PRESSURE, "kind"), "{{kind}}")],
                Unit.SHARE,
                decimals=1,
                colours=[coloured("^some", theme.WARN), coloured("^full", theme.ERROR)],
                width=8,
                empty="no data",
            ),
            timeseries(
                "Resident memory of processes",
                About(
                    "Resident memory of engine and router, mapped files included.",
                    "flat once the model is loaded.",
                    "a router that grows without end is a fault: report it with this picture.",
                ),
                [Line(queries.highest(m.PROCESS_MEMORY, "component"), "{{component}}")],
                Unit.BYTES,
                decimals=1,
                colours=_COMPONENTS,
                width=24,
                height=6,
                empty="no data",
            ),
        ],
    )


def _slots() -> Row:
    return Row(
        "Slots",
        [
            timeseries(
                "Inside the engine",
                About(
                    "Requests that the engine works on, those that wait inside it, and its slots.",
                    "processing at most as many as slots, none deferred: the router does the "
                    "queueing.",
                    "deferred ones: somebody uses the engine past the router, or slots are set "
                    "higher than the engine has.",
                ),
                [
                    Line(queries.highest(m.ENGINE_REQUESTS, "state"), "{{state}}"),
                    Line(queries.highest(m.ENGINE_SLOTS), "slots"),
                ],
                Unit.NUMBER,
                decimals=0,
                colours=[
                    coloured("^processing", theme.LOCAL),
                    coloured("^deferred", theme.WARN),
                    coloured("^slots", theme.ERROR),
                ],
                empty="no data",
            ),
            timeseries(
                "Attempts in flight by backend",
                About(
                    "Attempts under way, by the router's account.",
                    "local up to the engine's slots; the rest waits or goes remote.",
                    "always at the limit: see the wait for a slot on Latency.",
                ),
                [Line(figures.in_flight(), "{{tier}} {{backend}}")],
                Unit.NUMBER,
                decimals=0,
                colours=theme.by_backend(),
                empty="no data",
            ),
            timeline(
                "Model in memory",
                About(
                    "Whether the engine holds the configured model, by its own account.",
                    "always.",
                    "a first token then waits for the load, 10 s and more: set keep_alive longer, "
                    "or find what took the memory.",
                ),
                [Line(queries.highest(m.ENGINE_LOADED, "backend"), "{{backend}}")],
                _LOADED,
                width=24,
                height=4,
            ),
        ],
    )


def _tokens() -> Row:
    return Row(
        "Tokens",
        [
            timeseries(
                "Tokens a second in the engine",
                About(
                    "Tokens a second by the engine's own account: of prompts (input), of answers "
                    "(output), and of prompts that its cache still held (cached).",
                    "output near what a capacity run reached; input near zero between turns, "
                    "since prompts are cached.",
                    "much input: prompts change at their beginning, so that nothing of them can "
                    "be reused.",
                ),
                [Line(queries.per_second(m.ENGINE_TOKENS, "type"), "{{type}}")],
                Unit.NUMBER,
                decimals=1,
                colours=_DIRECTIONS,
                width=8,
                empty="no data",
            ),
            timeseries(
                "Speed while it works",
                About(
                    "Tokens over the seconds that the engine spent on them: input is prefill, "
                    "output is decoding.",
                    "steady; prefill decides the first token, decoding the rest.",
                    "falling with load: processors are shared by more requests. Falling without: "
                    "the host is throttled or busy.",
                ),
                [Line(_speed(), "{{type}}")],
                Unit.NUMBER,
                decimals=1,
                colours=_DIRECTIONS,
                width=8,
                empty="no data",
            ),
            timeseries(
                "Input served from the prompt cache",
                About(
                    "Share of the input tokens that a backend had in its cache, as it reported.",
                    "high from the second turn of a conversation on.",
                    "low: the prompt's beginning changes (a clock in the system prompt?), or "
                    "there are more conversations than slots.",
                ),
                [Line(_cached(), "{{tier}} {{backend}}")],
                Unit.SHARE,
                decimals=1,
                colours=theme.by_backend(),
                highest=1,
                width=8,
            ),
        ],
    )


def _cores() -> Query:
    each = queries.per_second(m.PROCESS_CPU, "job", "instance", "component")
    return promql.total(each, "component", how="max")


def _speed() -> Query:
    return promql.ratio(
        queries.per_second(m.ENGINE_TOKENS, "type"), queries.per_second(m.ENGINE_BUSY, "type")
    )


def _cached() -> Query:
    return promql.ratio(
        figures.tokens_per_second(TokenType.CACHED), figures.tokens_per_second(TokenType.INPUT)
    )
