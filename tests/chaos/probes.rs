//! Measures how long something takes to come back while other faults go on.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::figures::Figure;
use crate::stage::Stage;

/// What has not come back by then is waited for by somebody else.
const LIMIT: Duration = Duration::from_mins(1);

#[derive(Default)]
pub struct Probes {
    running: Mutex<Vec<JoinHandle<()>>>,
}

impl Probes {
    /// Polls `holds` from now on. Dropped when the supervisor is replaced meanwhile: it would measure that.
    pub fn watch(
        &self,
        stage: &Arc<Stage>,
        figure: Figure,
        poll: Duration,
        holds: impl Fn(&Stage) -> bool + Send + 'static,
    ) {
        let (stage, began) = (Arc::clone(stage), Instant::now());
        let life = stage.life.load(Ordering::SeqCst);
        self.run(move || {
            while began.elapsed() < LIMIT && stage.life.load(Ordering::SeqCst) == life {
                if holds(&stage) {
                    stage.figures.took(figure, began.elapsed());
                    return;
                }
                std::thread::sleep(poll);
            }
        });
    }

    /// Something that must not hold the schedule up.
    pub fn run(&self, task: impl FnOnce() + Send + 'static) {
        let mut running = self.running.lock().unwrap();
        running.retain(|probe| !probe.is_finished());
        running.push(std::thread::spawn(task));
    }

    pub fn join(&self) {
        let running: Vec<_> = self.running.lock().unwrap().drain(..).collect();
        for probe in running {
            let _ = probe.join();
        }
    }
}
