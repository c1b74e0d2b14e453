"""No network for a process that works on recorded data: only this host's own addresses and unix sockets stay open.

Python's own sockets are stopped by an audit hook, which cannot be removed again. uvloop connects without passing
there, so the three calls of its loop that reach out are narrowed too. Must be installed before the first connection,
and never in a process that needs a real venue.

Source: Python documentation, audit events table (socket.connect, socket.sendto, socket.getaddrinfo), 3.11; uvloop
0.23 raises none of them in create_connection, create_datagram_endpoint and getaddrinfo.
"""

from __future__ import annotations

import ipaddress
import socket
import sys
from collections.abc import Callable
from functools import wraps
from typing import Any, Final

import uvloop

_LOCAL_NAMES: Final = frozenset({"", "localhost", "ip6-localhost"})
_REMOTE_ADDRESS_EVENTS: Final = frozenset({"socket.connect", "socket.sendto", "socket.sendmsg"})
_NAME_EVENTS: Final = frozenset({"socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"})
_INTERNET_FAMILIES: Final = frozenset({socket.AF_INET, socket.AF_INET6})


class NetworkBlockedError(OSError):
    """An attempt to reach beyond this host while it works on recorded data; the text says where to."""


def is_local(host: object) -> bool:
    """Tell whether a host, a name or an address as text or bytes, can only be this one; None is."""
    name = host.decode("ascii", "replace") if isinstance(host, bytes | bytearray) else str(host or "")
    if name.lower() in _LOCAL_NAMES:
        return True
    try:
        return ipaddress.ip_address(name.partition("%")[0]).is_loopback
    except ValueError:
        return False


def install_airgap() -> None:
    """Refuse every connection, datagram and name look-up beyond this host, for the rest of the process's life.

    Calls that are refused raise NetworkBlockedError.
    """
    sys.addaudithook(_on_audit)
    for name, host_of in _LOOP_CALLS.items():
        setattr(uvloop.Loop, name, _narrowed(getattr(uvloop.Loop, name), host_of))


def _on_audit(event: str, arguments: tuple[Any, ...]) -> None:
    if event in _REMOTE_ADDRESS_EVENTS:
        sock, address = arguments[0], arguments[1]
        # No address: the datagram goes where the socket was connected to, which was checked then.
        if sock.family in _INTERNET_FAMILIES and address is not None:
            _require_local(address[0])
        elif sock.family not in _INTERNET_FAMILIES and sock.family != socket.AF_UNIX:
            raise NetworkBlockedError(f"no network with recorded data: socket family {sock.family}")
    elif event in _NAME_EVENTS:
        _require_local(arguments[0])


def _require_local(host: object) -> None:
    if not is_local(host):
        raise NetworkBlockedError(f"no network with recorded data: {host!r} is not this host")


def _host_of_connection(factory: object, host: object = None, *arguments: object, **options: object) -> object:
    return options.get("host", host)


def _host_of_datagrams(factory: object, local: object = None, remote: Any = None, **options: Any) -> object:
    address = options.get("remote_addr", remote)
    return address[0] if address else None


def _host_of_lookup(host: object, *arguments: object, **options: object) -> object:
    return host


_LOOP_CALLS: Final[dict[str, Callable[..., object]]] = {
    "create_connection": _host_of_connection,
    "create_datagram_endpoint": _host_of_datagrams,
    "getaddrinfo": _host_of_lookup,
}


def _narrowed(call: Callable[..., Any], host_of: Callable[..., object]) -> Callable[..., Any]:
    """Return a loop's coroutine function that refuses hosts beyond this one first."""

    @wraps(call)
    async def local_only(loop: uvloop.Loop, *arguments: Any, **options: Any) -> Any:
        _require_local(host_of(*arguments, **options))
        return await call(loop, *arguments, **options)

    return local_only
