//! Targets, and whether they were reached. Hands over lines for people.
//! It must never make a bench fail: that a machine is slow is no defect.

/// A target, what was measured, and whether that reaches it.
pub struct Verdict {
    pub target: String,
    pub measured: String,
    pub reached: bool,
}

pub fn tell(verdicts: &[Verdict]) {
    println!();
    for verdict in verdicts {
        let word = if verdict.reached { "reached" } else { "MISSED" };
        println!("{word:8} {}: {}", verdict.target, verdict.measured);
    }
}
