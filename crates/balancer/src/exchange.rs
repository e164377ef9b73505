//! One request on its way to a target and the answer on its way back, both over HTTP/1. The two
//! directions go on side by side in one task: a body may still be sent while its answer comes.
//! Nothing is held but the two buffers; who reads slowly slows down who writes.

use crate::buffer::Buffer;
use crate::framing::{Decoder, Encoder, Length, answer_length};
use crate::head::{Head, Kind, Known, Version};
use crate::incoming;
use crate::limits::{ANSWER_HEAD_BYTES_MAX, BUFFER_BYTES_MAX};
use crate::link::{Link, is_silence};
use crate::patience::Patience;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::AsyncWrite;
use tokio::time::Instant;

/// How it ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    Whole,
    /// The target has agreed to speak something else; its answer has been passed on.
    Upgraded,
    /// The target closed before it said anything.
    Unanswered,
    /// The same, as its machine is gone.
    Lost,
    /// What the target said is no answer.
    Nonsense,
    /// The target closed in the middle of its answer.
    Cut,
    /// The client closed, or can't be written to.
    ClientGone,
    /// What the client sent is no body.
    BadBody,
    TimedOut,
}

/// Both ends, and what goes between them.
pub struct Exchange<'a> {
    pub client: &'a mut Link,
    /// What the client has sent and was not used.
    pub from_client: &'a mut Buffer,
    pub target: &'a mut Link,
    pub from_target: &'a mut Buffer,
    pub answer_head: &'a mut Head,
    pub up: Pipe<'a>,
    pub down: Pipe<'a>,
    pub body: Decoder,
    pub body_as: Encoder,
    pub terms: incoming::Terms<'a>,
    pub idle: Duration,
    pub patience: &'a mut Patience,
    pub told: Told,
}

/// Bytes on their way out.
pub struct Pipe<'a> {
    pub out: &'a mut Vec<u8>,
    pub written: usize,
    pub total: u64,
}

impl<'a> Pipe<'a> {
    pub fn new(out: &'a mut Vec<u8>) -> Self {
        Self { out, written: 0, total: 0 }
    }

    fn is_empty(&self) -> bool {
        self.written == self.out.len()
    }

    /// Ready when everything is written.
    fn poll_write(&mut self, link: &mut Link, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.written < self.out.len() {
            let rest = &self.out[self.written..];
            match Pin::new(&mut *link).poll_write(context, rest) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(count)) => {
                    self.written += count;
                    self.total += count as u64;
                }
                Poll::Ready(Err(failure)) => return Poll::Ready(Err(failure)),
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Where more is put once everything is written. What was written stays there until then: it
    /// may have to be sent again.
    fn next(&mut self) -> &mut Vec<u8> {
        if self.is_empty() {
            self.out.clear();
            self.written = 0;
        }
        self.out
    }
}

/// What is known of the answer.
#[derive(Default)]
pub struct Told {
    pub status: u16,
    /// When its first byte came.
    pub at: Option<Instant>,
    pub decoder: Option<Decoder>,
    pub encoder: Option<Encoder>,
    pub keep_target: bool,
    pub keep_client: bool,
    /// Whether anything of an answer was passed on to the client.
    pub begun: bool,
    target_ended: bool,
    upgraded: bool,
    up_broken: bool,
}

impl Told {
    pub fn new(keep_client: bool) -> Self {
        Self { keep_client, ..Self::default() }
    }
}

/// What a step in one direction came to.
enum Step {
    Went,
    Waits,
    Ends(End),
}

impl Exchange<'_> {
    pub async fn run(&mut self) -> End {
        std::future::poll_fn(|context| self.poll(context)).await
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<End> {
        let mut went_at_all = false;
        loop {
            let mut went = false;
            match self.poll_up(context) {
                Step::Went => went = true,
                Step::Waits => {}
                Step::Ends(end) => return Poll::Ready(end),
            }
            match self.poll_down(context) {
                Step::Went => went = true,
                Step::Waits => {}
                Step::Ends(end) => return Poll::Ready(end),
            }
            went_at_all |= went;
            if went {
                continue;
            }
            if went_at_all {
                self.patience.renew(Instant::now(), self.idle);
            }
            return match self.patience.poll(context) {
                Poll::Ready(()) => Poll::Ready(End::TimedOut),
                Poll::Pending => Poll::Pending,
            };
        }
    }

    /// From the client to the target.
    fn poll_up(&mut self, context: &mut Context<'_>) -> Step {
        if self.told.up_broken {
            // What the client still sends is for nobody; it waits until there is an answer.
            return Step::Waits;
        }
        if !self.up.is_empty() {
            return match self.up.poll_write(self.target, context) {
                Poll::Ready(Ok(())) => match poll_flush(self.target, context) {
                    Poll::Ready(Err(_)) => self.break_up(),
                    _ => Step::Went,
                },
                // It may have answered before it closed.
                Poll::Ready(Err(_)) => self.break_up(),
                Poll::Pending => Step::Waits,
            };
        }
        if !self.body.is_done() && !self.from_client.is_empty() {
            return self.pass_body_up();
        }
        if self.body.is_done() && !self.from_client.is_empty() {
            // The next request waits for its turn; until then nobody is listened to.
            return Step::Waits;
        }
        match self.from_client.poll_fill(context, self.client) {
            Poll::Pending => Step::Waits,
            Poll::Ready(Ok(count)) if count > 0 => Step::Went,
            Poll::Ready(_) => Step::Ends(End::ClientGone),
        }
    }

    fn break_up(&mut self) -> Step {
        self.told.up_broken = true;
        self.told.keep_client &= self.body.is_done();
        Step::Went
    }

    fn pass_body_up(&mut self) -> Step {
        let Ok(taken) = self.body.take(self.from_client.data()) else {
            return Step::Ends(End::BadBody);
        };
        self.body_as.write(self.up.next(), &self.from_client.data()[taken.body]);
        if self.body.is_done() {
            self.body_as.finish(self.up.next());
        }
        self.from_client.consume(taken.used);
        Step::Went
    }

    /// From the target to the client.
    fn poll_down(&mut self, context: &mut Context<'_>) -> Step {
        if !self.down.is_empty() {
            return match self.down.poll_write(self.client, context) {
                Poll::Ready(Ok(())) => match poll_flush(self.client, context) {
                    Poll::Ready(Err(_)) => Step::Ends(End::ClientGone),
                    _ => Step::Went,
                },
                Poll::Ready(Err(_)) => Step::Ends(End::ClientGone),
                Poll::Pending => Step::Waits,
            };
        }
        let Some(decoder) = &mut self.told.decoder else {
            return self.read_head(context);
        };
        if self.told.upgraded {
            return Step::Ends(End::Upgraded);
        }
        if decoder.is_done() {
            return Step::Ends(End::Whole);
        }
        if self.from_target.is_empty() {
            return self.fill_from_target(context);
        }
        self.pass_body_down()
    }

    fn fill_from_target(&mut self, context: &mut Context<'_>) -> Step {
        if self.told.target_ended {
            return Step::Ends(End::Cut);
        }
        match self.from_target.poll_fill(context, self.target) {
            Poll::Pending => Step::Waits,
            Poll::Ready(Ok(count)) if count > 0 => Step::Went,
            Poll::Ready(ended) => {
                let Some(decoder) = &mut self.told.decoder else {
                    if !self.from_target.is_empty() || self.told.begun {
                        return Step::Ends(End::Nonsense);
                    }
                    let lost = ended.is_err_and(|failure| is_silence(&failure));
                    return Step::Ends(if lost { End::Lost } else { End::Unanswered });
                };
                self.told.target_ended = true;
                self.told.keep_target = false;
                if ended.is_err() || !decoder.may_close() {
                    return Step::Ends(End::Cut);
                }
                *decoder = Decoder::new(Length::Exactly(0));
                if let Some(encoder) = self.told.encoder {
                    encoder.finish(self.down.next());
                }
                Step::Went
            }
        }
    }

    fn pass_body_down(&mut self) -> Step {
        let decoder = self.told.decoder.as_mut().expect("there is a body");
        let encoder = self.told.encoder.expect("it is set with the decoder");
        let out = self.down.next();
        while !decoder.is_done() && !self.from_target.is_empty() && out.len() < BUFFER_BYTES_MAX {
            let Ok(taken) = decoder.take(self.from_target.data()) else {
                return Step::Ends(End::Cut);
            };
            encoder.write(out, &self.from_target.data()[taken.body]);
            self.from_target.consume(taken.used);
        }
        if decoder.is_done() {
            encoder.finish(out);
        }
        Step::Went
    }

    fn read_head(&mut self, context: &mut Context<'_>) -> Step {
        let bytes = self.from_target.data();
        if bytes.is_empty() {
            return self.fill_from_target(context);
        }
        match self.answer_head.read(Kind::Answer, bytes, ANSWER_HEAD_BYTES_MAX) {
            Err(_) => Step::Ends(End::Nonsense),
            Ok(false) => self.fill_from_target(context),
            Ok(true) => self.pass_head_down(),
        }
    }

    fn pass_head_down(&mut self) -> Step {
        let bytes = self.from_target.data();
        let head = &*self.answer_head;
        let length = head.length;
        let status = status(head.line.first.of(bytes));
        let Ok(body) = answer_length(bytes, head, self.terms.headless) else {
            return Step::Ends(End::Nonsense);
        };
        self.told.begun = true;
        if status == 101 {
            if self.terms.upgrade.is_none() {
                return Step::Ends(End::Nonsense);
            }
            incoming::switch(head, bytes, self.terms.imposed, self.down.next());
            self.told.upgraded = true;
            self.told.status = status;
            self.told.at = Some(Instant::now());
            self.told.decoder = Some(Decoder::new(Length::UntilClose));
            self.from_target.consume(length);
            return Step::Went;
        }
        if status < 200 {
            if self.terms.version == Version::Http11 {
                incoming::interim(head, bytes, self.down.next());
            }
            self.from_target.consume(length);
            self.answer_head.clear();
            return Step::Went;
        }
        let closes = head.value(bytes, Known::Connection).is_some_and(|value| has(value, b"close"));
        let old = head.line.version == Version::Http10;
        self.told.keep_target = !closes && !old && body != Length::UntilClose;
        // A body of no known length can't be told from the next answer by a client of HTTP/1.0.
        let encoder = match body {
            Length::Exactly(_) => Encoder::Plain,
            _ if self.terms.version == Version::Http10 => Encoder::Plain,
            _ => Encoder::Chunked,
        };
        let unbounded = encoder == Encoder::Plain && !matches!(body, Length::Exactly(_));
        self.told.keep_client &= !unbounded && self.terms.keep;
        self.told.status = status;
        self.told.at = Some(Instant::now());
        let out = self.down.next();
        incoming::write(head, bytes, &self.terms, self.told.keep_client, encoder, out);
        self.told.decoder = Some(Decoder::new(body));
        self.told.encoder = Some(if body == Length::Exactly(0) { Encoder::Plain } else { encoder });
        self.from_target.consume(length);
        match body {
            Length::Exactly(0) => Step::Went,
            _ if self.from_target.is_empty() => Step::Went,
            _ => self.pass_body_down(),
        }
    }
}

fn poll_flush(link: &mut Link, context: &mut Context<'_>) -> Poll<io::Result<()>> {
    Pin::new(link).poll_flush(context)
}

pub fn status(digits: &[u8]) -> u16 {
    digits.iter().fold(0, |sum, digit| sum * 10 + u16::from(digit - b'0'))
}

/// Whether a list of tokens has this one.
pub fn has(list: &[u8], token: &[u8]) -> bool {
    list.split(|byte| *byte == b',').any(|one| one.trim_ascii().eq_ignore_ascii_case(token))
}
