//! From an operation's name to its function. Each service module lists what it serves, one line an
//! operation; what is not listed is refused by name, and stands in the gap file.

use crate::context::{Caller, Context};
use crate::fault::Fault;
use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use wire::{Call, Service};

/// An encoded reply.
pub type Reply = http::Response<Vec<u8>>;
pub type Handled<'a> = Pin<Box<dyn Future<Output = Result<Reply, Fault>> + Send + 'a>>;
pub type Handler = for<'a> fn(&'a Context, &'a Caller, &'a Call<'a>, &'a str) -> Handled<'a>;

/// One served operation.
pub struct Route {
    pub service: &'static Service,
    pub operation: &'static str,
    pub handler: Handler,
    /// Fields that are accepted but change nothing yet. They are listed in the gap file.
    pub ignored: &'static [&'static str],
}

/// `route!(ecs, RunTaskRequest, run_task::run_task, ignores ["referenceId"])`: the request's type
/// names the operation.
macro_rules! route {
    ($service:ident, $input:ident, $function:path) => {
        $crate::dispatch::route!($service, $input, $function, ignores [])
    };
    ($service:ident, $input:ident, $function:path, ignores [$($field:literal),* $(,)?]) => {
        $crate::dispatch::Route {
            service: &wire::$service::SERVICE,
            operation: <wire::$service::$input as wire::Request>::OPERATION,
            handler: |cx, caller, call, request_id| {
                Box::pin(async move {
                    let input = call.decode::<wire::$service::$input>()?;
                    $crate::fault::check(call.service, &wire::Request::violations(&input))?;
                    let output = $function(cx, caller, input).await?;
                    Ok(call.reply(&output, request_id))
                })
            },
            ignored: &[$($field),*],
        }
    };
}
pub(crate) use route;

/// Every served operation, by service.
pub static SERVED: &[&[Route]] = &[
    crate::acm::ROUTES,
    crate::autoscaling::ROUTES,
    crate::cloudwatch::ROUTES,
    crate::ec2::ROUTES,
    crate::ecr::ROUTES,
    crate::ecs::ROUTES,
    crate::elbv2::ROUTES,
    crate::iam::ROUTES,
    crate::logs::ROUTES,
    crate::secretsmanager::ROUTES,
    crate::ssm::ROUTES,
    crate::servicediscovery::ROUTES,
    crate::sts::ROUTES,
];

/// `SERVED`, ready for look-ups.
pub struct Table {
    routes: HashMap<(&'static str, &'static str), &'static Route>,
}

impl Table {
    pub fn new() -> Self {
        let mut routes = HashMap::new();
        for route in SERVED.iter().copied().flatten() {
            let known = route.service.operation(route.operation).is_some();
            assert!(known, "{} is no operation of {}", route.operation, route.service.id);
            let twice = routes.insert((route.service.id, route.operation), route);
            assert!(twice.is_none(), "{} is served twice", route.operation);
        }
        Self { routes }
    }

    pub fn find(&self, call: &Call<'_>) -> Option<&'static Route> {
        self.routes.get(&(call.service.id, call.operation.name)).copied()
    }
}

impl Default for Table {
    fn default() -> Self {
        Self::new()
    }
}
