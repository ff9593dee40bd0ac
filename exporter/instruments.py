"""Prometheus instruments made from the catalogue.

A process names the metrics that it sets; it gets a registry of its own with exactly those. Children
are made at start, one for every label set that can be known in advance, all at 0: a rate over a
series that appears later would miss its first increase. Hot paths keep the child they need.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from firsttoken.core.catalogue import CATALOGUE, Kind

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
"""Media type of :meth:`Instruments.render`."""

_Child = TypeVar("_Child", Counter, Gauge, Histogram)


@dataclass(frozen=True, slots=True)
class LabelSet:
    """Label sets of one metric that are known in advance, values in the catalogue's order."""

    metric: str
    values: tuple[tuple[str, ...], ...]


class Family(Generic[_Child]):
    """The children of one metric, looked up by label values in the catalogue's order."""

    def __init__(self, parent: _Child, labels: tuple[str, ...]) -> None:
        self._parent: _Child = parent
        self._labels = labels
        self._children: dict[tuple[str, ...], _Child] = {}

    def __call__(self, *values: str) -> _Child:
        """Return the child of these label values, made on first use."""
        child = self._children.get(values)
        if child is None:
            child = self._parent.labels(*values) if self._labels else self._parent
            self._children[values] = child
        return child

    def remove(self, *values: str) -> None:
        """Expose the child of these label values no longer."""
        if self._children.pop(values, None) is not None:
            self._parent.remove(*values)


class Instruments:
    """The instruments of one process.

    Args:
        names: metrics of the catalogue that this process sets.
        known: label sets to expose at 0 from the start.

    Raises:
        KeyError: a name that is not in the catalogue.
    """

    def __init__(self, names: Iterable[str], known: Sequence[LabelSet] = ()) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry(auto_describe=True)
        self._counters: dict[str, Family[Counter]] = {}
        self._gauges: dict[str, Family[Gauge]] = {}
        self._histograms: dict[str, Family[Histogram]] = {}
        for name in names:
            self._add(name)
        for label_set in known:
            for values in label_set.values:
                self._family(label_set.metric)(*values)

    def counter(self, name: str) -> Family[Counter]:
        """Return a counter of the catalogue by its name."""
        return self._counters[name]

    def gauge(self, name: str) -> Family[Gauge]:
        """Return a gauge of the catalogue by its name."""
        return self._gauges[name]

    def histogram(self, name: str) -> Family[Histogram]:
        """Return a histogram of the catalogue by its name."""
        return self._histograms[name]

    def render(self) -> bytes:
        """Return the registry in Prometheus' text format.

        Takes milliseconds: an asyncio server calls it in a thread.
        """
        return generate_latest(self.registry)

    def _add(self, name: str) -> None:
        metric = CATALOGUE[name]
        if metric.kind is Kind.COUNTER:
            counter = Counter(name, metric.help, metric.labels, registry=self.registry)
            self._counters[name] = Family(counter, metric.labels)
        elif metric.kind is Kind.GAUGE:
            gauge = Gauge(name, metric.help, metric.labels, registry=self.registry)
            self._gauges[name] = Family(gauge, metric.labels)
        else:
            histogram = Histogram(
                name, metric.help, metric.labels, buckets=metric.buckets, registry=self.registry
            )
            self._histograms[name] = Family(histogram, metric.labels)

    def _family(self, name: str) -> Family[Counter] | Family[Gauge] | Family[Histogram]:
        kind = CATALOGUE[name].kind
        if kind is Kind.COUNTER:
            return self._counters[name]
        return self._gauges[name] if kind is Kind.GAUGE else self._histograms[name]
