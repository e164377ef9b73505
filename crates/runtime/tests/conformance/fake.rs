//! The fake runtime on the suite's bench.

use crate::bench::{Bench, Events, Program};
use runtime::fake::{Fake, FakeKernel};
use runtime::{ContainerLaunch, Timestamp};
use tokio::sync::mpsc;

pub struct FakeBench {
    fake: Fake,
    events: Events,
}

impl FakeBench {
    pub fn start() -> Self {
        let (sender, receiver) = mpsc::channel(1000);
        let fake = FakeKernel::new(|| Timestamp(1)).connect(sender);
        Self { fake, events: Events::new(receiver) }
    }
}

impl Bench for FakeBench {
    type Runtime = Fake;

    fn runtime(&self) -> &Fake {
        &self.fake
    }

    fn events(&self) -> &Events {
        &self.events
    }

    fn launch(&self, name: &str, program: Program<'_>) -> ContainerLaunch {
        let code;
        let argv: &[&str] = match program {
            Program::Run => &["run"],
            Program::Stubborn => &["stubborn"],
            Program::Exit(n) => {
                code = n.to_string();
                &["exit", &code]
            }
            Program::Print(text, n) => {
                code = n.to_string();
                &["print", text, &code]
            }
            Program::Missing => &["missing"],
        };
        ContainerLaunch::new(name, Vec::new(), argv)
    }
}
