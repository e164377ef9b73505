//! Answers of the balancer's own: those it makes when no target does, with ALB's bodies, and those
//! that rules ask for.

use crate::imposed::Imposed;
use crate::time::http_date;
use std::io::Write;

/// What stops a request from being carried to a target, with the status ALB gives it.
/// Source: ELB user guide, "Troubleshoot your Application Load Balancers".
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trouble {
    BadRequest,
    MethodNotAllowed,
    RequestTimeout,
    UriTooLong,
    /// The client went away; nobody reads it, but the access log says so.
    ClientClosed,
    /// X-Forwarded-For with more than 30 addresses.
    ForwardedTooLong,
    /// The request's protocol and the target group's don't go together.
    Incompatible,
    BadGateway,
    Unavailable,
    GatewayTimeout,
    Version,
}

impl Trouble {
    pub const fn status(self) -> u16 {
        match self {
            Self::BadRequest => 400,
            Self::MethodNotAllowed => 405,
            Self::RequestTimeout => 408,
            Self::UriTooLong => 414,
            Self::ClientClosed => 460,
            Self::ForwardedTooLong => 463,
            Self::Incompatible => 464,
            Self::BadGateway => 502,
            Self::Unavailable => 503,
            Self::GatewayTimeout => 504,
            Self::Version => 505,
        }
    }

    const fn title(self) -> &'static str {
        match self {
            Self::BadRequest => "400 Bad Request",
            Self::MethodNotAllowed => "405 Not Allowed",
            Self::RequestTimeout => "408 Request Time-out",
            Self::UriTooLong => "414 Request-URI Too Large",
            Self::ClientClosed => "460",
            Self::ForwardedTooLong => "463",
            Self::Incompatible => "464",
            Self::BadGateway => "502 Bad Gateway",
            Self::Unavailable => "503 Service Temporarily Unavailable",
            Self::GatewayTimeout => "504 Gateway Time-out",
            Self::Version => "505 HTTP Version Not Supported",
        }
    }

    pub fn answer(self) -> Answer {
        page(self.status(), self.title())
    }
}

/// The page that says nothing but its title.
fn page(status: u16, title: &str) -> Answer {
    let body = format!(
        "<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n\
         <center><h1>{title}</h1></center>\r\n</body>\r\n</html>\r\n"
    );
    Answer {
        status,
        content_type: "text/html".to_owned(),
        location: None,
        body: body.into_bytes().into(),
    }
}

pub fn redirect(status: u16, location: String) -> Answer {
    let title = if status == 301 { "301 Moved Permanently" } else { "302 Found" };
    Answer { location: Some(location), ..page(status, title) }
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    pub status: u16,
    pub content_type: String,
    pub location: Option<String>,
    pub body: bytes::Bytes,
}

/// What ALB signs its answers with.
pub const SERVER: &str = "awselb/2.0";

impl Answer {
    /// As HTTP/1.1. `headless`: to a HEAD request, which gets no body.
    pub fn write(&self, out: &mut Vec<u8>, keep: bool, headless: bool, imposed: &Imposed) {
        let reason = reason(self.status);
        let date = http_date();
        write!(out, "HTTP/1.1 {} {reason}\r\n", self.status)
            .and_then(|()| {
                if let Some(server) = imposed.server() {
                    write!(out, "Server: {server}\r\n")?;
                }
                write!(out, "Date: {date}\r\n")?;
                if !self.body.is_empty() {
                    write!(out, "Content-Type: {}\r\n", self.content_type)?;
                }
                write!(out, "Content-Length: {}\r\n", self.body.len())?;
                if let Some(location) = &self.location {
                    write!(out, "Location: {location}\r\n")?;
                }
                imposed.write(out);
                let connection = if keep { "keep-alive" } else { "close" };
                write!(out, "Connection: {connection}\r\n\r\n")
            })
            .expect("a Vec takes everything");
        if !headless {
            out.extend_from_slice(&self.body);
        }
    }
}

fn reason(status: u16) -> &'static str {
    let known = http::StatusCode::from_u16(status).ok();
    known.and_then(|status| status.canonical_reason()).unwrap_or("")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_answers_look_like_albs() {
        let mut out = Vec::new();
        Trouble::Unavailable.answer().write(&mut out, true, false, &Imposed::default());
        let text = String::from_utf8(out).expect("it is text");
        assert!(text.starts_with("HTTP/1.1 503 Service Unavailable\r\nServer: awselb/2.0\r\n"));
        assert!(text.contains("\r\nContent-Type: text/html\r\nContent-Length: 162\r\n"), "{text}");
        assert!(text.ends_with(
            "\r\n\r\n<html>\r\n<head><title>503 Service Temporarily Unavailable</title></head>\r\n\
             <body>\r\n<center><h1>503 Service Temporarily Unavailable</h1></center>\r\n</body>\r\n\
             </html>\r\n"
        ));
        let mut headless = Vec::new();
        Trouble::Unavailable.answer().write(&mut headless, false, true, &Imposed::default());
        let headless = String::from_utf8(headless).expect("it is text");
        assert!(headless.contains("Content-Length: 162\r\nConnection: close\r\n"));
        assert!(headless.ends_with("\r\n\r\n"));
    }
}
