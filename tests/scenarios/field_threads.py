"""The field's complaints by number, each with the tests that show that it does not happen here, or why it cannot.

The numbers are those of the project's collection of public issue threads (field requirements, section 2). A row without
a test says why in a sentence.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class Row(NamedTuple):
    """``tests``: path below ``tests`` and function; ``why``: why there is none, else empty."""

    threads: str
    tests: tuple[str, ...]
    why: str = ""


_UNKNOWN = "scenarios/test_field_unknown_outcome.py::test_"
_STUCK = "scenarios/test_field_stuck_orders.py::test_"
_CLOSE = "scenarios/test_field_closing.py::test_"
_STREAM = "scenarios/test_field_user_stream.py::test_"
_ACCOUNT = "scenarios/test_account_threads.py::test_"
_STORM = "scenarios/test_no_duplicate_storm.py::test_"
_KEY = "contract/test_binance_user_stream.py::test_"
_MARKET = "contract/test_market_stream.py::test_"
_LIMITS = "unit/adapters/binance/test_binance_limits.py::test_"
_GUARDS = "unit/core/test_guards.py::test_"
_EXIT = "unit/core/test_emergency.py::test_"
_LIFE = "unit/services/test_executor_life.py::test_"
_RECOVERY = "unit/services/test_recovery.py::test_"
_STOPS = "smoke/test_stops.py::test_"
_CONTROL = "smoke/test_control.py::test_"
_DRAWDOWN = "unit/core/test_drawdown.py::test_"

_FILTER = f"{_GUARDS}place_when_a_venue_filter_would_refuse_it_then_denied"
_SILENT = f"{_MARKET}stream_when_acknowledged_but_silent_then_replaced"
_ROUTED = f"{_MARKET}plans_when_made_then_one_per_routed_path_with_every_stream_in_the_address"
_ORDERLY = f"{_STOPS}executor_when_stopped_in_each_way_then_no_order_rests_and_the_switch_is_let_down"
_POWER = f"{_STOPS}host_when_it_loses_power_then_the_venue_cancels_within_the_countdown"
_CLOCK = "unit/core/test_venue_clock.py::test_clock_when_several_were_taken_then_the_surest_counts_while_it_is_fresh"
_BAN = f"{_LIMITS}retry_after_stops_all_but_protective_until_it_ends"
_MODE = f"{_RECOVERY}order_when_refused_for_the_position_mode_then_the_mode_is_asked_for_and_its_error_is_clear"
_DUPLICATE_FILL = f"{_UNKNOWN}fill_when_delivered_again_and_after_the_end_then_counted_once"
_NOT_FOUND_CANCEL = f"{_STUCK}cancel_when_the_venue_knows_no_such_order_then_the_truth_is_asked_for"
_BETWEEN = f"{_STUCK}order_when_it_trades_between_the_look_and_the_cancel_then_each_unit_counts"
_NEVER_UP = f"{_STREAM}stream_when_it_never_comes_up_then_no_new_risk_and_live_orders_are_asked_for"
_LEFT_ALONE = f"{_RECOVERY}start_when_foreign_orders_rest_then_they_are_counted_and_left_alone"
_CONDITIONAL = "contract/test_exit_simulated_venue.py::test_exit_when_conditional_orders_wait_then_they_are_gone_too"
_REFUSALS = f"{_GUARDS}place_when_the_pause_after_refusals_is_over_then_approved_again"
_SECOND_TREE = "smoke/test_tree.py::test_front_door_when_a_tree_runs_already_then_75_and_nothing_happens"

THREADS: Final[dict[int, Row]] = {
    1: Row(
        "nautilus_trader#4215",
        (
            f"{_UNKNOWN}submit_when_in_doubt_and_the_stream_accepts_it_then_nothing_is_sent_or_asked_any_more",
            f"{_UNKNOWN}submit_when_the_venue_says_duplicate_id_then_the_order_that_exists_is_ours",
        ),
    ),
    2: Row("hummingbot#493", (f"{_UNKNOWN}submit_when_it_times_out_then_it_counts_as_working_and_is_not_placed_anew",)),
    3: Row("hummingbot#601", (f"{_UNKNOWN}query_when_denied_right_after_the_submit_then_the_order_is_not_given_up",)),
    4: Row("hummingbot#720", (f"{_UNKNOWN}network_when_it_returns_after_the_stop_then_nothing_is_placed",)),
    5: Row("binance-trading-bot#450", (f"{_UNKNOWN}intent_when_it_arrives_twice_then_one_order_and_one_count",)),
    6: Row(
        "sieblyio/binance#580",
        (f"{_UNKNOWN}submit_when_its_outcome_is_unknown_then_verified_by_a_query_before_anything_else",),
    ),
    7: Row("banbox/banbot#114", (f"{_UNKNOWN}order_when_placed_behind_an_error_then_found_and_kept",)),
    8: Row(
        "germangar/whook#21",
        (f"{_UNKNOWN}order_when_an_overloaded_venue_drops_it_then_its_end_is_told_and_a_new_one_may_come",),
    ),
    9: Row("hftbacktest#87", (f"{_UNKNOWN}ids_when_made_over_terms_and_restarts_then_no_two_are_alike",)),
    10: Row(
        "crypto-trading-bot#120",
        (f"{_STORM}storm_when_account_lags_five_seconds_then_orders_stay_within_plan_and_price",),
    ),
    11: Row(
        "crypto-trading-bot#68",
        (f"{_STORM}storm_when_answers_are_lost_then_open_orders_still_never_exceed_the_plan",),
    ),
    12: Row(
        "freqtrade#13399", (f"{_UNKNOWN}fill_when_it_was_missed_before_a_restart_then_it_stays_with_its_own_order",)
    ),
    13: Row(
        "nautilus_trader#3176", (f"{_UNKNOWN}restarts_when_there_are_many_on_one_journal_then_nothing_is_doubled",)
    ),
    14: Row("nautilus_trader#3878", (f"{_UNKNOWN}recovery_when_run_twice_on_the_same_then_it_says_the_same",)),
    15: Row("ccxt#18028", (_DUPLICATE_FILL, f"{_STREAM}trade_when_told_by_trade_lite_and_in_full_then_counted_once")),
    16: Row("ccxt#18078", (_DUPLICATE_FILL,)),
    17: Row(
        "nautilus_trader PR#4411",
        (f"{_STUCK}query_when_an_order_in_flight_is_asked_for_then_the_question_covers_live_and_ended_orders",),
    ),
    18: Row(
        "hummingbot#7610", (f"{_STUCK}cancel_when_it_is_lost_again_and_again_then_the_order_stays_ours_to_cancel",)
    ),
    19: Row(
        "Krypto#1042",
        (
            f"{_STUCK}restart_when_commands_of_every_kind_were_on_their_way_then_none_stays_pending",
            f"{_STUCK}doubt_when_no_query_helps_then_it_is_told_counts_and_holds_new_risk_back_until_resolved",
            f"{_STUCK}restart_when_the_venue_has_forgotten_an_order_then_its_age_says_what_that_means",
        ),
    ),
    20: Row(
        "Krypto#1070",
        (f"{_STUCK}outage_when_the_api_dies_then_no_order_is_tried_and_it_goes_on_afterwards", _REFUSALS, _BAN),
    ),
    21: Row(
        "freqtrade#3647",
        (f"{_STUCK}cancel_when_nobody_knows_how_it_ended_then_the_order_is_not_called_cancelled",),
    ),
    22: Row("freqtrade#3208", (_NOT_FOUND_CANCEL,)),
    23: Row(
        "freqtrade#4456, #4462", (f"{_STUCK}amend_when_the_venue_does_not_know_the_new_order_yet_then_it_is_not_lost",)
    ),
    24: Row("binance-trader#178", (_BETWEEN,)),
    25: Row("gekko PR#2450", (_BETWEEN,)),
    26: Row("python-binance#601", (_NOT_FOUND_CANCEL,)),
    27: Row("binance-futures-connector-python#63", (_NOT_FOUND_CANCEL,)),
    28: Row(
        "nautilus_trader#3104",
        (
            f"{_ACCOUNT}start_when_the_venue_holds_something_nobody_here_knows_of_then_it_is_the_truth_and_the_start_"
            "goes_on",
        ),
    ),
    29: Row(
        "nautilus_trader#1001",
        (f"{_ACCOUNT}position_when_somebody_else_trades_then_no_fill_of_ours_is_invented_for_it",),
    ),
    30: Row(
        "freqtrade#2836",
        (f"{_ACCOUNT}position_when_it_is_closed_by_hand_then_seen_told_and_flat_is_believed",),
    ),
    31: Row(
        "freqtrade#7606",
        (f"{_ACCOUNT}position_when_it_is_closed_by_hand_then_seen_told_and_flat_is_believed",),
    ),
    32: Row(
        "freqtrade#9674",
        (f"{_ACCOUNT}position_when_the_syncer_crashed_meanwhile_then_it_begins_where_the_venue_stands",),
    ),
    33: Row(
        "freqtrade#10403",
        (
            f"{_ACCOUNT}position_when_the_venue_was_out_of_reach_then_nothing_is_believed_flat_and_the_rest_is_seen_"
            "after",
        ),
    ),
    34: Row(
        "freqtrade#11570",
        (
            f"{_ACCOUNT}position_when_it_is_liquidated_then_it_is_closed_here_too_and_the_kill_switch_trips",
            f"{_CLOSE}event_when_the_venue_closes_by_force_then_the_kill_switch_trips_and_only_then",
            f"{_RECOVERY}start_when_the_venue_is_closing_a_position_then_the_kill_switch_trips",
        ),
    ),
    35: Row(
        "freqtrade PR#13037",
        (f"{_ACCOUNT}position_when_an_order_is_called_filled_with_nothing_filled_then_the_account_still_shows_it",),
    ),
    36: Row(
        "hftbacktest#176",
        (f"{_ACCOUNT}events_when_they_are_about_orders_of_an_earlier_run_then_those_that_rest_are_taken_over",),
    ),
    37: Row(
        "freqtrade#7882",
        (f"{_ACCOUNT}records_when_they_vanish_during_a_run_then_no_new_risk_and_the_budget_is_kept",),
    ),
    38: Row(
        "freqtrade#6739",
        (
            f"{_CLOSE}close_when_nothing_is_left_to_reduce_then_refused_once_and_not_repeated",
            f"{_CLOSE}order_when_the_venue_ends_it_then_its_reason_says_why",
        ),
    ),
    39: Row(
        "hummingbot#8283",
        (f"{_CLOSE}close_when_in_one_way_mode_then_reduce_only_without_a_position_side_and_accepted",),
    ),
    40: Row(
        "Qubx#386",
        (
            "contract/test_exit_simulated_venue.py::"
            "test_exit_when_positions_and_closing_orders_stand_then_flat_on_every_symbol",
        ),
    ),
    41: Row("ccxt#8304", (f"{_CLOSE}close_when_in_hedge_mode_then_with_a_position_side_and_without_reduce_only",)),
    42: Row(
        "richkuo/go-trader#1462",
        (
            f"{_CLOSE}kill_switch_when_it_trips_then_queued_entries_die_and_what_rests_is_taken_away",
            f"{_EXIT}exit_when_an_order_appears_at_the_end_then_not_yet_done",
        ),
    ),
    43: Row("ccxt#7040", (_MODE,)),
    44: Row("binance-futures-connector-python#39", (_MODE,)),
    45: Row("Binance-Futures-Trading-Bot#51", (_MODE,)),
    46: Row("hummingbot#5713", (_NEVER_UP,)),
    47: Row("hummingbot#5631", (_NEVER_UP,)),
    48: Row("hummingbot#7679", (f"{_STREAM}stream_when_it_is_silently_dead_then_no_order_stays_stuck",)),
    49: Row("hummingbot#7590", (_NEVER_UP, f"{_KEY}no_key_to_be_had_is_retried_until_there_is_one")),
    50: Row(
        "nautilus_trader#3861",
        (
            f"{_STREAM}stream_when_events_are_lost_in_a_rotation_then_they_are_asked_for",
            f"{_KEY}expired_key_is_replaced",
        ),
    ),
    51: Row(
        "unicorn-binance-websocket-api#275", (f"{_STREAM}listen_key_when_requests_are_listed_then_none_deletes_it",)
    ),
    52: Row("ccxt#6760", (f"{_KEY}key_that_the_venue_does_not_know_at_extension_is_replaced",)),
    53: Row("Lean.Brokerages.Binance PR#72", (f"{_KEY}lost_connection_is_said_and_built_again_with_a_new_key",)),
    54: Row(
        "unicorn-binance-websocket-api#238",
        (f"{_STREAM}stream_when_it_is_silently_dead_then_no_order_stays_stuck",),
    ),
    55: Row(
        "binance-connector-java#139",
        (
            f"{_MARKET}stream_when_one_symbol_is_silent_then_a_connection_that_delivers_takes_over_and_nothing_is_"
            "missed",
        ),
    ),
    56: Row("python-binance#353, #952", (f"{_KEY}key_that_is_extended_in_time_keeps_the_stream_up",)),
    57: Row(
        "unicorn-binance-websocket-api#216",
        (f"{_MARKET}stream_when_the_connection_is_cut_without_a_goodbye_then_reconnects",),
    ),
    58: Row("binance-futures-connector-python#261, binance-public-data#472", (_SILENT, _ROUTED)),
    59: Row("cryptofeed#1128", (_ROUTED,)),
    60: Row("Tucsky/aggr PR#444", (_ROUTED,)),
    61: Row("hummingbot#8171", (_ROUTED,)),
    62: Row(
        "hftbacktest#210",
        ("unit/services/test_feed_book.py::test_book_when_its_connection_is_lost_then_stale_until_rebuilt",),
    ),
    63: Row(
        "hftbacktest#300",
        ("unit/core/test_book.py::test_book_when_a_buffered_difference_spans_the_snapshot_then_live",),
    ),
    64: Row(
        "hummingbot PR#8291",
        ("unit/core/test_book.py::test_book_when_the_chain_breaks_then_no_top_until_a_newer_snapshot",),
    ),
    65: Row(
        "Krypto#924",
        (f"{_KEY}rotation_announces_the_new_connection_without_a_gap_and_closes_the_old_one",),
    ),
    66: Row("Krypto#1018", (f"{_STREAM}orders_when_the_stream_comes_back_then_what_is_shown_is_what_rests",)),
    67: Row("freqtrade#12610", (_CONDITIONAL,)),
    68: Row(
        "freqtrade#12681",
        (f"{_RECOVERY}start_when_a_conditional_order_has_our_prefix_then_it_is_taken_back", _CONDITIONAL),
    ),
    69: Row("Lean.Brokerages.Binance#59, #61", (_CONDITIONAL,)),
    70: Row("NoFxAiOS/nofx#1208", (_CONDITIONAL,)),
    71: Row("ccxt/binance-trade-bot#215, #164, #396", (_CLOCK,)),
    72: Row("coincenter#8", (_CLOCK,)),
    73: Row("crypto-trading-bot#246", (_CLOCK,)),
    74: Row("profit-trailer#815, #694, #444", (_BAN,)),
    75: Row("frostybot-js#67", (_BAN, _REFUSALS)),
    76: Row("python-binance#1546", (f"{_LIMITS}what_the_venue_counted_wins_over_a_smaller_count_of_ours",)),
    77: Row("nautilus_trader#2281", ("contract/test_binance_rest.py::test_firewall_page_is_a_refusal_for_load",)),
    78: Row("alpha-rptr#77", (_FILTER,)),
    79: Row(
        "passivbot#401",
        (f"{_GUARDS}reduce_only_when_small_then_exempt_from_min_notional_but_not_from_the_grid_of_prices",),
    ),
    80: Row("python-binance#296", (_FILTER,)),
    81: Row("Binance-Futures-Trading-Bot#52", (_FILTER,)),
    82: Row("hummingbot#6425", (_FILTER,)),
    83: Row("passivbot#437", (_REFUSALS,)),
    84: Row("binance-futures-connector-java#51", (_REFUSALS,)),
    85: Row(
        "chrisleekr/binance-trading-bot PR#742",
        (f"{_GUARDS}reduce_only_when_identical_orders_are_refused_then_only_its_pace_is_limited", _REFUSALS),
    ),
    86: Row("hummingbot#366", (f"{_LIFE}restart_when_killed_then_every_order_is_settled_and_budget_kept",)),
    87: Row(
        "bbgo#1764",
        (f"{_CONTROL}kill_when_the_loop_trades_then_it_leaves_the_market_and_only_reset_and_resume_bring_it_back",),
    ),
    88: Row(
        "OctoBot#3190",
        (f"{_LIFE}restart_when_the_journal_is_lost_then_our_orders_are_adopted_and_foreign_ones_left_alone",),
    ),
    89: Row("hummingbot#6722", (), "There is one grid per symbol, planned anew from what rests; nothing is launched."),
    90: Row("hummingbot#3561", (_ORDERLY,)),
    91: Row("hummingbot#5931", (_ORDERLY,)),
    92: Row("hummingbot#2955", (_ORDERLY,)),
    93: Row("freqtrade PR#3210", (_ORDERLY,)),
    94: Row(
        "hummingbot#2534",
        (f"{_CLOSE}kill_switch_when_it_trips_then_queued_entries_die_and_what_rests_is_taken_away",),
    ),
    95: Row("hummingbot#1145, #1866", (f"{_DRAWDOWN}drawdown_when_confirmed_and_flat_then_zero",)),
    96: Row(
        "hummingbot#2497",
        (f"{_CONTROL}override_when_set_then_acked_by_both_kept_over_restarts_and_lowered_only_with_ack",),
    ),
    97: Row("judder659/Forven#92", (f"{_DRAWDOWN}drawdown_when_one_bad_low_sample_then_nothing_happens",)),
    98: Row(
        "BYTEX#100",
        (f"{_CONTROL}kill_when_the_run_folder_of_a_living_tree_is_gone_then_the_file_alone_trips_it",),
    ),
    99: Row(
        "fallblu/trading-engine#49",
        (
            f"{_GUARDS}place_when_one_gate_objects_then_denied_with_that_reason_alone",
            f"{_CONTROL}latch_when_every_process_is_killed_in_turn_then_it_holds",
        ),
    ),
    100: Row("Krypto#863", (_POWER,)),
    101: Row("OctoBot-Trading#327", (_POWER,)),
    102: Row("python-binance#1152", (_POWER,)),
    103: Row("Krypto#500", (_LEFT_ALONE,)),
    104: Row("Krypto#1057", (_LEFT_ALONE,)),
    105: Row("hummingbot#1791", (_SECOND_TREE,)),
    106: Row(
        "Krypto#325, zenbot#1016",
        (_SECOND_TREE, "unit/adapters/test_lock.py::test_lock_when_another_process_holds_it_then_refused_with_its_pid"),
    ),
    107: Row(
        "hummingbot#7363, #7462, #6479; freqtrade#13082, #11317, #12823",
        (
            "soak/test_long_run.py::"
            "test_tree_when_it_trades_for_long_with_faults_then_memory_descriptors_and_files_stay_flat",
        ),
    ),
    108: Row("condor#133", (_ORDERLY,)),
    109: Row(
        "condor#198",
        (f"{_MARKET}stream_when_its_time_is_up_then_the_new_connection_delivers_before_the_old_one_is_closed",),
    ),
}
