//! What the answers to checks make of a target: a pure machine of three states and two counts.
//! Source: ELB user guide, health checks for target groups: the first passed check makes a new
//! target healthy; after that as many in a row as the thresholds say.

use super::Opinion;
use model::balancing::TargetState;

/// Why this check was made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Look {
    /// Its interval was over.
    Due,
    /// Between two that are due, as the target has not passed any check yet.
    Early,
    /// As something else spoke against the target.
    Prompted,
}

/// What a check came back with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    Passed,
    /// The target's code is not among the wanted.
    Code(u32),
    TimedOut,
    /// No connection, or no answer that could be understood.
    Failed,
    /// We could not ask: says nothing of the target.
    Ours,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Thresholds {
    pub healthy: u32,
    pub unhealthy: u32,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Standing {
    state: TargetState,
    /// Passed or failed in a row, whichever the last one was; never both above zero.
    passed: u32,
    failed: u32,
    /// The last answer that was not a pass.
    fault: Option<Answer>,
}

impl Standing {
    pub fn new() -> Standing {
        Standing { state: TargetState::Initial, passed: 0, failed: 0, fault: None }
    }

    pub fn state(&self) -> TargetState {
        self.state
    }

    /// Whether the last answer spoke against the target.
    pub fn is_doubted(&self) -> bool {
        self.failed > 0
    }

    pub fn observe(&mut self, look: Look, answer: Answer, thresholds: Thresholds) {
        if answer == Answer::Passed {
            self.pass(look, thresholds);
        } else {
            self.fail(look, answer, thresholds);
        }
    }

    fn pass(&mut self, look: Look, thresholds: Thresholds) {
        // Looks that others prompt must not shorten the way back.
        if self.state == TargetState::Unhealthy && look != Look::Due {
            return;
        }
        self.failed = 0;
        self.passed = self.passed.saturating_add(1);
        let enough = self.state != TargetState::Unhealthy || self.passed >= thresholds.healthy;
        if enough {
            self.state = TargetState::Healthy;
            self.fault = None;
        }
    }

    fn fail(&mut self, look: Look, answer: Answer, thresholds: Thresholds) {
        // A healthy target stays in service when it is we who can't ask.
        let ours = answer == Answer::Ours && self.state == TargetState::Healthy;
        if ours || look == Look::Early {
            return;
        }
        self.passed = 0;
        self.failed = self.failed.saturating_add(1);
        self.fault = Some(answer);
        if self.failed >= thresholds.unhealthy {
            self.state = TargetState::Unhealthy;
        }
    }

    /// As DescribeTargetHealth shows it.
    /// Source: ELB user guide, health check reason codes.
    pub fn opinion(&self) -> Opinion {
        let (reason, description) = match (self.state, &self.fault) {
            (TargetState::Healthy, _) => {
                return Opinion { state: self.state, reason: None, description: None };
            }
            (TargetState::Initial, _) => {
                ("Elb.InitialHealthChecking", "Initial health checks in progress".to_owned())
            }
            (_, Some(Answer::Code(code))) => (
                "Target.ResponseCodeMismatch",
                format!("Health checks failed with these codes: [{code}]"),
            ),
            (_, Some(Answer::TimedOut)) => ("Target.Timeout", "Request timed out".to_owned()),
            (_, Some(Answer::Ours)) => {
                ("Elb.InternalError", "Health checks failed due to an internal error".to_owned())
            }
            (_, _) => ("Target.FailedHealthChecks", "Health checks failed".to_owned()),
        };
        let reason = Some(reason.to_owned());
        Opinion { state: self.state, reason, description: Some(description) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use TargetState::{Healthy, Initial, Unhealthy};

    const ANSWERS: [Answer; 3] = [Answer::Passed, Answer::Failed, Answer::Ours];
    const LOOKS: [Look; 3] = [Look::Due, Look::Early, Look::Prompted];

    /// The state after a history, said in another way: by its last run of one kind, not by counts.
    fn told(history: &[(Look, Answer)], thresholds: Thresholds) -> TargetState {
        let mut state = Initial;
        let mut since: Vec<bool> = Vec::new();
        for (look, answer) in history {
            let passed = *answer == Answer::Passed;
            let passed_over = matches!(
                (state, look, answer),
                (Unhealthy, Look::Early | Look::Prompted, Answer::Passed)
                    | (_, Look::Early, Answer::Failed | Answer::Ours)
                    | (Healthy, _, Answer::Ours)
            );
            if passed_over {
                continue;
            }
            since.push(passed);
            let run = since.iter().rev().take_while(|it| **it == passed).count() as u32;
            state = match (state, passed) {
                (Initial | Healthy, true) => Healthy,
                (Unhealthy, true) if run >= thresholds.healthy => Healthy,
                (_, false) if run >= thresholds.unhealthy => Unhealthy,
                (state, _) => state,
            };
        }
        state
    }

    /// Every history of up to five checks under every pair of small thresholds.
    #[test]
    fn the_machine_is_what_the_thresholds_say() {
        let mut seen = 0;
        for (healthy, unhealthy) in [(1, 1), (2, 2), (2, 3), (3, 2), (5, 2)] {
            let thresholds = Thresholds { healthy, unhealthy };
            let mut histories: Vec<Vec<(Look, Answer)>> = vec![Vec::new()];
            for _ in 0..5 {
                let longer = |history: Vec<(Look, Answer)>| {
                    let steps =
                        LOOKS.iter().flat_map(|look| ANSWERS.iter().map(|a| (*look, a.clone())));
                    let grown = steps.map(move |step| [history.clone(), vec![step]].concat());
                    grown.collect::<Vec<_>>()
                };
                histories = histories.into_iter().flat_map(longer).collect();
                for history in &histories {
                    let mut standing = Standing::new();
                    for (look, answer) in history {
                        standing.observe(*look, answer.clone(), thresholds);
                        assert!(standing.passed == 0 || standing.failed == 0, "{history:?}");
                    }
                    assert_eq!(standing.state(), told(history, thresholds), "{history:?}");
                    let opinion = standing.opinion();
                    assert_eq!(opinion.reason.is_none(), opinion.state == Healthy, "{history:?}");
                    seen += 1;
                }
            }
        }
        assert!(seen > 300_000);
    }

    #[test]
    fn reasons_are_worded_as_elb_words_them() {
        let thresholds = Thresholds { healthy: 2, unhealthy: 1 };
        let shown = |answer| {
            let mut standing = Standing::new();
            standing.observe(Look::Due, answer, thresholds);
            let Opinion { reason, description, .. } = standing.opinion();
            (reason.unwrap_or_default(), description.unwrap_or_default())
        };
        let words = |reason: &str, description: &str| (reason.to_owned(), description.to_owned());
        assert_eq!(
            shown(Answer::Code(500)),
            words("Target.ResponseCodeMismatch", "Health checks failed with these codes: [500]")
        );
        assert_eq!(shown(Answer::TimedOut), words("Target.Timeout", "Request timed out"));
        assert_eq!(
            shown(Answer::Failed),
            words("Target.FailedHealthChecks", "Health checks failed")
        );
        assert_eq!(
            shown(Answer::Ours),
            words("Elb.InternalError", "Health checks failed due to an internal error")
        );
        let opinion = Standing::new().opinion();
        assert_eq!(opinion.description.as_deref(), Some("Initial health checks in progress"));
    }
}
