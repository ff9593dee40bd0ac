"""The recorder keeps up with a run far faster than any we make. In a child: it needs gevent."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from firsttoken.core.records import REQUESTS, consolidate, read_table

WRITE = """
import json, sys, time
from pathlib import Path
from firsttoken.load.exchange import Exchange, Place
from firsttoken.load.recorder import Recorder
from firsttoken.core.words import ErrorType, Phase

failures = []
recorder = Recorder(Path(sys.argv[1]), failures.append)
count = int(sys.argv[2])
place = Place("run", "hybrid", 20, "run-hybrid-0-1", 3)
began = time.perf_counter()
for number in range(count):
    exchange = Exchange(f"run-{number}", number)
    exchange.t_send_ns = number + 10
    exchange.fail(ErrorType.CONNECT, "no", number + 1_000_000)
    recorder.add(exchange.row(place, Phase.STEADY))
recorder.close()
recorder.close()
print(json.dumps({"rate": count / (time.perf_counter() - began), "failures": len(failures)}))
"""


def test_more_than_five_thousand_rows_a_second(tmp_path: Path) -> None:
    argv = [sys.executable, "-c", WRITE, str(tmp_path), "20000"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True)
    found = json.loads(done.stdout)
    assert found["failures"] == 0
    assert found["rate"] > 5_000
    consolidate(tmp_path)
    table = read_table(tmp_path, "requests")
    assert table.num_rows == 20_000
    assert table.schema.names == REQUESTS.names
    row = table.slice(7, 1).to_pylist()[0]
    assert row["request_id"] == "run-7"
    assert (row["outcome"], row["error_type"], row["phase"]) == ("error", "connect", "steady")
    assert (row["t_sched_ns"], row["t_send_ns"], row["t_end_ns"]) == (7, 17, 1_000_007)
    assert row["ttft_ms"] is None
    assert row["output_tokens"] is None
    assert (row["step_users"], row["session_id"], row["turn"]) == (20, "run-hybrid-0-1", 3)
