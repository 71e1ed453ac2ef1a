//! A worker's policy for what its assistants ask: it decides without asking anybody, or leaves it to the owner. It only
//! ever sees what the assistant's own configuration asks about. Of several rules that fit the most exact one decides, and
//! of equally exact ones the strictest; so the order in a file does not matter.

use std::fmt;

use super::permission::{Asked, AskedKind};

/// In order of strictness.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Decision {
    Allow,
    #[default]
    Ask,
    Deny,
}

impl Decision {
    pub const ALL: [Self; 3] = [Self::Ask, Self::Allow, Self::Deny];

    /// Its word in a configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ask => "ask",
            Self::Allow => "allow",
            Self::Deny => "deny",
        }
    }

    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|decision| decision.as_str() == word)
    }
}

/// What is said of one permission's patterns; `*` is every permission, and every pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    pub permission: String,
    pub pattern: String,
    pub decision: Decision,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    rules: Vec<Rule>,
}

/// The name under which questions are in a policy.
pub const QUESTION: &str = "question";
const ANY: &str = "*";

impl Policy {
    /// Everything is left to the owner.
    pub const ASK: Self = Self { rules: Vec::new() };

    pub fn new(rules: Vec<Rule>) -> Self {
        Self { rules }
    }

    /// The same for everything.
    pub fn of(decision: Decision) -> Self {
        if decision == Decision::Ask {
            return Self::ASK;
        }
        Self::new(vec![Rule {
            permission: ANY.to_owned(),
            pattern: ANY.to_owned(),
            decision,
        }])
    }

    pub fn decide(&self, asked: &Asked) -> Decision {
        if asked.kind == AskedKind::Question {
            // Nothing but a person, or nobody, can answer one.
            return self.of_pattern(QUESTION, "").max(Decision::Ask);
        }
        let permission = asked.permission.as_deref().unwrap_or_default();
        if asked.patterns.is_empty() {
            return self.of_pattern(permission, "");
        }
        let each = asked.patterns.iter();
        // One command of several that may not run stops them all.
        let decided = each
            .map(|pattern| self.of_pattern(permission, pattern))
            .max()
            .unwrap_or_default();
        // What was cut off may be just what a rule denies.
        if asked.incomplete {
            decided.max(Decision::Ask)
        } else {
            decided
        }
    }

    /// Whether anything of a permission is denied. An assistant that may do everything of the kind would no longer ask, and
    /// so pass the rule by.
    pub fn denies_some(&self, asked: &Asked) -> bool {
        let permission = asked.permission.as_deref().unwrap_or_default();
        self.rules.iter().any(|rule| {
            rule.decision == Decision::Deny
                && (rule.permission == ANY || rule.permission == permission)
        })
    }

    fn of_pattern(&self, permission: &str, pattern: &str) -> Decision {
        let fits = |rule: &&Rule| {
            (rule.permission == ANY || rule.permission == permission)
                && matches(&rule.pattern, pattern)
        };
        let exactness = |rule: &&Rule| {
            let literal = rule.pattern.chars().filter(|c| !matches!(c, '*' | '?'));
            (rule.permission != ANY, literal.count(), rule.decision)
        };
        self.rules
            .iter()
            .filter(fits)
            .max_by_key(exactness)
            .map(|rule| rule.decision)
            .unwrap_or_default()
    }
}

/// `*` is any text, `?` one character. What ends in ` *` is also the word alone, as with the assistant's own patterns.
fn matches(pattern: &str, text: &str) -> bool {
    if let Some(word) = pattern.strip_suffix(" *")
        && glob(word, text)
    {
        return true;
    }
    glob(pattern, text)
}

/// Goes back to the last `*` only: linear in practice, and never worse than the two lengths multiplied.
fn glob(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), text.chars().collect());
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(c) if *c == '?' || *c == text[t] => {
                p += 1;
                t += 1;
            }
            _ => match star {
                Some((at, taken)) => {
                    star = Some((at, taken + 1));
                    p = at + 1;
                    t = taken + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

/// As it stands in a configuration.
impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.rules[..] {
            [] => return f.write_str(Decision::Ask.as_str()),
            [rule] if rule.permission == ANY && rule.pattern == ANY => {
                return f.write_str(rule.decision.as_str());
            }
            _ => {}
        }
        let mut names: Vec<&str> = Vec::new();
        for rule in &self.rules {
            if !names.contains(&rule.permission.as_str()) {
                names.push(&rule.permission);
            }
        }
        f.write_str("{")?;
        for (index, name) in names.iter().enumerate() {
            let rules = self.rules.iter().filter(|rule| rule.permission == *name);
            let each: Vec<String> = rules
                .map(|rule| format!("{:?}: {:?}", rule.pattern, rule.decision.as_str()))
                .collect();
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{name:?}: {{{}}}", each.join(", "))?;
        }
        f.write_str("}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn policy(rules: &[(&str, &str, Decision)]) -> Policy {
        let rule = |(permission, pattern, decision): &(&str, &str, Decision)| Rule {
            permission: (*permission).to_owned(),
            pattern: (*pattern).to_owned(),
            decision: *decision,
        };
        Policy::new(rules.iter().map(rule).collect())
    }

    fn bash(commands: &[&str]) -> Asked {
        Asked {
            permission: Some("bash".to_owned()),
            patterns: commands.iter().map(|text| (*text).to_owned()).collect(),
            ..Asked::default()
        }
    }

    #[test]
    fn the_most_exact_rule_decides_whatever_the_order() {
        let mut rules = vec![
            ("*", "*", Decision::Deny),
            ("bash", "*", Decision::Ask),
            ("bash", "git *", Decision::Allow),
            ("bash", "git push *", Decision::Deny),
        ];
        for _ in 0..2 {
            let policy = policy(&rules);
            assert_eq!(policy.decide(&bash(&["git status"])), Decision::Allow);
            assert_eq!(policy.decide(&bash(&["git"])), Decision::Allow);
            assert_eq!(policy.decide(&bash(&["gitk"])), Decision::Ask);
            assert_eq!(policy.decide(&bash(&["git push --force"])), Decision::Deny);
            assert_eq!(policy.decide(&bash(&["ls"])), Decision::Ask);
            let edit = Asked {
                permission: Some("edit".to_owned()),
                ..Asked::default()
            };
            assert_eq!(policy.decide(&edit), Decision::Deny);
            rules.reverse();
        }
    }

    #[test]
    fn one_command_of_several_that_may_not_run_stops_them_all() {
        let policy = policy(&[
            ("bash", "git *", Decision::Allow),
            ("bash", "rm *", Decision::Deny),
        ]);
        assert_eq!(
            policy.decide(&bash(&["git status", "git log"])),
            Decision::Allow
        );
        assert_eq!(policy.decide(&bash(&["git status", "ls"])), Decision::Ask);
        assert_eq!(
            policy.decide(&bash(&["git status", "rm -rf /"])),
            Decision::Deny
        );
    }

    #[test]
    fn what_was_cut_off_is_allowed_by_no_rule() {
        let policy = policy(&[
            ("bash", "*", Decision::Allow),
            ("bash", "rm *", Decision::Deny),
        ]);
        let cut = |commands: &[&str]| Asked {
            incomplete: true,
            ..bash(commands)
        };
        assert_eq!(policy.decide(&cut(&["true"])), Decision::Ask);
        assert_eq!(policy.decide(&cut(&["rm x"])), Decision::Deny);
        assert_eq!(policy.decide(&bash(&["true"])), Decision::Allow);
    }

    #[test]
    fn of_equally_exact_rules_the_strictest_decides() {
        let policy = policy(&[
            ("bash", "a*", Decision::Deny),
            ("bash", "*b", Decision::Allow),
        ]);
        assert_eq!(policy.decide(&bash(&["ab"])), Decision::Deny);
    }

    #[test]
    fn a_question_is_for_people_even_where_everything_is_allowed() {
        let question = Asked {
            kind: AskedKind::Question,
            ..Asked::default()
        };
        assert_eq!(Policy::of(Decision::Allow).decide(&question), Decision::Ask);
        assert_eq!(Policy::of(Decision::Deny).decide(&question), Decision::Deny);
        let only = policy(&[("question", "*", Decision::Deny)]);
        assert_eq!(only.decide(&question), Decision::Deny);
        assert_eq!(only.decide(&bash(&["ls"])), Decision::Ask);
    }

    #[test]
    fn a_policy_is_told_as_it_is_written() {
        assert_eq!(Policy::ASK.to_string(), "ask");
        assert_eq!(Policy::of(Decision::Deny).to_string(), "deny");
        let rules = [
            ("bash", "git *", Decision::Allow),
            ("edit", "*", Decision::Deny),
            ("bash", "rm *", Decision::Deny),
        ];
        assert_eq!(
            policy(&rules).to_string(),
            r#"{"bash": {"git *": "allow", "rm *": "deny"}, "edit": {"*": "deny"}}"#
        );
    }

    proptest! {
        #[test]
        fn a_pattern_without_wildcards_is_the_text_itself(text in "[a-c]{0,6}", other in "[a-c]{0,6}") {
            prop_assert_eq!(glob(&text, &other), text == other);
        }

        #[test]
        fn what_a_pattern_is_made_of_matches_it(parts in prop::collection::vec("[a-b]{0,3}", 1..5), between in "[a-c]{0,3}") {
            prop_assert!(glob(&parts.join("*"), &parts.join(&between)));
        }
    }
}
