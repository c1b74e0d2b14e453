from __future__ import annotations

from collections.abc import Callable

from grinder.core.sequence import Gap
from grinder.model.board import Word
from grinder.model.control import Process
from grinder.model.frames import Envelope, Frame, Telemetry
from grinder.model.limits import HEARTBEAT_PERIOD_MS, STOP_EXECUTOR_S_MAX, STOP_S_MAX, TIMER_PERIOD_MS
from grinder.model.orders import ResyncOrders
from grinder.services.loop import Cadence, Identity, ServiceLoop
from tests.fakes import FakeBoard, FakeClock


class RecordingService:
    """A service that writes down what it is told."""

    def __init__(self, *, stops: bool = True) -> None:
        self.calls: list[object] = []
        self.stops = stops
        self.stopped = False
        self.reason = ""

    def on_start(self) -> None:
        self.calls.append("start")

    def on_envelope(self, envelope: Envelope[Frame]) -> None:
        self.calls.append(envelope.seq)

    def on_gap(self, channel: str, missing: int) -> None:
        self.calls.append((channel, missing))

    def on_timer(self) -> None:
        self.calls.append("timer")

    def on_stop(self) -> None:
        self.calls.append("stop")
        self.stopped = self.stops

    def readiness(self) -> str:
        return self.reason

    def input_seen_mono_ns(self) -> dict[str, int]:
        return {"market": 5}


class RecordingLog:
    def __init__(self) -> None:
        self.names: list[str] = []

    def event(self, name: str, **fields: object) -> None:
        self.names.append(name)


class RecordingPublisher:
    def __init__(self) -> None:
        self.frames: list[Frame] = []

    def send(self, frame: Frame) -> bool:
        self.frames.append(frame)
        return True


class Rig:
    def __init__(self, process: Process = Process.FSM, *, stops: bool = True) -> None:
        self.clock = FakeClock()
        self.board = FakeBoard()
        self.log = RecordingLog()
        self.out = RecordingPublisher()
        self.service = RecordingService(stops=stops)
        snapshot: Callable[[], Telemetry] = lambda: Telemetry(process, 1, 2, (), (), self.clock.mono_ns())  # noqa: E731
        identity = Identity(process, 1, 2, self.clock.mono_ns())
        self.loop = ServiceLoop(self.service, identity, self.clock, self.board, self.log, snapshot, self.out)

    def run_ms(self, duration_ms: int) -> None:
        end = self.clock.mono_ns() + duration_ms * 1_000_000
        while self.clock.mono_ns() < end:
            self.clock.advance_ms(self.loop.tick())


def test_start_when_called_then_service_starts_and_shows_on_the_board() -> None:
    rig = Rig()
    rig.loop.start()
    assert rig.service.calls == ["start"]
    beat = rig.board.records[Process.FSM]
    assert (beat.pid, beat.incarnation, beat.ready, beat.input_seen_mono_ns) == (1, 2, True, {"market": 5})


def test_deliver_when_frames_and_gaps_come_then_in_order() -> None:
    rig = Rig()
    frame = ResyncOrders(0)
    rig.loop.deliver([Envelope(1, 1, 0, 0, frame), Gap("orders", 3), Envelope(5, 1, 0, 0, frame)])
    assert rig.service.calls == [1, ("orders", 3), 5]
    assert rig.log.names == ["BUS_GAP"]


def test_tick_when_a_second_passes_then_timer_beat_and_telemetry_keep_their_periods() -> None:
    rig = Rig()
    rig.loop.start()
    rig.run_ms(1_010)
    assert rig.service.calls.count("timer") == 1_000 // TIMER_PERIOD_MS
    assert len(rig.out.frames) == 4
    age_ms = (rig.clock.mono_ns() - rig.board.words[Word.HEARTBEAT_FSM_MONO_NS]) / 1_000_000
    assert age_ms <= HEARTBEAT_PERIOD_MS


def test_tick_when_time_jumps_then_missed_timers_are_not_made_up_for() -> None:
    rig = Rig()
    rig.clock.advance_ms(10_000)
    rig.loop.tick()
    rig.loop.tick()
    assert rig.service.calls == ["timer"]


def test_cadence_when_taken_a_little_late_then_the_next_is_on_the_grid() -> None:
    cadence = Cadence(50, 0)
    assert not cadence.take(49_000_000)
    assert cadence.take(60_000_000)
    assert cadence.due_mono_ns == 100_000_000


def test_heartbeat_when_service_is_not_ready_then_it_says_why() -> None:
    rig = Rig()
    rig.service.reason = "no market data"
    rig.loop.start()
    beat = rig.board.records[Process.FSM]
    assert (beat.ready, beat.not_ready_reason) == (False, "no market data")


def test_stop_when_asked_twice_then_service_is_told_once() -> None:
    rig = Rig(stops=False)
    rig.loop.request_stop()
    rig.loop.request_stop()
    assert rig.service.calls == ["stop"]
    assert not rig.loop.finished


def test_stop_when_service_does_not_finish_then_its_time_ends() -> None:
    for process, bound_s in ((Process.FSM, STOP_S_MAX), (Process.EXECUTOR, STOP_EXECUTOR_S_MAX)):
        rig = Rig(process, stops=False)
        rig.loop.request_stop()
        rig.clock.advance_ms(bound_s * 1_000 - 1)
        assert not rig.loop.finished
        rig.clock.advance_ms(1)
        assert rig.loop.finished
        rig.loop.finish()
        assert "STOP_TIMEOUT" in rig.log.names


def test_finish_when_stopped_then_board_shows_it_and_last_counts_are_sent() -> None:
    rig = Rig()
    rig.loop.start()
    rig.loop.request_stop()
    assert rig.loop.finished
    rig.loop.finish()
    assert rig.board.records[Process.FSM].not_ready_reason == "stopped"
    assert len(rig.out.frames) == 1
    assert rig.log.names == ["STARTED", "STOPPING", "STOPPED"]
