"""Ed25519 keys against the simulated venue, which verifies every signature: REST, WebSocket API, one logon for all."""

from __future__ import annotations

from typing import Any

import pytest
import uvloop
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from grinder.model.venue import Advice, Confirmed, QueryPositions, Rejected
from grinder.settings import OrderTransport
from grinder.sim.exchange.security import ApiKey
from grinder.sim.wire.assembly import VenueConfig
from tests.contract.fault_rig import KEY, SYMBOL, Rig, rig
from tests.contract.venue_server import abort, ack, eventually
from tests.contract.ws_api_rig import PLACE
from tests.contract.ws_api_rig import Rig as ApiRig
from tests.contract.ws_api_rig import run as run_api

PRIVATE = Ed25519PrivateKey.generate()
PEM = PRIVATE.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
PUBLIC = PRIVATE.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
OTHER = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
CONFIG = VenueConfig(port=0, symbols=(SYMBOL,), tape="step", keys=(ApiKey("ed-key", public_key=PUBLIC, account=KEY),))


@pytest.mark.parametrize("transport", list(OrderTransport))
def test_orders_and_questions_when_signed_with_ed25519_then_taken(transport: OrderTransport) -> None:
    async def test() -> None:
        async with rig(transport, config=CONFIG, credentials=("ed-key", PEM)) as made:
            for _ in range(20):
                request = await made.bid()
                await made.value(request)
                await made.cancel(request)
            assert await made.value(QueryPositions()) == ()
            await made.listen()

    uvloop.run(test())


@pytest.mark.parametrize("transport", list(OrderTransport))
def test_orders_when_signed_with_another_ed25519_key_then_refused(transport: OrderTransport) -> None:
    async def test() -> None:
        async with rig(transport, config=CONFIG, credentials=("ed-key", OTHER)) as made:
            reply = await made.ask(await made.bid())
            assert isinstance(reply, Rejected)
            assert reply.advice is Advice.AUTH

    uvloop.run(test())


def logons(made: Rig) -> list[object]:
    return [fields["done"] for name, fields in made.log.events if name == "VENUE_LOGON"]


def test_connection_when_it_was_cut_then_the_next_one_logs_on_again() -> None:
    async def test() -> None:
        async with rig(OrderTransport.WS_API, config=CONFIG, credentials=("ed-key", PEM)) as made:
            await eventually(lambda: logons(made) == [True])
            await made.value(await made.bid())
            await made.fault(kind="cut", stream="ws_api")
            await eventually(lambda: logons(made) == [True, True])
            await made.value(await made.bid())

    uvloop.run(test())


class Sessions:
    """A WebSocket API that answers a logon as told and keeps what it was asked."""

    def __init__(self, status: int) -> None:
        self.status = status
        self.orders: list[dict[str, Any]] = []

    async def __call__(self, socket: web.WebSocketResponse, message: dict[str, Any]) -> None:
        if message["method"] == "session.logon":
            await socket.send_json({"id": message["id"], "status": self.status, "result": {}})
            return
        self.orders.append(message["params"])
        signed_or_logged_on = "signature" in message["params"] or self.status == 200
        error = {"code": -2015, "msg": "Invalid API-key, IP, or permissions for action."}
        body = {"status": 200, "result": ack(message["params"])} if signed_or_logged_on else {"error": error}
        await socket.send_json({"id": message["id"], "status": 401} | body)


@pytest.mark.parametrize(("status", "signed"), [(200, False), (401, True)])
def test_order_when_the_connection_is_logged_on_then_unsigned_and_else_signed(status: int, signed: bool) -> None:
    sessions = Sessions(status)

    async def test(made: ApiRig) -> None:
        await eventually(lambda: "VENUE_LOGON" in made.log.names())
        assert isinstance(await (await made.send(PLACE)).only(), Confirmed)
        (params,) = sessions.orders
        assert ("signature" in params, "apiKey" in params) == (signed, signed)
        assert params["timestamp"] > 0

    run_api(test, secret=PEM, on_message=sessions)


def test_order_when_the_venue_forgets_the_logon_then_refused_once_and_signed_from_then_on() -> None:
    sessions = Sessions(200)

    async def test(made: ApiRig) -> None:
        await eventually(lambda: "VENUE_LOGON" in made.log.names())
        sessions.status = 401
        refused = await (await made.send(PLACE)).only()
        assert isinstance(refused, Rejected)
        assert refused.advice is Advice.AUTH
        assert isinstance(await (await made.send(PLACE)).only(), Confirmed)
        assert ["signature" in params for params in sessions.orders] == [False, True]
        abort(made.server.sockets[0])

    run_api(test, secret=PEM, on_message=sessions)
