"""Experience and cost: what users say, how conversations end, what it costs."""

from __future__ import annotations

from dashboards import metrics as m
from dashboards import promql, queries, theme
from dashboards.boards import figures
from dashboards.boards.frame import Board
from dashboards.panels import About, Line, Row, bar_gauge, stat, timeseries
from dashboards.theme import Unit, coloured, mixed
from firsttoken.core.catalogue import ConversationEnd, Rating, TokenType

STAR_COLOURS: dict[str, str] = {
    Rating.ONE: theme.ERROR,
    Rating.TWO: theme.WARN,
    Rating.THREE: theme.NOBODY,
    Rating.FOUR: mixed(theme.GOOD, 0.4),
    Rating.FIVE: theme.GOOD,
}
END_COLOURS: dict[str, str] = {
    ConversationEnd.COMPLETED: theme.GOOD,
    ConversationEnd.ABANDONED: theme.WARN,
    ConversationEnd.FAILED: theme.ERROR,
}


def board() -> Board:
    """Return the board; it has no thresholds."""
    return Board(
        name="experience",
        title="Experience and cost",
        description="What users say, how conversations end, and what it costs.",
        rows=[_opinion(), _conversations(), _cost()],
    )


def _opinion() -> Row:
    return Row(
        "Ratings",
        [
            stat(
                "Satisfaction",
                About(
                    "Mean of the ratings of the last hour, 1 to 5 (recorded as "
                    "user_satisfaction_score).",
                    "4 or more.",
                    "compare with the time of first tokens and with the local share.",
                ),
                Line(figures.satisfaction(), "stars"),
                Unit.NUMBER,
                decimals=2,
                window=figures.RARE,
                empty="no ratings",
            ),
            stat(
                "Ratings in the last hour",
                About(
                    "How many ratings the mean is made of.",
                    "20 or more: with fewer, one bad mood moves the mean.",
                    "let clients send them: POST /v1/feedback with the request or session.",
                ),
                Line(promql.total(queries.increase(m.FEEDBACK)), "ratings"),
                Unit.NUMBER,
                window=figures.RARE,
                empty="no data",
            ),
            bar_gauge(
                "Ratings by stars",
                About(
                    "Ratings of the last hour by their number of stars.",
                    "most at 4 and 5.",
                    "many at 1: read the audit of what was answered then, and by which tier.",
                ),
                [Line(promql.total(queries.increase(m.FEEDBACK), "rating"), "{{rating}}")],
                Unit.NUMBER,
                colours=theme.by_word(STAR_COLOURS),
                window=figures.RARE,
                height=4,
                empty="no ratings",
            ),
            timeseries(
                "Satisfaction over time",
                About(
                    "Mean rating while ratings come in.",
                    "steady.",
                    "a fall after a mark (a deploy, an action) tells its cause.",
                ),
                [Line(figures.satisfaction(), "stars")],
                Unit.NUMBER,
                colours=[coloured("^stars", theme.GOOD)],
                highest=5,
                width=8,
                height=4,
                empty="no ratings",
            ),
        ],
    )


def _conversations() -> Row:
    return Row(
        "Conversations",
        [
            stat(
                "Completed",
                About(
                    "Completed over ended conversations of the last hour (recorded as "
                    "conversation_completion_rate).",
                    "steady.",
                    "see beside how the others end.",
                ),
                Line(figures.completion(), "completed"),
                Unit.SHARE,
                decimals=1,
                window=figures.RARE,
                empty="none ended",
            ),
            timeseries(
                "How conversations end",
                About(
                    "Conversations that ended a second: completed; abandoned, where the user hung "
                    "up during the last reply; failed, where the last request got no answer.",
                    "nearly all completed.",
                    "abandoned: replies are too long or too slow. failed: see the error rate.",
                ),
                [Line(queries.per_second(m.CONVERSATIONS_ENDED, "end"), "{{end}}")],
                Unit.PER_SECOND,
                decimals=3,
                colours=theme.by_word(END_COLOURS),
                stacked=True,
                width=10,
                empty="none ended",
            ),
            timeseries(
                "Conversations that begin",
                About(
                    "Conversations a second that began.",
                    "what your devices do in a day.",
                    "none: devices do not reach the router.",
                ),
                [Line(queries.per_second(m.CONVERSATIONS_STARTED), "began")],
                Unit.PER_SECOND,
                decimals=3,
                colours=[coloured("^began", theme.NEUTRAL)],
                width=10,
                empty="no data",
            ),
        ],
    )


def _cost() -> Row:
    return Row(
        "Cost",
        [
            timeseries(
                "Fees an hour",
                About(
                    "Fees at the present rate, by the prices in the settings. The local tier has "
                    "none; its electricity is not counted.",
                    "what your budget allows.",
                    "raise the local share, or lower max_tokens of remote models.",
                ),
                [Line(figures.cost_per_hour(), "{{tier}} {{backend}}")],
                Unit.USD,
                decimals=3,
                colours=theme.by_backend(),
                stacked=True,
                width=8,
            ),
            timeseries(
                "Fees for a thousand tokens",
                About(
                    "Fees over input and output tokens of all tiers: what the hybrid really costs.",
                    "well below the remote price; a local share of 80 % divides it by five.",
                    "see the local share.",
                ),
                [Line(_price(), "all tiers")],
                Unit.USD,
                decimals=4,
                colours=[coloured("^all", theme.REMOTE)],
                width=8,
            ),
            timeseries(
                "Tokens a second, in and out",
                About(
                    "Input and output tokens a second over all backends, as they counted them.",
                    "output is what users hear; input grows with the length of conversations.",
                    "much input: shorten the system prompt, or keep fewer turns.",
                ),
                [
                    Line(
                        queries.per_second(
                            m.TOKENS, "type", where={"type": (TokenType.INPUT, TokenType.OUTPUT)}
                        ),
                        "{{type}}",
                    )
                ],
                Unit.NUMBER,
                decimals=1,
                colours=[
                    coloured("^input", mixed(theme.NEUTRAL, 0.45)),
                    coloured("^output", theme.NEUTRAL),
                ],
                width=8,
            ),
        ],
    )


def _price() -> promql.Query:
    counted: promql.Matcher = (TokenType.INPUT, TokenType.OUTPUT)
    tokens = queries.per_second(m.TOKENS, where={"type": counted})
    return promql.times(promql.ratio(queries.per_second(m.COST), tokens), 1000)
