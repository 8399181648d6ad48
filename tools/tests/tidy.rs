//! The house rules, one test each.
//!
//! Every rule is a function from the repository's files to a list of complaints, so that it can be shown a planted
//! bad file as well as the real ones: the tests beside the rules do that.
#![forbid(unsafe_code)]

mod tidy {
    pub(crate) mod crates;
    pub(crate) mod islands;
    pub(crate) mod lexer;
    pub(crate) mod manifest;
    pub(crate) mod markdown;
    pub(crate) mod modules;
    pub(crate) mod repo;
    pub(crate) mod sizes;
    pub(crate) mod words;
}

use tidy::repo::Repo;
use tidy::{crates, islands, markdown, modules, sizes, words};

/// Fails with all complaints of a rule about this repository.
fn keep(rule: fn(&Repo) -> Vec<String>) {
    let repo = Repo::of_this_workspace();
    assert!(repo.paths().count() > 20, "the repository was not found");
    let complaints = rule(&repo);
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

#[test]
fn dependencies_follow_the_arrows() {
    keep(crates::arrows);
}

#[test]
fn nothing_below_the_server_is_async() {
    keep(crates::no_async_below_the_server);
}

#[test]
fn nothing_below_server_and_tools_knows_http_json_or_the_command_line() {
    keep(crates::no_doors_below_server_and_tools);
}

#[test]
fn every_manifest_inherits_from_the_workspace() {
    keep(crates::inheritance);
}

#[test]
fn unsafe_stays_on_its_islands() {
    keep(islands::unsafe_elsewhere);
}

#[test]
fn islands_give_their_reason_and_all_other_crates_forbid_unsafe() {
    keep(islands::declarations);
}

#[test]
fn every_unsafe_block_has_a_safety_comment() {
    keep(islands::safety_comments);
}

#[test]
fn no_function_is_longer_than_70_lines() {
    keep(sizes::functions);
}

#[test]
fn no_file_is_longer_than_600_lines() {
    keep(sizes::files);
}

#[test]
fn every_link_in_markdown_leads_somewhere() {
    keep(markdown::links);
}

#[test]
fn every_file_the_architecture_names_exists() {
    keep(markdown::named_files);
}

#[test]
fn every_source_file_is_reached_by_a_mod() {
    keep(modules::orphans);
}

#[test]
fn the_fuzz_manifest_lists_all_fuzz_targets() {
    keep(modules::fuzz_targets);
}

#[test]
fn a_posting_list_is_called_nothing_else() {
    keep(words::synonyms);
}

#[test]
fn no_source_is_unfinished() {
    keep(words::unfinished);
}

#[test]
fn no_file_names_a_path_of_somebodys_machine() {
    keep(words::machine_paths);
}

#[test]
fn the_ci_script_can_be_run() {
    keep(modules::ci_script);
}
