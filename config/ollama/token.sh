#!/bin/bash
# Asks Ollama for one token, and fails unless it comes: a server whose list of models answers may
# still have a dead runner. The image has neither curl nor Python, so bash speaks HTTP itself.
#
#     token.sh [SECONDS]     20 by default: then it gives up
#
# LOCAL_LLM_MODEL          the model (required)
# OLLAMA_TOKEN_OPTIONS     the loading options that the router sends, such as "num_ctx":2048,"num_gpu":0.
#                          Others would have Ollama load the model anew for this question, and again
#                          for the next user's.
# OLLAMA_TOKEN_AT          host and port, 127.0.0.1:11434 by default
set -uo pipefail

seconds=${1:-20}
if [ -z "${TOKEN_SH_INNER:-}" ]; then
  # One limit on everything, the connection included.
  TOKEN_SH_INNER=1 exec timeout -k 1 "$seconds" bash "$0" "$seconds"
fi

at=${OLLAMA_TOKEN_AT:-127.0.0.1:11434}
model=${LOCAL_LLM_MODEL:?the model to ask for}
options="\"num_predict\":1${OLLAMA_TOKEN_OPTIONS:+,$OLLAMA_TOKEN_OPTIONS}"
# raw: no template, so that one word is the whole prompt.
body="{\"model\":\"$model\",\"prompt\":\"hello\",\"raw\":true,\"stream\":false,\"options\":{$options}}"

fail() {
  echo "no token from $at: $1" >&2
  exit 1
}

exec 3<>"/dev/tcp/${at%:*}/${at##*:}" || fail "nobody listens"
printf 'POST /api/generate HTTP/1.0\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s' \
  "$at" "${#body}" "$body" >&3 || fail "it hung up"
reply=$(head -c 65536 <&3) || fail "it hung up"
case $reply in
  HTTP/1.?' 200 '*) ;;
  *) fail "${reply%%$'\r'*} ${reply##*$'\n'}" ;;
esac
[[ $reply =~ \"eval_count\":\ *[1-9] ]] || fail "a reply without a token"
