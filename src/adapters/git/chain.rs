//! Checks that tasks' branches form a chain, from what was recorded when they were made: the tips alone cannot tell a
//! sibling from a successor.

use std::collections::HashMap;

use orchestrator_actors::domain::task::{BranchName, CommitId};
use orchestrator_actors::ports::git::{ChainLink, GitError, Relationship, RelationshipKind};

use super::GitCli;
use super::changes::{is_ancestor, tip};
use super::place::{self, Place};

pub async fn verify(git: &GitCli, links: &[ChainLink]) -> Result<Vec<Relationship>, GitError> {
    let place = place::find(git).await?;
    let mut ends: HashMap<&BranchName, &CommitId> = HashMap::new();
    let mut relationships = Vec::with_capacity(links.len());
    for link in links {
        let why = flaw(git, &place, link, ends.get(&link.previous).copied()).await?;
        relationships.push(Relationship {
            from: link.previous.clone(),
            to: link.branch.clone(),
            kind: match why {
                None => RelationshipKind::Chains,
                Some(_) => RelationshipKind::Diverged,
            },
            why,
        });
        ends.insert(&link.branch, &link.commit);
    }
    Ok(relationships)
}

/// What is wrong with one link. `before` is the recorded end of its previous branch, when that was a task's, too.
async fn flaw(
    git: &GitCli,
    place: &Place,
    link: &ChainLink,
    before: Option<&CommitId>,
) -> Result<Option<String>, GitError> {
    let (base, commit) = (link.base.as_str(), link.commit.as_str());
    let Some(end) = tip(git, place, &link.branch.full()).await? else {
        return Ok(Some(format!("the branch {} is gone", link.branch)));
    };
    if let Some(before) = before
        && before != &link.base
    {
        return Ok(Some(format!(
            "{} started at {base}, and {} ended at {before}",
            link.branch, link.previous
        )));
    }
    if !is_ancestor(git, place, base, commit).await? {
        return Ok(Some(format!("{commit} does not descend from {base}")));
    }
    if !is_ancestor(git, place, commit, end.as_str()).await? {
        return Ok(Some(format!(
            "the branch {} no longer has the task's commit {commit}",
            link.branch
        )));
    }
    // The branch before may have moved on, but not away.
    match tip(git, place, &link.previous.full()).await? {
        Some(previous) if !is_ancestor(git, place, base, previous.as_str()).await? => {
            Ok(Some(format!("{} no longer has {base}", link.previous)))
        }
        _ => Ok(None),
    }
}
