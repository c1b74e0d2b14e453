"""A supervisord that is only its XML-RPC interface: knows programs, stops them, remembers what it was asked."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from xmlrpc.client import Fault
from xmlrpc.server import SimpleXMLRPCDispatcher, SimpleXMLRPCRequestHandler

from grinder.adapters.supervisor_client import SUPERVISOR_SOCKET

BAD_NAME, FAILED, NOT_RUNNING = 10, 30, 70


class Handler(SimpleXMLRPCRequestHandler):
    rpc_paths = ("/RPC2",)
    disable_nagle_algorithm = False

    def address_string(self) -> str:
        return "local"

    def log_request(self, code: object = "-", size: object = "-") -> None:
        """Say nothing."""


class Server(socketserver.ThreadingUnixStreamServer, SimpleXMLRPCDispatcher):
    daemon_threads = True

    def __init__(self, path: str) -> None:
        SimpleXMLRPCDispatcher.__init__(self, allow_none=True)
        socketserver.ThreadingUnixStreamServer.__init__(self, path, Handler)


class FakeSupervisord:
    """What the socket answers. ``stubborn``: programs that it fails to stop."""

    def __init__(self, running: tuple[str, ...], stubborn: tuple[str, ...] = ()) -> None:
        self.running = list(running)
        self.stubborn = stubborn
        self.calls: list[str] = []
        self.server: Server | None = None

    def getPID(self) -> int:
        return 4242

    def getAllProcessInfo(self) -> list[dict[str, object]]:
        return [
            {"name": name, "statename": "RUNNING", "pid": 7, "description": "pid 7, uptime 0:00:01"}
            for name in self.running
        ]

    def stopProcess(self, name: str, wait: bool) -> bool:
        self.calls.append(f"stop {name}")
        assert wait
        if name in self.stubborn:
            raise Fault(FAILED, f"FAILED: {name}")
        if name not in self.running:
            raise Fault(NOT_RUNNING, f"NOT_RUNNING: {name}")
        self.running.remove(name)
        return True

    def shutdown(self) -> bool:
        self.calls.append("shutdown")
        assert self.server is not None
        threading.Thread(target=self._end).start()
        return True

    def _end(self) -> None:
        assert self.server is not None
        Path(str(self.server.server_address)).unlink()
        self.server.shutdown()


@contextmanager
def served(run_dir: Path, fake: FakeSupervisord) -> Iterator[FakeSupervisord]:
    """Answer on the socket of ``run_dir`` until the block ends."""
    server = Server(str(run_dir / SUPERVISOR_SOCKET))
    fake.server = server
    for method in (fake.getPID, fake.getAllProcessInfo, fake.stopProcess, fake.shutdown):
        server.register_function(method, f"supervisor.{method.__name__}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield fake
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
