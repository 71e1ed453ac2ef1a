//! The deployment's functions by their own tools: the type checker, their tests in Node, and the comparison of
//! `convex/` with what the embedded deployment runs. Each is a script of `package.json`, run as a developer runs it,
//! with packages that are installed once below the target folder. Without npm these tests fail and say what to install.

use orchestrator_test_support::Package;

/// A script of `package.json`; on failure all that the tool has said.
fn passes(script: &str) -> String {
    Package::get().script(script).exits(0).stdout
}

#[test]
fn the_functions_are_correctly_typed() {
    passes("typecheck");
}

#[test]
fn the_functions_pass_their_tests() {
    let said = passes("test");
    assert!(said.contains("passed"), "{said}");
}

#[test]
fn the_embedded_deployment_runs_the_present_functions() {
    passes("strip:check");
}

#[test]
fn without_npm_the_error_says_what_to_install() {
    let empty = std::env::temp_dir().join("no-such-folder");
    let problem = orchestrator_test_support::Node::on_path(Some(empty.as_os_str()));
    let problem = problem.err().expect("there is no npm");
    assert!(problem.contains("install Node.js"), "{problem}");
}
