"""What the standalone exporter exposes."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from itertools import product

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector as PrometheusCollector

from exporter.engines.reading import Reading
from exporter.host import HostCollector
from exporter.instruments import Instruments, LabelSet
from exporter.probe import Probed
from exporter.process import ProcessCollector, Processes
from firsttoken.core.catalogue import CATALOGUE, OTHER_MODEL, Collector, Kind, ProbePhase
from firsttoken.core.words import Outcome

NAMES = (
    "llm_backend_up",
    "llm_probe_time_to_first_token_seconds",
    "llm_probes_total",
    "llm_probe_engine_seconds",
    "llm_exporter_collections_total",
    "llm_exporter_last_collection_seconds",
    "llm_build_info",
)
"""Metrics of the catalogue that are set here; the rest is read at scrape time."""

ENGINE_NAMES = tuple(name for name in CATALOGUE if name.startswith("llm_engine_"))


class Measures:
    """The exporter's metrics of one engine.

    The label ``model`` is the configured name, else the first that the engine gave; every other
    name is ``other``.

    Args:
        backend: the label.
        model: the configured name, if there is one.
        engine: the engine's processes.
    """

    def __init__(self, backend: str, model: str | None, engine: Processes) -> None:
        self._backend = backend
        self._model = model
        instruments = Instruments(NAMES, tuple(_known(backend, model)))
        self._readings = _Readings(backend)
        for collector in (
            self._readings,
            ProcessCollector({"engine": engine}),
            HostCollector(engine),
        ):
            instruments.registry.register(collector)
        self.render = instruments.render
        self._up = instruments.gauge("llm_backend_up")
        self._ttft = instruments.histogram("llm_probe_time_to_first_token_seconds")
        self._probes = instruments.counter("llm_probes_total")
        self._phases = instruments.gauge("llm_probe_engine_seconds")
        self._collections = instruments.counter("llm_exporter_collections_total")
        self._last = instruments.gauge("llm_exporter_last_collection_seconds")
        instruments.gauge("llm_build_info")(_version()).set(1)

    def up(self, up: bool) -> None:
        """Show whether the engine serves."""
        self._up(self._backend).set(up)

    def read(self, reading: Reading | None) -> None:
        """Show what the engine says of itself; None: it says nothing now."""
        self._readings.now = reading or Reading()

    def probed(self, model: str | None, result: Probed) -> None:
        """Enter one probe."""
        self._probes(self._backend, result.outcome).inc()
        if result.ttft_s is None or model is None:
            return
        if self._model is None:
            self._model = model
        label = model if model == self._model else OTHER_MODEL
        self._ttft(self._backend, label).observe(result.ttft_s)
        timings = result.timings
        if timings is not None:
            for phase in ProbePhase:
                milliseconds: float | None = getattr(timings, f"{phase}_ms")
                if milliseconds is not None:
                    self._phases(self._backend, phase).set(milliseconds / 1000)

    def collected(self, collector: Collector, outcome: Outcome, seconds: float) -> None:
        """Enter one reading of the engine or the host, or one probe."""
        self._collections(collector, outcome).inc()
        self._last(collector).set(seconds)


class _Readings(PrometheusCollector):
    """Exposes what the engine said last; nothing while it says nothing."""

    def __init__(self, backend: str) -> None:
        self._backend = backend
        self.now = Reading()

    def collect(self) -> Iterator[Family]:
        """Yield the families of the engine."""
        values = self.now.values
        for name in ENGINE_NAMES:
            metric = CATALOGUE[name]
            make = CounterMetricFamily if metric.kind is Kind.COUNTER else GaugeMetricFamily
            family = make(metric.name, metric.help, labels=metric.labels)
            for labels, value in values.get(name, {}).items():
                family.add_metric((self._backend, *labels), value)
            yield family


def _known(backend: str, model: str | None) -> Iterator[LabelSet]:
    if model is not None:
        yield LabelSet("llm_probe_time_to_first_token_seconds", ((backend, model),))
    yield LabelSet("llm_probes_total", tuple((backend, outcome) for outcome in Outcome))
    polled = (Outcome.SUCCESS, Outcome.ERROR, Outcome.TIMEOUT)
    yield LabelSet("llm_exporter_collections_total", tuple(product(Collector, polled)))


def _version() -> str:
    try:
        return version("firsttoken")
    except PackageNotFoundError:
        return "unknown"
