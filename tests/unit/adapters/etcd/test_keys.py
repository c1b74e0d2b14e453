"""What stands in a key, as a record: whatever else it holds counts as unreadable, and nothing else is raised."""

from __future__ import annotations

from types import SimpleNamespace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from grinder.adapters.etcd.keys import NOBODY, Keys, ViewHeader, decode, decode_number, encode, view_of
from grinder.model.cluster import ArmRecord, LeaderRecord, NodeRecord, OverrideRecord, SharedSettings, TripRecord
from grinder.model.control import HaRole
from grinder.model.errors import PayloadError
from grinder.model.limits import ETCD_LEASE_TTL_S_MAX, ETCD_VALUE_BYTES_MAX, TERM_MAX

SHARED = SharedSettings("grd", "BTCUSDT,ETHUSDT", "live_trade", "futures", "https://fapi.binance.com")
LEADER = LeaderRecord(node="a", host="h", boot_id="b", pid=7, utc_ms=1, ttl_s=ETCD_LEASE_TTL_S_MAX, settings=SHARED)
NODE = NodeRecord("a", "h", HaRole.STANDBY, TERM_MAX, "", 0, "", 5)
ARM = ArmRecord("arm", TERM_MAX, ("t",), "op", "", 3)
KINDS = (LeaderRecord, NodeRecord, ArmRecord, TripRecord, OverrideRecord)
KEYS = Keys("c")


@pytest.mark.parametrize("record", [LEADER, NODE, ARM])
def test_decode_when_at_the_bound_then_read(record: msgspec.Struct) -> None:
    assert decode(type(record), encode(record)) == record


@pytest.mark.parametrize(
    "record",
    [
        msgspec.structs.replace(LEADER, ttl_s=ETCD_LEASE_TTL_S_MAX + 1),
        msgspec.structs.replace(LEADER, ttl_s=10**17),
        msgspec.structs.replace(LEADER, ttl_s=-1),
        msgspec.structs.replace(NODE, term=TERM_MAX + 1),
        msgspec.structs.replace(NODE, term=-1),
        msgspec.structs.replace(ARM, epoch_base=TERM_MAX + 1),
        msgspec.structs.replace(ARM, epoch_base=-1),
    ],
)
def test_decode_when_beyond_the_bound_then_unreadable(record: msgspec.Struct) -> None:
    with pytest.raises(PayloadError, match="Expected `int`"):
        decode(type(record), encode(record))


def test_decode_when_an_older_release_wrote_it_then_its_settings_are_not_known() -> None:
    written = b'{"node":"a","host":"h","boot_id":"b","pid":7,"utc_ms":1,"ttl_s":5}'
    assert decode(LeaderRecord, written).settings == SharedSettings()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("field", ["node", "host", "arm_id", "trip_id", "who", "operator"])
def test_decode_when_a_text_is_not_utf_8_then_unreadable(kind: type[msgspec.Struct], field: str) -> None:
    with pytest.raises(PayloadError):
        decode(kind, b'{"' + field.encode() + b'":"\xff"}')


@given(
    st.sampled_from(KINDS), st.binary(max_size=200) | st.binary(max_size=60).map(lambda text: b'{"node":"%s"}' % text)
)
def test_decode_when_anything_is_in_it_then_a_record_or_unreadable(kind: type[msgspec.Struct], value: bytes) -> None:
    try:
        assert isinstance(decode(kind, value), kind)
    except PayloadError:
        return


@given(st.binary(max_size=50) | st.integers().map(lambda number: str(number).encode()))
def test_number_when_anything_is_in_it_then_within_bounds_or_unreadable(value: bytes) -> None:
    try:
        assert 0 <= decode_number(value) <= TERM_MAX
    except PayloadError:
        return


@pytest.mark.parametrize("value", [b"[" * ETCD_VALUE_BYTES_MAX, b'{"x":' + b"[" * 9_000, b"9" * 5_000, b"1" * 20])
def test_decode_when_it_is_deep_or_long_then_unreadable(value: bytes) -> None:
    with pytest.raises(PayloadError):
        decode_number(value)
    with pytest.raises(PayloadError):
        decode(NodeRecord, value)


def test_view_when_keys_were_written_by_hand_then_absent_named_and_the_rest_is_read() -> None:
    def pair(key: bytes, value: bytes) -> SimpleNamespace:
        return SimpleNamespace(key=key, value=value, create_revision=1, mod_revision=1, lease=0)

    forever = encode(msgspec.structs.replace(LEADER, ttl_s=10**9))
    pairs = [
        pair(KEYS.leader, forever),
        pair(KEYS.elected, forever),
        pair(KEYS.epoch, b"9223372036854775807"),
        pair(KEYS.node("a"), encode(NODE)),
        pair(KEYS.node("b"), encode(msgspec.structs.replace(NODE, node="b", term=1 << 62))),
        pair(KEYS.node("c"), b'{"node":"\xff"}'),
    ]
    view = view_of(KEYS, ViewHeader(1, 1, 1, 1, 1), pairs)
    assert view.leader is not None
    assert (view.leader.value, view.nodes, view.epoch_base) == (NOBODY, (NODE,), 0)
    named = [problem.partition(" cannot be read: ")[0] for problem in view.problem.split("; ")]
    assert sorted(named) == ["key elected", "key epoch", "key leader", "key node/b", "key node/c"]
