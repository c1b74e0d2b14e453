"""The block cannot be removed again, so every attempt is made in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from grinder.adapters.airgap import is_local

PROJECT = Path(__file__).parents[3]
OUTSIDE = "192.0.2.1"
"""An address reserved for documentation: nothing answers there, were it tried."""

PRELUDE = """
import asyncio, socket, sys, tempfile, urllib.request
import uvloop
from grinder.adapters.airgap import NetworkBlockedError, install_airgap
from grinder.adapters.binance.connection import ConnectError, open_frames
install_airgap()
def blocked(call):
    try:
        call()
    except NetworkBlockedError:
        print("BLOCKED")
    except OSError as error:
        print("REACHED", type(error).__name__)
    else:
        print("REACHED")
"""
ATTEMPTS = {
    "connect": f"blocked(lambda: socket.create_connection(('{OUTSIDE}', 9), 0.2))",
    "connect_ex": f"blocked(lambda: socket.socket().connect_ex(('{OUTSIDE}', 9)))",
    "sendto": f"blocked(lambda: socket.socket(type=socket.SOCK_DGRAM).sendto(b'x', ('{OUTSIDE}', 9)))",
    "ipv6": "blocked(lambda: socket.socket(socket.AF_INET6, socket.SOCK_DGRAM).connect(('2001:db8::1', 9)))",
    "look-up": "blocked(lambda: socket.getaddrinfo('example.com', 443))",
    "websocket": f"""
async def attempt():
    await open_frames('ws://{OUTSIDE}:9/x', on_frame=print, on_lost=print)
blocked(lambda: uvloop.run(attempt()))""",
    "loop look-up": """
async def attempt():
    await asyncio.get_running_loop().getaddrinfo('example.com', 443)
blocked(lambda: uvloop.run(attempt()))""",
    "loop datagram": f"""
async def attempt():
    loop = asyncio.get_running_loop()
    await loop.create_datagram_endpoint(asyncio.DatagramProtocol, remote_addr=('{OUTSIDE}', 9))
blocked(lambda: uvloop.run(attempt()))""",
    "loop connection by name": """
async def attempt():
    await asyncio.get_running_loop().create_connection(asyncio.Protocol, host='example.com', port=443)
blocked(lambda: uvloop.run(attempt()))""",
    "plain asyncio": f"""
async def attempt():
    await asyncio.open_connection('{OUTSIDE}', 9)
blocked(lambda: asyncio.run(attempt()))""",
}
LOCAL = """
server = socket.create_server(('127.0.0.1', 0))
socket.create_connection(server.getsockname()).close()
async def over_loop():
    reader, writer = await asyncio.open_connection('localhost', server.getsockname()[1])
    writer.close()
    a, b = socket.socketpair()
    a.sendall(b'x')
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, remote_addr=('127.0.0.1', 9))
    transport.close()
uvloop.run(over_loop())
unix = socket.socket(socket.AF_UNIX)
path = tempfile.mkdtemp(dir='/tmp') + '/s'
listener = socket.socket(socket.AF_UNIX)
listener.bind(path)
listener.listen()
unix.connect(path)
print("OPEN")
"""


def run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "ignore::ResourceWarning", "-c", PRELUDE + code],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_airgap_when_installed_then_no_way_out() -> None:
    output = run("\n".join(f"print({name!r}, end=' ')\n{attempt}" for name, attempt in ATTEMPTS.items()))
    assert output.splitlines() == [f"{name} BLOCKED" for name in ATTEMPTS]


def test_airgap_when_installed_then_this_host_is_still_open() -> None:
    assert run(LOCAL) == "OPEN"


@pytest.mark.parametrize("host", [None, "", "localhost", "127.0.0.1", "127.9.9.9", b"127.0.0.1", "::1", "::1%lo"])
def test_host_when_of_this_machine_then_local(host: object) -> None:
    assert is_local(host)


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "10.0.0.1", OUTSIDE, "example.com", "localhost.example.com", b"\xff", "::2"]
)
def test_host_when_anything_else_then_not_local(host: object) -> None:
    assert not is_local(host)
