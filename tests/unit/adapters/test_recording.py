from __future__ import annotations

from io import BytesIO
from pathlib import Path

import pytest

from grinder.adapters.recording import RecordingFile, open_recording
from grinder.cli.main import main
from grinder.core.events import Timer
from grinder.core.losses import NOTHING_LOST
from grinder.core.recording import MAGIC, Header, decision_record, header_record, read_records, replay
from grinder.model.errors import PayloadError
from grinder.model.limits import RECORD_BYTES_MAX, RECORDING_QUEUE_MAX
from tests.engine_world import START_NS, World, config
from tests.market import RecordingLog, RecordingTelemetry


@pytest.fixture(scope="module")
def world() -> World:
    world = World(config())
    world.calm(8)
    return world


def write(path: Path, world: World) -> None:
    with open_recording(str(path), RecordingLog(), RecordingTelemetry()) as sink:
        assert sink is not None
        sink.begin(Header(world.config, START_NS, NOTHING_LOST, False))
        for event, effects in zip(world.events, world.decisions, strict=True):
            sink.record(event, effects)


def test_recording_when_closed_then_every_decision_is_in_the_file_and_replays(world, tmp_path) -> None:
    path = tmp_path / "sub" / "decisions"
    write(path, world)
    with path.open("rb") as source:
        found = replay(source)
    assert (found.steps, found.difference, found.torn) == (len(world.events), None, False)
    assert found.effects == len(world.effects)


def test_recording_when_a_file_is_there_already_then_it_is_moved_aside(world, tmp_path) -> None:
    path = tmp_path / "decisions"
    path.write_text("older")
    write(path, world)
    assert sorted(other.read_text() for other in tmp_path.iterdir() if other != path) == ["older"]


def test_recording_when_no_file_is_named_then_none() -> None:
    with open_recording("", RecordingLog(), RecordingTelemetry()) as sink:
        assert sink is None


def test_recording_when_it_cannot_be_written_then_logged_and_trading_goes_on(tmp_path) -> None:
    (tmp_path / "file").write_text("")
    log = RecordingLog()
    with open_recording(str(tmp_path / "file" / "below"), log, RecordingTelemetry()) as sink:
        assert sink is None
    assert log.names() == ["RECORDING_FAILED"]


def test_recording_when_its_queue_is_full_then_it_ends_and_says_so(world) -> None:
    log, telemetry = RecordingLog(), RecordingTelemetry()
    recording = RecordingFile(BytesIO(), log, telemetry)
    for _ in range(RECORDING_QUEUE_MAX + 2):
        recording.record(Timer(1), ())
    assert log.names() == ["RECORDING_ENDED"]
    assert telemetry.counts["grinder_fsm_recording_lost_total",] == 1


class Broken(BytesIO):
    def write(self, data: object) -> int:
        raise OSError("no space left")


def test_recording_when_the_disk_is_full_then_it_ends_and_says_so(world) -> None:
    log = RecordingLog()
    recording = RecordingFile(Broken(), log, RecordingTelemetry())
    recording.begin(Header(world.config, START_NS, NOTHING_LOST, False))
    recording.close()
    assert log.events == [("RECORDING_ENDED", {"why": "no space left"})]


def test_records_when_the_end_is_torn_then_said_after_the_whole_ones(world) -> None:
    data = header_record(Header(world.config, START_NS, NOTHING_LOST, False)) + decision_record(Timer(START_NS), ())
    for cut in (1, 5):
        found = replay(BytesIO(data + decision_record(Timer(START_NS + 1), ())[:-cut]))
        assert (found.steps, found.torn) == (1, True)
    assert replay(BytesIO(data + b"\x00")).torn
    assert replay(BytesIO(MAGIC)).torn


@pytest.mark.parametrize(
    "data",
    [b"", b"something else entirely", MAGIC + (RECORD_BYTES_MAX + 1).to_bytes(4, "big"), MAGIC + b"\0\0\0\1\xc1"],
)
def test_records_when_it_is_no_recording_then_refused(data) -> None:
    with pytest.raises(PayloadError):
        replay(BytesIO(data))
    assert list(read_records(BytesIO(MAGIC))) == []


def test_replay_command_when_equal_then_0_when_different_1_when_unreadable_2(world, tmp_path, capsys) -> None:
    path = tmp_path / "decisions"
    write(path, world)
    assert main(["replay", str(path)]) == 0
    assert "every decision the same" in capsys.readouterr().out
    assert main(["replay", "--json", str(path)]) == 0
    assert '"difference":null' in capsys.readouterr().out

    number = next(index for index, effects in enumerate(world.decisions) if effects)
    records = [*world.decisions[:number], ()]
    header = header_record(Header(world.config, START_NS, NOTHING_LOST, False))
    path.write_bytes(header + b"".join(map(decision_record, world.events, records)))
    assert main(["replay", str(path)]) == 1
    assert f"step {number + 1} differs" in capsys.readouterr().out

    assert main(["replay", str(tmp_path / "absent")]) == 2
    path.write_bytes(b"no recording")
    assert main(["replay", str(path)]) == 2
    assert "not a recording" in capsys.readouterr().err
