"""`grinder ceremony`: what a bundle holds, what it says is missing, that it keeps no secret, that a change is seen."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from grinder.adapters.evidence import write_evidence
from grinder.cli import main
from grinder.cli.ceremony import environment_text
from grinder.model.control import Exit

ALWAYS = ("ceremony.json", "chain.json", "commit.txt", "env.txt", "latch.json", "settings.json", "status.json")


@pytest.fixture
def artifacts(run_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "artifacts"
    monkeypatch.setenv("GRINDER_ARTIFACT_DIR", str(root))
    monkeypatch.setenv("GRINDER_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("BINANCE_API_KEY", "this-is-the-key")
    monkeypatch.setenv("BINANCE_API_SECRET", "this-is-the-secret")
    write_evidence(root, "fsm", "fsm", "fsm_transition_1_INIT_READY.txt", "to_state=READY\n")
    return root


def bundle(artifacts: Path) -> Path:
    return next(path for path in artifacts.iterdir() if path.name.startswith("ceremony_"))


def test_ceremony_when_no_tree_answers_then_it_keeps_what_there_is_and_names_the_rest(
    artifacts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["ceremony", "--note", "drill"]) == Exit.GATE
    text = capsys.readouterr().out
    assert text.startswith("INCOMPLETE")
    assert all(f"missing {name}" in text for name in ("metrics.prom", "healthz.json"))
    made = bundle(artifacts)
    assert all((made / name).stat().st_size for name in ALWAYS)
    assert json.loads((made / "ceremony.json").read_text())["note"] == "drill"
    assert (made / "fsm" / "fsm_transition_1_INIT_READY.txt").read_text() == "to_state=READY\n"


def test_ceremony_when_secrets_are_set_then_none_is_in_any_file(artifacts: Path) -> None:
    main(["ceremony"])
    held = [path.read_bytes() for path in bundle(artifacts).rglob("*") if path.is_file()]
    assert not any(secret in data for data in held for secret in (b"this-is-the-key", b"this-is-the-secret"))
    assert "BINANCE_API_KEY=<redacted>" in (bundle(artifacts) / "env.txt").read_text()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("GRINDER_VENUE_WS_API_URL", "wss://me:hunter2secret@v.example/x"),
        ("GRINDER_VENUE_WS_API_URL", "wss://hunter2secret@v.example"),
        ("GRINDER_VENUE_WS_API_URL", "wss://me:hunter2secret/@ more@v.example"),
        ("GRINDER_VENUE_WS_API_URL", "me:hunter2secret@v.example/x"),
        ("GRINDER_VENUE_REST_URL", "https://v.example/x?token=hunter2secret"),
        ("GRINDER_VENUE_REST_URL", "v.example/x?token=hunter2secret"),
        ("GRINDER_VENUE_WS_URL", "wss://v.example/x#hunter2secret"),
        ("GRINDER_SIM_TAPE", "wss://me:hunter2secret@v.example"),
        ("GRINDER_SIM_TAPE", "wss://v.example/?listenKey=hunter2secret"),
        ("GRINDER_METRICS_PORT", "http://me:hunter2secret@v.example"),
        ("GRINDER_ETCD_ENDPOINTS", "me:hunter2secret@v.example:2379,http://u:hunter2secret@w.example"),
    ],
)
def test_ceremony_when_an_address_holds_credentials_then_neither_the_bundle_nor_the_terminal_has_them(
    artifacts: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    main(["ceremony"])
    for command in (["settings", "show"], ["settings", "check"], ["status"]):
        main(command)
    said = capsys.readouterr()
    held = [path.read_bytes() for path in bundle(artifacts).rglob("*") if path.is_file()]
    assert not any(b"hunter2secret" in data for data in (*held, said.out.encode(), said.err.encode()))
    assert f"{name}=" in (bundle(artifacts) / "env.txt").read_text()


def test_environment_text_when_names_and_urls_hold_secrets_then_blanked_and_the_rest_is_kept() -> None:
    environ = {
        "GRINDER_VENUE_REST_URL": "https://me:word@venue.example/x",
        "GRINDER_VENUE_WS_URL": "wss://venue.example/x?token=word",
        "GRINDER_SIM_TAPE": "/tapes/number #3?.jsonl",
        "GRINDER_TRADING_LOOP_ACK": "YES_I_KNOW",
        "BINANCE_API_SECRET_FILE": "/run/secret",
        "GRINDER_SOME_TOKEN": "t",
        "LANG": "C",
    }
    assert environment_text(environ) == (
        "BINANCE_API_SECRET_FILE=/run/secret\n"
        "GRINDER_SIM_TAPE=/tapes/number #3?.jsonl\n"
        "GRINDER_SOME_TOKEN=<redacted>\n"
        "GRINDER_TRADING_LOOP_ACK=YES_I_KNOW\n"
        "GRINDER_VENUE_REST_URL=https://<redacted>@venue.example/x\n"
        "GRINDER_VENUE_WS_URL=wss://venue.example/x?<redacted>\n"
    )


def test_environment_text_when_a_secret_is_in_the_wrong_place_then_blanked() -> None:
    """A name that is no setting, a key where its file belongs, a key as another's value, a value of the wrong kind."""
    environ = {
        "BINANCE_API_KEY_FILE": "hunter2secret",
        "BINANCE_API_SECRET": "hunter2secret",
        "GRINDER_NODE_ID": "hunter2secret",
        "GRINDER_OPERATOR_OVERRIDE": "other2secret",
        "GRINDER_PASSWD": "other2secret",
        "RECONCILE_ENABLED": "1",
    }
    blanked = [f"{name}=<redacted>\n" for name in sorted(environ) if name != "RECONCILE_ENABLED"]
    assert environment_text(environ) == "".join([*blanked, "RECONCILE_ENABLED=1\n"])


def test_ceremony_when_the_bundle_lies_in_a_folder_of_the_artifacts_then_it_does_not_copy_itself(
    artifacts: Path,
) -> None:
    made = artifacts / "drills" / "one"
    main(["ceremony", "--out", str(made)])
    assert not (made / "drills").exists()
    assert (made / "fsm").is_dir()


def test_ceremony_when_checked_then_sha256sum_and_it_agree_and_a_change_is_named(
    artifacts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["ceremony"])
    made = bundle(artifacts)
    subprocess.run(["sha256sum", "--quiet", "-c", "sha256sums.txt"], cwd=made, check=True)
    assert main(["ceremony", "--check", str(made)]) == Exit.OK
    (made / "env.txt").write_text("")
    (made / "more.txt").write_text("")
    (made / "latch.json").unlink()
    capsys.readouterr()
    assert main(["ceremony", "--check", str(made)]) == Exit.GATE
    text = capsys.readouterr().out
    assert all(line in text for line in ("env.txt: was changed", "more.txt: is not in", "latch.json: missing"))


def test_ceremony_when_evidence_was_changed_then_incomplete_and_says_which(
    artifacts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (artifacts / "fsm" / "fsm_transition_1_INIT_READY.txt").write_text("to_state=ACTIVE\n")
    assert main(["ceremony"]) == Exit.GATE
    assert "evidence does not hold: fsm/fsm_transition_1_INIT_READY.txt: was changed" in capsys.readouterr().out
    assert main(["ceremony", "--check", str(artifacts)]) == Exit.GATE


def test_ceremony_when_the_folder_is_there_already_then_nothing_is_written_over(
    artifacts: Path, tmp_path: Path
) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    assert main(["ceremony", "--out", str(kept)]) == Exit.FAILURE
    assert not list(kept.iterdir())
    shutil.rmtree(kept)
    assert main(["ceremony", "--check", str(kept)]) == Exit.FAILURE
