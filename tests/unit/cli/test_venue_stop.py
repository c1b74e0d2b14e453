"""What a command hears of the venue's limits reaches the board and the disk of its host."""

from __future__ import annotations

from pathlib import Path

from grinder.adapters.binance.ban import BanFile
from grinder.adapters.board import attach_operator, attach_reader, create_board
from grinder.adapters.flatten import Silent
from grinder.cli.acts import scene
from grinder.cli.venue_stop import HostStops
from grinder.model.board import Word
from grinder.model.units import NS_PER_MS
from tests.smoke.conditions import wait_for


def test_stops_when_a_command_is_told_then_the_tree_and_later_runs_know_it(run_dir: Path, state_dir: Path) -> None:
    create_board(run_dir)
    where = scene()
    now_boot_ns = where.clock.boot_ns()
    paused_ns, banned_ns = now_boot_ns + 600_000 * NS_PER_MS, now_boot_ns + 900_000 * NS_PER_MS
    stops = HostStops(where)
    for _ in range(2):
        stops.pause(paused_ns)
        stops.ban(banned_ns)
    assert (stops.paused_until_boot_ns, stops.banned_until_boot_ns) == (paused_ns, banned_ns)
    board = attach_reader(run_dir)
    wait_for(lambda: board.read(Word.PAUSE_OPERATOR_BOOT_NS) == paused_ns, "the pause on the board")
    wait_for(lambda: board.read(Word.BAN_OPERATOR_BOOT_NS) == banned_ns, "the ban on the board")
    board.close()
    kept = BanFile(where.state_dir, where.settings.venue_rest_url, clock=where.clock, log=Silent())
    wait_for(lambda: 800_000 < kept.left_ms() <= 900_000, "the ban on the disk")


def test_stops_when_others_were_told_before_then_an_exit_asks_all_the_same_and_a_look_waits(
    run_dir: Path, state_dir: Path
) -> None:
    create_board(run_dir)
    with attach_operator(run_dir) as board:
        board.write(Word.BAN_OPERATOR_BOOT_NS, 7)
        board.write(Word.PAUSE_OPERATOR_BOOT_NS, 5)
    exits, looks = HostStops(scene()), HostStops(scene(), listens=True)
    assert (exits.paused_until_boot_ns, exits.banned_until_boot_ns) == (0, 0)
    assert (looks.paused_until_boot_ns, looks.banned_until_boot_ns) == (5, 7)


def test_stops_when_there_is_no_board_then_only_the_disk_knows(run_dir: Path, state_dir: Path) -> None:
    where = scene()
    HostStops(where).ban(where.clock.boot_ns() + 900_000 * NS_PER_MS)
    kept = BanFile(where.state_dir, where.settings.venue_rest_url, clock=where.clock, log=Silent())
    wait_for(lambda: kept.left_ms() > 0, "the ban on the disk")
