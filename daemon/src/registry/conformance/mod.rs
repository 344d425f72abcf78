//! The suite that every registry backend passes.
//!
//! Cases are plain functions over a way to open a registry; [`conformance`] makes a test of each.

pub(crate) mod cases;

pub(crate) mod conflicts;

pub(crate) mod interruption;

pub(crate) mod order;

pub(crate) mod fencing;

pub(crate) mod collections;

pub(crate) mod chain_removals;

pub(crate) mod removals;

pub(crate) mod at_paths;

pub(crate) mod giving_way;

mod support;

pub(crate) use support::Opened;

/// Instantiates every case for a backend: `$open` is a [`support::Open`].
macro_rules! conformance {
    ($open:expr; $($module:ident: $($case:ident)*;)*) => {$($(
        #[test]
        fn $case() {
            $crate::registry::conformance::$module::$case(&$open);
        }
    )*)*};
    ($open:expr) => {
        $crate::registry::conformance::conformance! { $open;
            cases:
                an_empty_registry_answers_nothing
                what_is_registered_is_read_back
                registering_again_changes_nothing
                components_are_records_of_one_dataset
                an_artifact_may_hold_several_datasets
                at_level_trust_records_are_there_at_once
                artifacts_are_waited_for_until_confirmed
                stale_confirmations_are_passed_over
                waiting_artifacts_are_paged
                what_is_waited_for_below_a_folder_is_between_two_paths
                artifacts_of_several_runs_are_confirmed_in_one_commit
                pages_follow_each_other
                existence_is_answered_in_the_order_asked
                the_first_dimension_record_wins
                a_floor_only_rises
                runs_are_found_below_a_prefix
                pages_of_runs_follow_each_other
                every_commit_is_counted
                reopening_keeps_everything
                a_manifest_without_datasets_still_makes_its_run
                a_row_of_an_undefined_dataset_type_is_refused;
            conflicts:
                a_dataset_registered_elsewhere_is_held
                a_data_id_has_one_dataset_in_a_run
                a_path_has_one_artifact
                a_path_is_free_once_a_later_generation_has_left_it
                a_claim_that_counts_for_nothing_conflicts_with_nothing
                a_manifest_may_move_its_own_artifacts
                a_dataset_type_has_one_definition
                a_run_takes_no_more_bytes_than_can_be_counted
                manifests_of_one_call_are_too_large_together
                what_is_registered_already_takes_no_room
                missing_dimension_records_are_named
                no_more_conflicts_than_asked_for
                a_look_for_conflicts_tells_how_far_it_is
                a_long_look_before_a_commit_is_heard_of_too
                conflicts_between_manifests_of_one_call_are_found
                many_small_manifests_share_a_commit;
            interruption:
                an_interrupted_registration_goes_on_from_every_row
                another_generation_may_come_between
                a_shared_artifact_confirmed_between_two_commits_is_waited_for_no_more
                what_is_not_waited_for_yet_is_not_confirmed
                an_unfinished_registration_is_known_by_its_digest
                what_contradicts_a_manifest_between_its_commits_is_an_error
                a_fork_does_not_go_on_where_the_other_stopped
                readers_see_whole_datasets_while_rows_are_written;
            order:
                two_generations_end_alike_in_either_order
                what_has_not_changed_stays_confirmed
                moved_artifacts_are_waited_for_where_they_are_now
                any_order_of_generations_ends_alike
                datasets_below_the_floor_are_not_dumped;
            fencing:
                an_old_fence_writes_nothing
                a_registration_that_is_overtaken_between_two_commits_is_ended_by_the_next_owner;
            collections:
                a_chain_keeps_its_order
                chains_are_nested_and_cycles_refused
                a_name_is_of_one_collection_or_of_runs
                a_tag_twice_is_one_and_taken_away_once
                all_of_a_run_is_tagged_or_one_type_of_it
                a_tagged_collection_has_one_dataset_of_a_data_id
                what_is_hidden_is_left_out_of_lists_and_found_by_name
                pages_of_collections_follow_each_other
                only_its_owner_changes_a_collection
                a_removed_run_leaves_its_place_in_chains
                tags_of_a_removed_run_vanish_at_once_and_its_rows_are_reaped
                a_removed_collection_leaves_its_place_and_its_members
                a_removal_of_collections_that_would_do_something_else_is_refused;
            chain_removals:
                a_chain_goes_in_the_commit_that_removes_its_runs
                a_chain_stays_where_only_what_it_has_lost_is_removed
                a_removal_of_a_chains_runs_is_refused_as_a_whole;
            removals:
                the_records_of_one_type_go_and_its_datasets_stay
                what_is_unwanted_waits_for_nothing_until_it_is_restored
                a_later_generation_wants_what_was_forgotten
                what_a_generation_leaves_out_is_listed_hidden_and_reaped
                rows_are_reaped_only_once_no_journal_is_open_or_all_of_them_are_late
                what_is_to_be_told_is_committed_with_its_removal
                an_interrupted_registration_meets_what_is_on_its_way_out;
            at_paths:
                artifacts_are_paged_by_path_whoever_names_them
                what_runs_say_of_paths_is_answered_in_the_order_asked
                forgotten_artifacts_leave_their_datasets_and_wait_again
                a_shared_artifact_is_forgotten_by_all_of_its_datasets
                what_is_unwanted_or_on_its_way_out_is_left_alone
                the_path_of_a_forgotten_artifact_stays_its_datasets
                what_is_recalled_waits_again_and_what_is_right_is_recorded_again;
            giving_way:
                what_the_owner_names_goes_over_as_it_is
                what_contradicts_the_owner_is_dropped
                what_others_hold_stands_against_the_owner_all_the_same
                giving_way_in_parts_ends_alike;
        }
    };
}
pub(crate) use conformance;
