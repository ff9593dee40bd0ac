# firsttoken in a container: the router by default; exporter, load generator and reports by another
# command. Built from requirements-run.lock, hashes checked, wheels only: no compiler, no index named.
#
#     docker build --tag firsttoken:0.1.0 .
#     docker run --rm firsttoken:0.1.0 --help

# The Python and the Debian that the tests run on. A digest after the tag would pin it for good.
ARG PYTHON_IMAGE=python:3.11.14-slim-bookworm

# ---- The project's own wheel --------------------------------------------------------------------
FROM ${PYTHON_IMAGE} AS wheel
WORKDIR /build
COPY requirements.lock ./
# setuptools as the lock has it, so that the build downloads nothing that nobody checked.
RUN awk '/^setuptools==/ {on=1} on {print} on && !/\\$/ {exit}' requirements.lock > build.lock \
    && python -m venv /opt/build \
    && /opt/build/bin/pip install --no-cache-dir --no-deps --require-hashes --only-binary :all: -r build.lock
COPY pyproject.toml README.md LICENSE ./
COPY config/hybrid.yaml config/slo.yaml ./config/
COPY firsttoken ./firsttoken
COPY router ./router
COPY exporter ./exporter
COPY loadtests ./loadtests
COPY reports ./reports
COPY dashboards ./dashboards
RUN /opt/build/bin/pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir /wheels .

# ---- What runs ----------------------------------------------------------------------------------
FROM ${PYTHON_IMAGE} AS packages
COPY requirements-run.lock /build/
RUN python -m venv /opt/firsttoken \
    && /opt/firsttoken/bin/pip install --no-cache-dir --no-deps --require-hashes --only-binary :all: \
       -r /build/requirements-run.lock
COPY --from=wheel /wheels /wheels
RUN /opt/firsttoken/bin/pip install --no-cache-dir --no-deps --no-index /wheels/*.whl \
    && /opt/firsttoken/bin/pip uninstall --yes pip setuptools

# ---- The image ----------------------------------------------------------------------------------
FROM ${PYTHON_IMAGE}
# OpenMP, for the embedded llama.cpp engine.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libgomp1 \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 10001 firsttoken \
    && useradd --uid 10001 --gid 10001 --home-dir /var/lib/firsttoken --shell /usr/sbin/nologin firsttoken \
    && install -d -o 10001 -g 10001 /var/lib/firsttoken /var/lib/firsttoken/runs
COPY --from=packages /opt/firsttoken /opt/firsttoken
ENV PATH=/opt/firsttoken/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    MPLCONFIGDIR=/tmp/matplotlib
# Runs, audit log and snapshots are written below it; nothing else is written but /tmp.
WORKDIR /var/lib/firsttoken
VOLUME /var/lib/firsttoken/runs
USER 10001:10001
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8080/healthz', timeout=4)"]
ENTRYPOINT ["firsttoken"]
# Listens inside the container only; opening it needs API keys (docs/deploy.md).
CMD ["serve"]
