"""Which processes of this host serve a URL: found by the port that they listen on."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable, Sequence
from typing import NamedTuple
from urllib.parse import urlsplit

import psutil

FIRST_LOOKS = 15
LOOK_EVERY = 10
"""At one look a second: reading every process's sockets takes some milliseconds, and what a router
is connected to is known some seconds after the load has begun."""


class Connection(NamedTuple):
    """One TCP socket of this host; ``remote`` None: it listens."""

    pid: int | None
    port: int
    remote: tuple[str, int] | None


class Found(NamedTuple):
    """The processes that serve."""

    pids: frozenset[int]
    complete: bool
    """Whether everything on this host that serves is among them."""


def connections() -> list[Connection]:
    """Return the TCP sockets of the processes that this one may look into."""
    found = []
    for item in psutil.net_connections("tcp"):
        if not item.laddr:
            continue
        if item.status == psutil.CONN_LISTEN:
            found.append(Connection(item.pid, item.laddr.port, None))
        elif item.status == psutil.CONN_ESTABLISHED and item.raddr:
            remote = (item.raddr.ip, item.raddr.port)
            found.append(Connection(item.pid, item.laddr.port, remote))
    return found


def serving(ports: Iterable[int], sockets: Sequence[Connection]) -> Found:
    """Return who listens on these ports of this host, and whom they in turn have connected to: a
    router, and the engine behind it.

    It is not complete where a port is held by a process that cannot be looked into (another
    user's, or one in a container), or where one of them is connected to a private address, which
    may be a container on this host.
    """
    listeners: dict[int, set[int]] = {}
    for item in sockets:
        if item.remote is None and item.pid is not None:
            listeners.setdefault(item.port, set()).add(item.pid)
    pids, asked, wanted, complete = set[int](), set[int](), set(ports), True
    while wanted:
        asked |= wanted
        complete = complete and all(port in listeners for port in wanted)
        new = {pid for port in wanted for pid in listeners.get(port, ())} - pids
        pids |= new
        wanted = set()
        for item in sockets:
            # What came in to a listening port is a client.
            if (
                item.pid not in new
                or item.remote is None
                or item.pid in listeners.get(item.port, ())
            ):
                continue
            address, port = item.remote
            if is_this_host(address):
                wanted.add(port)
            elif not _is_elsewhere(address):
                complete = False
        wanted -= asked
    return Found(frozenset(pids), complete)


def is_this_host(address: str) -> bool:
    """Whether an IP address is a loopback one, or one of this host's interfaces."""
    if ipaddress.ip_address(address).is_loopback:
        return True
    own = psutil.net_if_addrs().values()
    return any(item.address == address for interface in own for item in interface)


def _is_elsewhere(address: str) -> bool:
    return ipaddress.ip_address(address).is_global


class Servers:
    """The processes of this host behind some URLs. They are looked for again as time passes: a
    router connects to its engine only once the load is on."""

    def __init__(self, urls: Iterable[str]) -> None:
        self._ports: set[int] = set()
        self.complete = True
        """Whether every process of this host that serves the URLs is known."""
        for url in urls:
            self._take(url)
        self._looks = 0
        self._pids: frozenset[int] = frozenset()
        self.pids()

    def pids(self) -> list[int]:
        """Return the processes known by now; meant to be called once a second."""
        if self._ports and (self._looks < FIRST_LOOKS or self._looks % LOOK_EVERY == 0):
            found = serving(self._ports, connections())
            # What was seen once stays: a connection may be closed between two requests.
            self._pids |= found.pids
            self.complete = self.complete and found.complete
        self._looks += 1
        return sorted(self._pids)

    def _take(self, url: str) -> None:
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        try:
            answers = socket.getaddrinfo(parts.hostname, port, type=socket.SOCK_STREAM)
        except OSError:
            self.complete = False
            return
        for *_, address in answers:
            name = str(address[0]).partition("%")[0]
            if is_this_host(name):
                self._ports.add(port)
            elif not _is_elsewhere(name):
                self.complete = False
