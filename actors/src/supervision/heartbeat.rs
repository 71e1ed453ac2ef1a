//! The heartbeat round: once a second it looks at every actor's gauge and says in the log when one is stuck or its
//! mailbox is crowded, and when that is over. It asks nobody, so a stuck actor cannot hold it up. It changes
//! nothing: `ps` reads the same gauges, and a person decides (`orchestrator restart` replaces a stuck actor).
//!
//! A round that finds the root at work, or with nothing to do, is a pulse of the table. The pulse ends with the root: nobody can
//! replace that one from inside, so whoever watches the process from outside (a service manager's watchdog) listens to it.

use std::collections::BTreeMap;
use std::time::Duration;

use tracing::{info, warn};

use super::gauge::{CROWDED, Reading};
use crate::table::{ActorKey, ActorTable};

const ROUND: Duration = Duration::from_secs(1);

/// What was said about an actor and is not over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Alarm {
    stuck: bool,
    crowded: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum Word {
    Stuck(ActorKey),
    Crowded(ActorKey),
    Over(ActorKey),
}

/// Goes round until it is dropped.
pub async fn rounds(table: ActorTable) {
    let mut alarms = BTreeMap::new();
    let mut interval = tokio::time::interval(ROUND);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    loop {
        interval.tick().await;
        let readings: Vec<_> = table
            .snapshot()
            .into_iter()
            .map(|card| (card.key, card.gauge.read()))
            .collect();
        for word in round(&mut alarms, &readings) {
            say(&word, &readings);
        }
        if is_well(&ActorKey::machine(), &readings) {
            table.beat();
        }
    }
}

fn round(alarms: &mut BTreeMap<ActorKey, Alarm>, readings: &[(ActorKey, Reading)]) -> Vec<Word> {
    let mut words = Vec::new();
    alarms.retain(|key, _| readings.iter().any(|(known, _)| known == key));
    for (key, reading) in readings {
        let before = alarms.get(key).copied().unwrap_or_default();
        let now = Alarm {
            stuck: reading.stuck.is_some(),
            // An alarm is over only when half of it is gone, so that it is not told in every round.
            crowded: reading.waiting >= if before.crowded { CROWDED / 2 } else { CROWDED },
        };
        if now.stuck && !before.stuck {
            words.push(Word::Stuck(key.clone()));
        }
        if now.crowded && !before.crowded {
            words.push(Word::Crowded(key.clone()));
        }
        if now == Alarm::default() && before != now {
            words.push(Word::Over(key.clone()));
        }
        alarms.insert(key.clone(), now);
    }
    words
}

fn is_well(key: &ActorKey, readings: &[(ActorKey, Reading)]) -> bool {
    let found = readings.iter().find(|(known, _)| known == key);
    found.is_some_and(|(_, reading)| reading.stuck.is_none())
}

fn say(word: &Word, readings: &[(ActorKey, Reading)]) {
    let of = |key: &ActorKey| {
        let found = readings.iter().find(|(known, _)| known == key);
        found.map_or_else(Reading::default, |(_, reading)| *reading)
    };
    match word {
        Word::Stuck(key) => {
            let reading = of(key);
            let stuck = reading.stuck;
            warn!(
                actor = %key,
                doing = stuck.map_or("", |stuck| stuck.doing),
                for_ms = stuck.map_or(0, |stuck| stuck.for_ms),
                waiting = reading.waiting,
                "actor is stuck"
            );
        }
        Word::Crowded(key) => warn!(actor = %key, waiting = of(key).waiting, "mailbox is crowded"),
        Word::Over(key) => {
            info!(actor = %key, largest = of(key).largest, "actor answers again");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::gauge::Stuck;
    use super::*;

    #[test]
    fn an_alarm_is_told_once_when_it_begins_and_once_when_it_is_over() {
        let key = ActorKey::parse("session/s");
        let mut alarms = BTreeMap::new();
        let mut at = |waiting, stuck: bool| {
            let reading = Reading {
                waiting,
                largest: waiting,
                stuck: stuck.then_some(Stuck {
                    doing: "Tick",
                    for_ms: 5_000,
                }),
            };
            round(&mut alarms, &[(key.clone(), reading)])
        };
        assert_eq!(at(CROWDED - 1, false), []);
        assert_eq!(at(CROWDED, false), [Word::Crowded(key.clone())]);
        assert_eq!(at(CROWDED - 1, true), [Word::Stuck(key.clone())]);
        assert_eq!(at(CROWDED / 2, true), []);
        assert_eq!(at(0, true), []);
        assert_eq!(at(0, false), [Word::Over(key.clone())]);
        assert_eq!(at(0, false), []);
    }

    #[tokio::test(start_paused = true)]
    async fn the_pulse_stops_while_the_root_is_stuck_and_while_there_is_none() {
        use crate::table::{ActorCard, ActorKind};
        let table = ActorTable::default();
        let pulse = table.pulse();
        let beats = || *pulse.borrow();
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(rounds(table.clone()));
        tokio::time::sleep(ROUND * 3).await;
        assert_eq!(beats(), 0, "there is no root");
        let mut root = ActorCard::new(ActorKey::machine(), None, ActorKind::Machine, "m");
        let gauge = super::super::Gauge::default();
        root.gauge = gauge.clone();
        table.put(root);
        tokio::time::sleep(ROUND * 3).await;
        let well = beats();
        assert!(well >= 2, "{well}");
        let handling = gauge.begin("Reload");
        tokio::time::sleep(super::super::gauge::STUCK + ROUND).await;
        let stuck = beats();
        tokio::time::sleep(ROUND * 10).await;
        assert_eq!(beats(), stuck);
        drop(handling);
        tokio::time::sleep(ROUND * 3).await;
        assert!(beats() > stuck);
    }

    #[test]
    fn an_actor_that_is_gone_leaves_no_alarm_behind() {
        let key = ActorKey::parse("session/s");
        let mut alarms = BTreeMap::new();
        let crowded = Reading {
            waiting: CROWDED,
            largest: CROWDED,
            stuck: None,
        };
        round(&mut alarms, &[(key, crowded)]);
        assert_eq!(round(&mut alarms, &[]), []);
        assert!(alarms.is_empty());
    }
}
