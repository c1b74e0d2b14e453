"""What is generated is current: documentation and the stored wire layout."""

from __future__ import annotations

import pytest

from grinder.cli.documents import DOCUMENTS, Document, placed
from grinder.model.control import TripReason
from tests.arch.frame_schema import SNAPSHOT, render
from tests.arch.sources import ROOT


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: f"{document.path} {document.section}".strip())
def test_document_when_rendered_again_then_nothing_changes(document: Document) -> None:
    page = (ROOT / document.path).read_text()
    assert placed(document, page) == page, "run `make docs`"


def test_wire_layout_when_compared_with_the_stored_one_then_it_is_the_same() -> None:
    assert render() == SNAPSHOT.read_text(), "if the change is meant: python -m tests.arch.frame_schema"


def test_place_when_a_page_has_no_marks_then_it_is_refused() -> None:
    document = next(document for document in DOCUMENTS if document.section)
    with pytest.raises(ValueError, match="has no place"):
        placed(document, "# a page\n")


def test_kill_switch_runbook_when_it_says_what_trips_then_no_reason_is_missing() -> None:
    page = (ROOT / "runbooks" / "04_KILL_SWITCH.md").read_text()
    said = page.partition("## 2.")[2].partition("## 3.")[0]
    assert [reason.value for reason in TripReason if f"| `{reason}` |" not in said] == []
