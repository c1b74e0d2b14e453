from __future__ import annotations

from grinder.core.account_evidence import folder_name


def test_folder_when_two_bundles_are_of_one_second_then_neither_takes_the_others_place() -> None:
    first = folder_name(1_700_000_000_100)
    second = folder_name(1_700_000_000_600, first)
    third = folder_name(1_700_000_000_900, second)
    assert first == "account_sync/20231114T221320Z"
    assert [first, second, third] == sorted({first, second, third})
    assert folder_name(1_700_000_001_000, third) == "account_sync/20231114T221321Z"
