#!/bin/bash
# Pulls the model and loads it, then ends: waits for the server, for as long as that takes.
#
# LOCAL_LLM_MODEL, OLLAMA_TOKEN_OPTIONS, OLLAMA_TOKEN_AT: as in token.sh
# OLLAMA_HOST              where the ollama program finds the server
# PULL_WAIT_SECONDS        for the server to come up, 120 by default
set -uo pipefail

model=${LOCAL_LLM_MODEL:?the model to pull}
until=$((SECONDS + ${PULL_WAIT_SECONDS:-120}))
until timeout 5 ollama list >/dev/null 2>&1; do
  if [ "$SECONDS" -ge "$until" ]; then
    echo "the server at ${OLLAMA_HOST:-127.0.0.1:11434} did not come up" >&2
    exit 1
  fi
  sleep 1
done

# A model that is complete needs no network: a machine without one starts all the same.
if ! timeout 10 ollama show "$model" >/dev/null 2>&1; then
  ollama pull "$model" || exit 1
fi
exec bash "$(dirname "$0")/token.sh" 600
