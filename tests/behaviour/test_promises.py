"""The table of faults and bad input, row by row: which tests hold what is promised."""

import ast
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

PROMISES = {
    1: ("killed while a result is written", "behaviour/test_store.py::test_a_killed_write_leaves_a_temporary_file_that_"
        "the_next_run_ignores_and_removes", "behaviour/test_faults.py::test_row_01_temporary_files_go_when_their_writer_"
        "is_gone_and_not_before"),
    2: ("killed between networks",
        "behaviour/test_measuring_survives.py::test_killed_eight_times_and_resumed_it_is_bit_equal"),
    3: ("disk full, folder read-only", "behaviour/test_faults.py::test_row_03_a_limit_on_files_stops_with_the_path_and_"
        "what_is_stored_stays_whole", "behaviour/test_estimates.py::test_row_03_a_place_that_cannot_be_written_is_found_"
        "first"),
    4: ("damaged results", "behaviour/test_store.py::test_no_flipped_bit_changes_a_result",
        "behaviour/test_faults.py::test_row_04_what_is_no_file_is_set_aside_and_measured_again"),
    5: ("two runs on one folder", "behaviour/test_measuring_survives.py::test_two_writers_at_once_leave_one_result"),
    6: ("a worker dies", "behaviour/test_measuring_survives.py::test_a_network_whose_process_dies_is_tried_elsewhere_then_"
        "listed"),
    7: ("a network raises", "behaviour/test_measuring_survives.py::test_a_network_that_raises_is_named_and_the_others_are_"
        "kept", "behaviour/test_faults.py::test_row_07_a_network_that_exits_is_listed_with_its_seed"),
    8: ("Ctrl-C", "behaviour/test_faults.py::test_row_08_a_signal_stops_a_measurement_within_two_seconds_and_says_how_to_"
        "go_on"),
    9: ("a study changed", "behaviour/test_measuring_survives.py::test_a_changed_question_is_said"),
    10: ("other numerics", "behaviour/test_measuring_survives.py::test_files_of_other_numerics_are_not_mixed_unless_"
         "accepted"),
    11: ("object arrays", "behaviour/test_store.py::test_a_damaged_file_is_set_aside_and_measured_again",
         "behaviour/test_promises.py::test_nothing_is_unpickled"),
    12: ("state dicts", "behaviour/test_promises.py::test_nothing_is_unpickled"),
    13: ("a user's own code", "behaviour/test_faults.py::test_row_13_a_file_is_run_as_its_author_runs_it_and_help_says_so",
         "behaviour/test_advise.py::test_bad_arguments_are_one_line"),
    14: ("names with markup", "behaviour/test_report.py::test_names_are_text_not_markup"),
    15: ("bad TOML", "behaviour/test_estimates.py::test_row_15_a_huge_study_names_file_and_key_before_it_is_made",
         "behaviour/test_estimates.py::test_row_15_a_file_of_hundreds_of_megabytes_is_not_read"),
    16: ("NaN and inf", "reference/test_jacobian.py::test_an_activation_that_overflows_is_named",
         "behaviour/test_models.py::test_a_weight_that_is_no_number_is_named"),
    17: ("overflow and underflow", "reference/test_underflow.py::test_the_layer_where_a_signal_underflows_is_named",
         "reference/test_singular_values.py::test_values_over_more_than_300_decades"),
    18: ("BatchNorm at initialization", "behaviour/test_layers_beyond_the_chain.py::test_measure_calibrates_untrained_"
         "statistics_on_a_copy_and_says_so", "reference/test_unusual_modules.py::test_a_batch_of_one_has_no_statistics"),
    19: ("a module left as it was", "behaviour/test_left_as_found.py::test_the_module_the_input_and_the_random_state_are_"
         "left_as_they_were"),
    20: ("randomness in a module",
         "behaviour/test_measuring_survives.py::test_what_a_module_draws_itself_is_frozen_by_the_seed_and_said"),
    21: ("autocast, half precision", "reference/test_jacobian.py::test_full_precision_is_kept_where_it_was_switched_off",
         "reference/test_jacobian.py::test_a_module_without_a_jacobian_is_refused_by_name"),
    22: ("outputs and inputs of any kind", "reference/test_unusual_modules.py::test_the_output_that_is_meant_is_picked",
         "reference/test_graph.py::test_keywords_mappings_and_outputs_in_dataclasses",
         "behaviour/test_measure.py::test_bad_input_is_refused_by_name"),
    23: ("a Jacobian too large", "reference/test_jacobian.py::test_a_jacobian_that_does_not_fit_is_refused_before_it_is_made"),
    24: ("widths of one, ranks of zero", "reference/test_singular_values.py::test_chains_of_any_widths_padded_with_exact_"
         "zeros", "reference/test_singular_values.py::test_an_all_dead_network_has_rank_zero"),
    25: ("different things compared", "behaviour/test_provenance.py::test_a_measurement_of_another_network_is_refused_with_both_named", "behaviour/test_agreement.py::test_one_network_is_undecided"),
    26: ("networks of one text", "behaviour/test_fingerprints.py::test_two_custom_functions_of_one_name_are_two_networks",
         "behaviour/test_fingerprints.py::test_factories_of_one_label_are_told_apart_by_what_a_module_is_and_computes"),
    27: ("SIGTERM, SIGHUP, SIGKILL", "behaviour/test_faults.py::test_row_27_the_workers_of_a_report_end_with_it",
         "behaviour/test_faults.py::test_row_27_workers_end_with_a_parent_that_is_killed"),
    28: ("a file that prints, exits, changes", "behaviour/test_faults.py::test_row_28_standard_output_is_json_whatever_a_"
         "file_prints", "behaviour/test_faults.py::test_row_28_what_a_file_changes_is_put_back",
         "behaviour/test_faults.py::test_row_28_a_file_that_ends_or_is_interrupted_is_said"),
    29: ("values under the resolution", "behaviour/test_unresolved.py::test_zeros_that_an_svd_cannot_tell_from_small_"
         "values_are_no_values", "behaviour/test_unresolved.py::test_the_command_says_how_many_and_why",
         "behaviour/test_unresolved.py::test_a_monitor_counts_them_too_and_says_why"),
    30: ("work of hours", "behaviour/test_estimates.py::test_row_30_the_command_line_refuses_or_names_yes",
         "behaviour/test_estimates.py::test_row_30_a_study_is_estimated_before_workers_start"),
    31: ("one network counted as many", "property/test_independence.py::test_networks_that_are_not_independent_are_named",
         "property/test_independence.py::test_an_agreement_cannot_be_forged_by_pooling_and_cutting"),
    32: ("a law whose mass does not add up",
         "property/test_sums.py::test_a_sum_has_the_mass_the_mean_and_the_quantiles_of_its_law",
         "reference/test_sums_as_factors.py::test_a_band_that_holds_mass_stays_or_is_named"),
}


@cache
def tests_of(file):
    """The names of the tests in a file."""
    tree = ast.parse((ROOT / "tests" / file).read_text())
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("row", range(1, 33))
def test_every_row_has_its_tests(row):
    _, *tests = PROMISES[row]
    for test in tests:
        file, _, name = test.partition("::")
        assert name in tests_of(file), test


FORBIDDEN = {("torch", "load"), ("pickle", "load"), ("pickle", "loads"), ("joblib", "load"), ("marshal", "loads")}


@pytest.mark.parametrize("package", ["rmt", "empirical", "figures"])
def test_nothing_is_unpickled(package):
    """No file is read that could run code: numpy's are read without objects, and nothing else is."""
    for path in (ROOT / package).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                name = ast.unparse(node.func)
                assert tuple(name.split(".")) not in FORBIDDEN, f"{path}:{node.lineno}"
                if name in ("np.load", "numpy.load"):
                    allowed = {key.arg: ast.unparse(key.value) for key in node.keywords}
                    assert allowed.get("allow_pickle") == "False", f"{path}:{node.lineno}"
