"""Which processes serve a URL, and which cores are whose."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from firsttoken.core.child import Child
from firsttoken.core.errors import UserError
from firsttoken.trials import pinning
from firsttoken.trials.serving import Connection, Found, Servers, serving

HERE = "127.0.0.1"


def test_a_router_and_the_engine_behind_it_serve() -> None:
    sockets = [
        Connection(10, 8080, None),
        Connection(11, 11434, None),
        Connection(12, 5432, None),
        Connection(10, 8080, (HERE, 50000)),  # a client that came in
        Connection(10, 40000, (HERE, 11434)),
        Connection(11, 11434, (HERE, 40000)),
        Connection(10, 41000, ("8.8.8.8", 443)),  # a cloud: elsewhere
        Connection(99, 50000, (HERE, 8080)),
    ]
    assert serving([8080], sockets) == Found(frozenset({10, 11}), complete=True)


@pytest.mark.parametrize(
    "sockets",
    [
        [Connection(None, 8080, None)],
        [],
        [Connection(10, 8080, None), Connection(10, 40000, ("172.17.0.2", 11434))],
        [Connection(10, 8080, None), Connection(10, 40000, (HERE, 11434))],
    ],
    ids=["another user's", "nobody", "a container", "an engine of another user's"],
)
def test_what_cannot_be_seen_is_not_claimed(sockets: list[Connection]) -> None:
    assert not serving([8080], sockets).complete


def test_a_server_of_this_host_is_found_by_its_url() -> None:
    with Child.start([sys.executable, "-m", "firsttoken.upstreams.truth", "--port", "0"]) as truth:
        servers = Servers([truth.url])
        assert servers.pids() == [truth.pid]
        assert servers.complete


def test_a_server_elsewhere_has_no_process_here() -> None:
    servers = Servers(["https://8.8.8.8/v1"])
    assert (servers.pids(), servers.complete) == ([], True)
    assert not Servers(["http://10.255.255.1:8080"]).complete


def test_the_generator_gets_the_last_core() -> None:
    found = pinning.split({0, 1, 2, 5})
    assert found.as_lists() == {"generator": [5], "servers": [0, 1, 2]}


def test_two_cores_are_too_few() -> None:
    with pytest.raises(UserError, match="needs 3 cores, this process may use 2"):
        pinning.split({0, 1})


def test_every_thread_is_kept_to_its_cores() -> None:
    cores = os.sched_getaffinity(0)
    first = min(cores)
    with Child.start([sys.executable, "-m", "firsttoken.upstreams.truth", "--port", "0"]) as truth:
        pinning.keep_to(truth.pid, {first})
        tasks = [int(task.name) for task in Path(f"/proc/{truth.pid}/task").iterdir()]
        assert [os.sched_getaffinity(task) for task in tasks] == [{first}] * len(tasks)
        apart = pinning.Pinning(generator=frozenset({max(cores) + 1}), servers=frozenset(cores))
        pinning.check_servers([truth.pid], apart)
        shared = pinning.Pinning(generator=frozenset({first}), servers=frozenset({7, 8}))
        with pytest.raises(UserError, match="taskset -c 7,8"):
            pinning.check_servers([truth.pid], shared)


def test_servers_started_meanwhile_inherit_their_cores() -> None:
    before = os.sched_getaffinity(0)
    first = min(before)
    apart = pinning.Pinning(generator=frozenset(before - {first}), servers=frozenset({first}))
    with (
        pinning.servers_apart(apart),
        Child.start([sys.executable, "-m", "firsttoken.upstreams.truth", "--port", "0"]) as truth,
    ):
        assert os.sched_getaffinity(truth.pid) == {first}
    assert os.sched_getaffinity(0) == before
