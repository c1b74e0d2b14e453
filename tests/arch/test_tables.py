"""Tables agree with each other: settings, options, processes, programs, channels, board words, metrics, commands."""

from __future__ import annotations

import re
import typing
from configparser import RawConfigParser
from importlib.util import find_spec

import pytest

from grinder.cli.main import COMMANDS
from grinder.model.board import TRIP_WORDS, WRITERS, Word
from grinder.model.channels import CHANNELS, TELEMETRY
from grinder.model.control import TREE, Process
from grinder.model.limits import STOP_EXECUTOR_S_MAX, STOP_S_MAX
from grinder.model.metric import Kind
from grinder.model.metrics import METRICS
from grinder.settings import FILE_SUFFIX, VARIABLES, Settings
from grinder.settings.guards import RULES
from grinder.settings.table import CREDENTIALS_DIRECTORY, RETIRED
from tests.arch.sources import ROOT, name_of, project_files, python_files

RESOLVED_ONLY = {"venue_embedded"}
JUDGED_ONLY = {"trading_loop_ack", "real_port_ack", "max_orders_ack"}
"""Settings that only the guards look at."""
AWAITED = {
    "fill_model_dir", "fill_prob_enforce_symbols", "fill_prob_eval_dir", "fill_prob_auto_threshold",
    "fill_prob_eval_max_age_hours", "fill_prob_evidence",
}  # fmt: skip
"""Settings of the fill model, which fail closed until there is one."""
BANNED_LABELS = {"symbol", "order_id", "key", "client_id"}
RUNBOOK_VARIABLES = (
    "GRINDER_FSM_ENABLED", "GRINDER_TRADING_MODE", "GRINDER_TRADING_LOOP_ACK", "ALLOW_MAINNET_TRADE",
    "GRINDER_REAL_PORT_ACK", "BINANCE_API_KEY", "BINANCE_API_SECRET", "GRINDER_EMERGENCY_EXIT_ENABLED",
    "GRINDER_ACCOUNT_SYNC_ENABLED", "GRINDER_HA_ENABLED", "GRINDER_OPERATOR_OVERRIDE", "GRINDER_FSM_EVIDENCE",
    "GRINDER_ARTIFACT_DIR", "GRINDER_SOR_ENABLED", "GRINDER_FILL_MODEL_ENFORCE", "GRINDER_FILL_MODEL_DIR",
    "GRINDER_FILL_PROB_EVAL_DIR", "GRINDER_FILL_PROB_AUTO_THRESHOLD", "GRINDER_FILL_PROB_ENFORCE_SYMBOLS",
    "GRINDER_FILL_PROB_MIN_BPS", "GRINDER_MAX_ORDERS_ACK",
)  # fmt: skip
RUNBOOK_OPTIONS = (
    "--symbols", "--mainnet", "--armed", "--exchange-port", "--max-notional-per-order", "--max-orders-per-run",
    "--fixture", "--duration-s", "--metrics-port", "--paper-size-per-level", "--paper-spacing-bps", "--paper-levels",
    "--paper-cooldown-ms",
)  # fmt: skip


def supervisord() -> RawConfigParser:
    config = RawConfigParser()
    config.read(ROOT / "conf" / "supervisord.conf")
    return config


def test_settings_when_compared_with_the_table_then_every_row_has_its_field() -> None:
    assert set(Settings.__struct_fields__) - RESOLVED_ONLY == {row.attribute for row in VARIABLES.values()}


@pytest.mark.parametrize("name", RUNBOOK_VARIABLES)
def test_variable_of_the_runbook_when_looked_up_then_it_exists(name: str) -> None:
    assert name in VARIABLES


def test_options_when_compared_with_the_runbook_then_they_are_the_same() -> None:
    assert {row.flag for row in VARIABLES.values() if row.flag} == set(RUNBOOK_OPTIONS)


def test_rules_when_read_then_each_names_variables_that_exist() -> None:
    assert all(name in VARIABLES for rule in RULES for name in rule.names)


def test_names_in_pages_and_files_when_looked_up_then_each_is_a_variable() -> None:
    known = {*VARIABLES, *RETIRED, *(row.name + FILE_SUFFIX for row in VARIABLES.values() if row.secret)}
    known |= {"GRINDER_TEST_DATA"}
    unknown: dict[str, set[str]] = {}
    for path in project_files():
        if name_of(path).startswith("tests/") or path.suffix not in {".py", ".md", ".conf", ".env", ".example", ".sh"}:
            continue
        names = set(re.findall(r"\bGRINDER_[A-Z0-9_]*[A-Z0-9]\b(?!_?\*)", path.read_text())) - known
        if names:
            unknown[name_of(path)] = names
    assert not unknown


def test_settings_when_searched_for_then_each_is_used_by_somebody() -> None:
    text = "".join(
        path.read_text()
        for path in python_files("grinder", "procs")
        if not name_of(path).startswith("grinder/settings/") or path.stem == "endpoints"
    )
    names = {row.attribute: row.name for row in VARIABLES.values()}
    unused = {
        field
        for field in Settings.__struct_fields__
        if not re.search(rf"\.{field}\b", text) and f'"{names[field]}"' not in text
    }
    assert unused == JUDGED_ONLY | AWAITED


def test_programs_when_compared_with_the_processes_then_they_are_the_same_in_start_order() -> None:
    config = supervisord()
    programs = [section.removeprefix("program:") for section in config.sections() if section.startswith("program:")]
    priorities = {name: config.getint(f"program:{name}", "priority") for name in programs}
    assert sorted(programs, key=priorities.__getitem__) == [process.value for process in Process]
    assert len(set(priorities.values())) == len(priorities)


@pytest.mark.parametrize("process", Process)
def test_program_when_it_may_not_see_a_secret_then_it_is_blanked(process: Process) -> None:
    environment = supervisord().get(f"program:{process}", "environment", fallback="")
    for row in VARIABLES.values():
        if not row.secret:
            continue
        names = (row.name, row.name + FILE_SUFFIX, CREDENTIALS_DIRECTORY)
        blanked = [f'{name}=""' in environment for name in names]
        assert blanked == [not row.visible_to(process)] * len(names)


@pytest.mark.parametrize("process", Process)
def test_program_when_stopped_then_supervisord_waits_longer_than_it_may_take(process: Process) -> None:
    bound_s = STOP_EXECUTOR_S_MAX if process is Process.EXECUTOR else STOP_S_MAX
    assert supervisord().getint(f"program:{process}", "stopwaitsecs") > bound_s


@pytest.mark.parametrize("process", Process)
def test_program_when_looked_up_then_it_has_its_module(process: Process) -> None:
    assert supervisord().get(f"program:{process}", "command").endswith(f"-m procs.{process}")
    assert find_spec(f"procs.{process}") is not None


def test_channels_when_compared_with_the_processes_then_every_process_takes_part() -> None:
    taking_part = {process for channel in CHANNELS for process in channel.publishers + channel.consumers}
    assert taking_part == set(TREE)
    assert set(TELEMETRY.publishers) == set(TREE) - {Process.METRICS}


def test_frames_when_collected_then_each_travels_on_one_channel() -> None:
    frames = [frame for channel in CHANNELS for frame in (typing.get_args(channel.frame) or (channel.frame,))]
    assert len(frames) == len(set(frames))


def test_board_words_when_compared_with_the_processes_then_each_process_has_its_own() -> None:
    for kind in ("TRIP", "HEARTBEAT", "INCARNATION", "PID", "STARTS"):
        owners = [WRITERS[word] for word in Word if word.name.startswith(f"{kind}_") and WRITERS[word] is not None]
        assert sorted(map(str, owners)) == sorted(map(str, TREE))
    assert set(TRIP_WORDS) == {word for word in Word if word.name.startswith("TRIP_")}


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_metric_when_read_then_its_names_keep_the_rules(metric: typing.Any) -> None:
    assert re.fullmatch(r"grinder_[a-z0-9_]+", metric.name)
    assert metric.help
    assert not set(metric.labels) & BANNED_LABELS
    assert (metric.kind is Kind.COUNTER) == metric.name.endswith("_total")
    assert bool(metric.buckets) == (metric.kind is Kind.HISTOGRAM)


def test_metrics_when_looked_up_then_the_code_feeds_each() -> None:
    table = ROOT / "grinder" / "model" / "metrics.py"
    code = "".join(path.read_text() for path in python_files("grinder", "procs") if path != table)
    assert [metric.name for metric in METRICS if f'"{metric.name}"' not in code] == []


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_command_when_looked_up_then_it_has_its_module(command: typing.Any) -> None:
    assert find_spec(f"grinder.cli.{command.module}") is not None
