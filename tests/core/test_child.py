"""Child processes are started with a ready line, drained, stopped, and never left behind."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from firsttoken.core.child import PARENT_PID_VARIABLE, Child, die_with_parent
from firsttoken.core.errors import UserError

READY = "import json, sys; print(json.dumps({'url': 'http://127.0.0.1:1'}), flush=True)\n"
SLEEP = "import signal; signal.pause()\n"
GRACEFUL = "import signal, sys; signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))\n"


def python(*source: str) -> list[str]:
    return [sys.executable, "-c", "".join(source)]


def gone(pid: int, timeout_s: float = 5.0) -> bool:
    """Whether the process ends in time; a zombie has ended, its parent is not ours to hurry."""
    try:
        process = psutil.Process(pid)
        with contextlib.suppress(psutil.TimeoutExpired):
            process.wait(timeout_s)
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.fixture
def children() -> Iterator[list[Child]]:
    started: list[Child] = []
    yield started
    for child in started:
        child.stop(timeout_s=0.5)


def test_ready_line_url_and_clean_stop(children: list[Child]) -> None:
    child = Child.start(python(GRACEFUL, READY, SLEEP), ready_timeout_s=10)
    children.append(child)
    assert child.url == "http://127.0.0.1:1"
    assert child.poll() is None
    assert os.getpgid(child.pid) == child.pid
    assert child.stop() == 0
    assert child.stop() == 0
    assert child.poll() == child.returncode == 0
    assert not psutil.pid_exists(child.pid)


def test_context_manager_stops() -> None:
    with Child.start(python(READY, SLEEP), ready_timeout_s=10) as child:
        assert psutil.pid_exists(child.pid)
    assert not psutil.pid_exists(child.pid)
    assert child.returncode == -signal.SIGTERM


def test_noise_before_the_ready_line_is_skipped(children: list[Child]) -> None:
    child = Child.start(
        python("print('loading')\nprint('[1]')\n", READY, SLEEP), ready_timeout_s=10
    )
    children.append(child)
    assert child.ready == {"url": "http://127.0.0.1:1"}


def test_lines_after_the_ready_line() -> None:
    source = "for n in range(3): print('line', n)\n"
    with Child.start(python(READY, source), ready_timeout_s=10) as child:
        assert list(child.lines()) == ["line 0", "line 1", "line 2"]
        assert child.wait(5) == 0


def test_child_without_a_ready_line() -> None:
    with Child.start(python("print('{}')"), ready_timeout_s=None) as child:
        assert list(child.lines()) == ["{}"]
        assert child.ready == {}
        assert child.wait(5) == 0


def test_output_nobody_reads_does_not_block_the_child() -> None:
    with Child.start(python(READY, "print('x' * 5_000_000)"), ready_timeout_s=10) as child:
        assert child.wait(10) == 0


def test_death_before_ready_carries_the_last_error_line(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "child.log"
    source = (
        "import sys; print('first\\nfirsttoken: no such model\\n', file=sys.stderr); sys.exit(2)"
    )
    with pytest.raises(UserError) as caught:
        Child.start(python(source), log=log, ready_timeout_s=10)
    message = str(caught.value)
    assert "exit code 2" in message
    assert ": no such model (log: " in message
    assert str(log) in message
    assert "\n" not in message
    assert log.read_text().startswith("first\n")


def test_last_error_line_is_of_this_start(tmp_path: Path) -> None:
    log = tmp_path / "child.log"
    log.write_text("an error of yesterday\n")
    with pytest.raises(UserError) as caught:
        Child.start(python("raise SystemExit(3)"), log=log, ready_timeout_s=10)
    assert "yesterday" not in str(caught.value)
    assert log.read_text() == "an error of yesterday\n"


def test_death_by_signal_is_named() -> None:
    source = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    with pytest.raises(UserError, match="ended by signal 9 before it was ready"):
        Child.start(python(source), ready_timeout_s=10)


def test_late_child_is_stopped(tmp_path: Path) -> None:
    source = f"import os; open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))\n"
    with pytest.raises(UserError, match=r"was not ready within 1 s"):
        Child.start(python(source, SLEEP), ready_timeout_s=1.0)
    assert gone(int((tmp_path / "pid").read_text()))


def test_a_start_that_is_cancelled() -> None:
    with pytest.raises(UserError, match="was stopped before it was ready"):
        Child.start(python(SLEEP), ready_timeout_s=20, cancelled=lambda: True)


def test_closed_output_is_told() -> None:
    with pytest.raises(UserError, match="closed its output"):
        Child.start(python("import os; os.close(1)\n", SLEEP), ready_timeout_s=20)


def test_program_that_does_not_exist() -> None:
    with pytest.raises(UserError, match="cannot start /no/such/program: No such file"):
        Child.start(["/no/such/program"], ready_timeout_s=1)


def test_log_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot write the log"):
        Child.start(python(READY), log=tmp_path, ready_timeout_s=1)


def test_sigterm_ignored_means_sigkill(children: list[Child]) -> None:
    source = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    child = Child.start(python(source, READY, SLEEP), ready_timeout_s=10)
    children.append(child)
    assert child.stop(timeout_s=0.2) == -signal.SIGKILL


GRANDCHILD = (
    "import subprocess\n"
    "helper = subprocess.Popen([sys.executable, '-c', 'import signal;"
    " signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True); signal.pause()'],"
    " stdout=subprocess.PIPE)\n"
    "helper.stdout.readline()\n"
)
TELL = "print(json.dumps({'helper': helper.pid}), flush=True)\n"


@pytest.mark.parametrize("how", ["stop", "crash"])
def test_the_whole_group_ends(how: str, children: list[Child]) -> None:
    child = Child.start(python("import json, sys\n", GRANDCHILD, TELL, SLEEP), ready_timeout_s=10)
    children.append(child)
    helper = int(child.ready["helper"])
    if how == "crash":
        os.kill(child.pid, signal.SIGKILL)
        assert child.wait(5) == -signal.SIGKILL
    else:
        child.stop(timeout_s=2)
    assert gone(helper)


def test_extra_environment_and_directory(tmp_path: Path) -> None:
    source = "import json, os; print(json.dumps({'v': os.environ['V'], 'd': os.getcwd()}))"
    with Child.start(python(source), ready_timeout_s=10, env={"V": "1"}, cwd=tmp_path) as child:
        assert child.ready == {"v": "1", "d": str(tmp_path.resolve())}


PARENT = """
import os, sys
from firsttoken.core.child import Child
code = ("from firsttoken.core.child import die_with_parent; die_with_parent();"
        " import json, signal; print(json.dumps(dict(url='x')), flush=True); signal.pause()")
child = Child.start([sys.executable, "-c", code], ready_timeout_s=10)
print('{"pid": %d}' % child.pid, flush=True)
child.wait()
"""


def test_die_with_parent_that_is_killed(children: list[Child]) -> None:
    parent = Child.start(python(PARENT), ready_timeout_s=20)
    children.append(parent)
    grandchild = int(parent.ready["pid"])
    assert psutil.pid_exists(grandchild)
    os.kill(parent.pid, signal.SIGKILL)
    assert gone(grandchild)


def test_a_child_outlives_the_thread_that_started_it(children: list[Child]) -> None:
    code = "from firsttoken.core.child import die_with_parent; die_with_parent()\n"
    thread = threading.Thread(
        target=lambda: children.append(Child.start(python(code, READY, SLEEP), ready_timeout_s=10))
    )
    thread.start()
    thread.join()
    assert children[0].wait(0.3) is None


def test_die_with_parent_when_it_has_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    source = "from firsttoken.core.child import die_with_parent; die_with_parent(1 << 22)"
    with Child.start(python(source), ready_timeout_s=None) as child:
        assert child.wait(10) == 1
        assert "has ended" in child.last_error_line()
    assert "has ended" in child.last_error_line()


def test_die_with_parent_leaves_a_process_started_by_hand_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv(PARENT_PID_VARIABLE, raising=False)
    die_with_parent()


def test_concurrent_stops_agree() -> None:
    child = Child.start(python(READY, SLEEP), ready_timeout_s=10)
    codes: list[int] = []
    threads = [threading.Thread(target=lambda: codes.append(child.stop())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert codes == [-signal.SIGTERM] * 4
