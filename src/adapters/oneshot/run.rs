//! A run from its start to its verdict: the two limits, the abort, and the tries again.

use std::io;
use std::time::Duration;

use orchestrator_actors::domain::task::{Class, Failure};
use orchestrator_actors::ports::tasks::{Assignment, RunReport};
use rustix::process::Signal;
use tokio_util::sync::CancellationToken;

use super::{End, EndedBy, Folder, OneShot, Transcript, key_of};
use crate::adapters::process::{
    ExitRecord, Source, SpawnError, Ward, WardSpec, environment, speaks_of_shortage,
};

/// For what a dead supervisor left of the same task: its warden needs a moment to end it.
const LEASE_RETRY: Duration = Duration::from_millis(200);
const LEASE_TRIES: u32 = 25;

/// Of what it said last, for people.
const LAST_LINES: usize = 5;

pub async fn run<Kind: OneShot>(
    kind: &Kind,
    assignment: &Assignment,
    abort: &CancellationToken,
) -> Result<RunReport, Failure> {
    let mut tried = 0;
    loop {
        tried += 1;
        let (ended, touched) = once(kind, assignment, abort).await?;
        let failure = match ended {
            Ok(mut report) => {
                report.tries = tried;
                return Ok(report);
            }
            Err(failure) => failure,
        };
        let again = failure.class.passes_by_itself() && !touched;
        let pause = kind.common().patience.pause(tried).filter(|_| again);
        let Some(pause) = pause else {
            return Err(failure);
        };
        let asked = Duration::from_secs(failure.retry_after_s.unwrap_or(0));
        let pause = pause.max(asked).min(kind.common().patience.longest);
        tracing::warn!(task = %assignment.task, class = ?failure.class, tried, "the run is tried again");
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = abort.cancelled() => {
                return Err(Failure::new(Class::Aborted, "the run was called off"));
            }
        }
    }
}

/// The verdict, and whether the tree may have changed.
type Once = (Result<RunReport, Failure>, bool);

async fn once<Kind: OneShot>(
    kind: &Kind,
    assignment: &Assignment,
    abort: &CancellationToken,
) -> Result<Once, Failure> {
    let common = kind.common();
    if !common.binary.is_file() {
        return Err(missing(kind, "there is no such file"));
    }
    let folder = Folder::make(&common.run_dir, kind.name(), &key_of(&assignment.task))
        .map_err(|error| no_folder(&error))?;
    std::fs::write(folder.instructions(), &assignment.description)
        .map_err(|error| no_folder(&error))?;
    let (spec, secrets) = kind.describe(assignment, &folder);
    let mut ward = spawn(kind, spec).await?;
    let lines = ward.take_lines();
    let reading = async {
        let mut transcript = Kind::Transcript::default();
        if let Some(mut lines) = lines {
            while let Some(line) = lines.recv().await {
                if line.source == Source::Stdout {
                    transcript.read_line(&line.text);
                    assignment.turns.set(transcript.turns());
                }
            }
        }
        transcript
    };
    let (mut transcript, (record, ended_by)) =
        tokio::join!(reading, to_its_end(kind, &ward, abort));
    // Lines that came faster than they were read are lost; the last ones never are.
    if !transcript.is_complete() {
        for line in &record.last_lines {
            transcript.read_line(line);
        }
    }
    let end = End {
        code: record.code,
        signal: record.signal,
        ended_by,
        last_words: last_words(&record, &secrets),
    };
    let verdict = match end.by_us() {
        Some(failure) => Err(failure),
        None => kind.verdict(&end, &transcript),
    };
    let verdict = match verdict {
        Ok(mut report) => {
            report.summary = environment::redacted(&report.summary, &secrets);
            Ok(report)
        }
        Err(mut failure) => {
            if failure.class == Class::Assistant && speaks_of_shortage(&failure.message) {
                failure.class = Class::Shortage;
            }
            failure.message = environment::redacted(&failure.message, &secrets);
            Err(failure)
        }
    };
    Ok((verdict, transcript.has_used_tools()))
}

async fn spawn(kind: &impl OneShot, spec: WardSpec) -> Result<Ward, Failure> {
    let mut tried = 0;
    loop {
        match Ward::spawn(spec.clone()).await {
            Ok(ward) => return Ok(ward),
            Err(SpawnError::Busy(_) | SpawnError::Shortage(_)) if tried < LEASE_TRIES => {}
            Err(SpawnError::Busy(held)) => {
                let message = format!("another process still works on this task: it holds {held}");
                return Err(Failure::new(Class::Shortage, message));
            }
            Err(SpawnError::Shortage(message)) => {
                return Err(Failure::new(Class::Shortage, message));
            }
            Err(SpawnError::Failed(message)) if speaks_of_shortage(&message) => {
                return Err(Failure::new(Class::Shortage, message));
            }
            Err(SpawnError::Failed(message)) => return Err(missing(kind, &message)),
        }
        tried += 1;
        tokio::time::sleep(LEASE_RETRY).await;
    }
}

/// Waits for the end, or sees to it.
async fn to_its_end(
    kind: &impl OneShot,
    ward: &Ward,
    abort: &CancellationToken,
) -> (ExitRecord, Option<EndedBy>) {
    let limits = kind.common().limits;
    tokio::select! {
        biased;
        record = ward.exited() => (record, None),
        () = abort.cancelled() => {
            let term_ms = limits.abort.as_millis() as u64;
            (ward.stop(term_ms).await, Some(EndedBy::Abort))
        }
        () = tokio::time::sleep(limits.process) => {
            let left = limits.hard.saturating_sub(limits.process);
            let record = ward.stop(left.as_millis() as u64).await;
            let killed = record.signal == Some(Signal::KILL.as_raw());
            let by = if killed { EndedBy::HardTimeout } else { EndedBy::ProcessTimeout };
            (record, Some(by))
        }
    }
}

fn last_words(record: &ExitRecord, secrets: &[String]) -> String {
    let plain: Vec<&String> = record
        .last_lines
        .iter()
        .filter(|line| !line.starts_with('{') && !line.trim().is_empty())
        .collect();
    let shown = &plain[plain.len().saturating_sub(LAST_LINES)..];
    let lines: Vec<String> = shown
        .iter()
        .map(|line| environment::redacted(line, secrets))
        .collect();
    lines.join(" / ")
}

fn missing(kind: &impl OneShot, why: &str) -> Failure {
    let (name, path) = (kind.name(), kind.common().binary.display());
    let message = format!("{name} cannot be started ({path}): {why}");
    Failure::new(Class::Missing, message)
}

fn no_folder(error: &io::Error) -> Failure {
    let message = format!("could not make a folder for the run: {error}");
    // A full disk, too few descriptors, or a folder that is not ours to write in: no task's fault.
    Failure::new(Class::Shortage, message)
}
