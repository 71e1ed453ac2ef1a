//! The installed service: whether its file is what would be written now. A PATH of last month is why a tool is not found.

use super::Examination;
use crate::service::{Manager, Standing, capture, standing};

pub(super) fn look(to: &mut Examination<'_>) {
    let manager = Manager::here();
    let file = manager.file(&to.app.paths);
    let shown = to.app.paths.shown(&file);
    match standing(&file) {
        Ok(Standing::Absent) => to.ok("service", "no service is installed"),
        Ok(Standing::Foreign) => to.warn(
            "service",
            format!("{shown} was not written by orchestrator"),
            "orchestrator service print",
        ),
        Ok(Standing::Ours(text)) => {
            let here = capture::capture();
            let path = manager.path_in(&text);
            let is_outdated = match (&path, &here) {
                (Some(path), Ok(here)) => path != here.path(),
                _ => false,
            };
            if is_outdated {
                to.warn(
                    "service",
                    format!("{shown} has another PATH than this shell"),
                    "orchestrator service install",
                );
            } else {
                to.ok("service", format!("{shown} is installed"));
            }
        }
        Err(error) => to.warn("service", error.to_string(), "orchestrator service status"),
    }
}
