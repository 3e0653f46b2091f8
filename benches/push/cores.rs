//! Cores: the last is the crowd's, and where CPU time is compared the server has the others.
//! Hands over a guard. It must never keep anybody else from a core.
//!
//! With two of them, Linux leaves a server on the core of its readers or on the other one, as it happens, for
//! a whole measurement. A message that stays on its core is a third cheaper and arrives later: whoever
//! is lucky would be ahead.

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

/// The calling thread, and what it starts from then on.
const SELF: Pid = Pid::from_raw(0);

/// What the thread that asked for it starts runs on all cores but the last, until this is dropped.
pub struct LastLeft {
    before: CpuSet,
}

/// Nothing where there is but one core, or where the system does not allow it.
pub fn leave_last() -> Option<LastLeft> {
    let before = sched_getaffinity(SELF).ok()?;
    let mut others = before;
    others.unset(last_of(&before)?).ok()?;
    // The system refuses an empty set.
    sched_setaffinity(SELF, &others).ok()?;
    Some(LastLeft { before })
}

/// Keeps the calling thread on the last core, where that is allowed. Left to itself the system moves it to
/// where the server sends, and then each waits for the other.
pub fn keep_to_last() {
    let last = sched_getaffinity(SELF).ok().and_then(|all| last_of(&all));
    let mut here = CpuSet::new();
    if last.is_some_and(|last| here.set(last).is_ok()) {
        let _ = sched_setaffinity(SELF, &here);
    }
}

fn last_of(cores: &CpuSet) -> Option<usize> {
    (0..CpuSet::count()).rfind(|core| cores.is_set(*core) == Ok(true))
}

impl Drop for LastLeft {
    fn drop(&mut self) {
        // They were its own a moment ago.
        let _ = sched_setaffinity(SELF, &self.before);
    }
}
