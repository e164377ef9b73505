//! What is kept of a request for the access log, while it goes on. Its texts are copied only for a
//! load balancer whose access log is on.

use crate::answer::Trouble;
use crate::connection::Connection;
use crate::core::Core;
use crate::desync::Verdict;
use crate::http2::Guest;
use crate::table::Site;
use crate::target::Target;
use http::Request;
use tokio::time::Instant;

#[derive(Default)]
pub struct Record {
    pub verdict: Option<Verdict>,
    pub sent_at: Option<Instant>,
    pub first_byte_at: Option<Instant>,
    pub target_status: u16,
    pub received: u64,
    pub sent: u64,
}

impl Record {
    pub fn begin(_connection: &Connection, _site: &Site) -> Self {
        Self::default()
    }

    pub fn begin_http2<B>(_guest: &Guest, _site: &Site, _request: &Request<B>) -> Self {
        Self::default()
    }

    pub fn target(&mut self, _target: &Target) {}

    pub fn trouble(&mut self, _trouble: Trouble) {}

    pub fn answered(&mut self, _status: u16, _location: Option<&str>) {}

    pub fn end(&self, _core: &Core, _site: &Site) {}
}
