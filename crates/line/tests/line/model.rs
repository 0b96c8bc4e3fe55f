//! Random interleavings of everything that can happen to a line and its sessions.

use std::collections::VecDeque;
use std::time::Duration;

use jiff::Timestamp;
use proptest::prelude::*;
use serialproxy_line::Attachment;
use serialproxy_line::Event;
use serialproxy_line::Keyboard;
use serialproxy_line::Settings;
use serialproxy_line::Start;
use serialproxy_proto::api::Protocol;
use serialproxy_proto::close::Close;
use serialproxy_proto::close::CloseCode;
use serialproxy_proto::console::PenState;
use serialproxy_proto::console::ReplayKind;
use serialproxy_proto::console::ServerMessage;
use serialproxy_proto::id::SessionId;
use serialproxy_proto::token::Mode;
use serialproxy_proto::token::ResumeKey;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::rig::Rig;
use crate::rig::eventually;
use crate::rig::next;
use crate::rig::visitor;
use crate::rig::within;

const NOW: Timestamp = Timestamp::UNIX_EPOCH;
const PLACES: usize = 4;

#[derive(Clone, Copy, Debug)]
enum Step {
    /// The guest prints so many bytes.
    Print(usize),
    /// The guest boots again.
    Boot,
    /// A client attaches at a free place.
    Attach(usize, Protocol, Mode, Start),
    /// The client at a place takes this many events.
    Read(usize, usize),
    /// Their connection breaks.
    Lose(usize),
    /// It resumes, from where it was or with the screen.
    Return(usize, bool),
    /// They leave.
    Leave(usize),
    /// They type so many bytes.
    Type(usize, usize),
    Ask(usize),
    Grant(usize),
    Deny(usize),
    Release(usize),
    Force(usize),
    /// The line's tasks get a turn.
    Yield,
}

fn step() -> impl Strategy<Value = Step> {
    let place = || 0..PLACES;
    let protocol = prop_oneof![Just(Protocol::Raw), Just(Protocol::ConsoleV1)];
    let mode = prop_oneof![Just(Mode::Watch), Just(Mode::Write)];
    let start = prop_oneof![
        Just(Start::Live),
        Just(Start::Screen { size: None, follows: false }),
        Just(Start::Oldest),
        (0..4000u64).prop_map(|offset| Start::Offset { offset, line: None }),
    ];
    prop_oneof![
        4 => (1..3000usize).prop_map(Step::Print),
        1 => Just(Step::Boot),
        4 => (place(), protocol, mode, start)
            .prop_map(|(place, protocol, mode, start)| Step::Attach(place, protocol, mode, start)),
        6 => (place(), 1..8usize).prop_map(|(place, events)| Step::Read(place, events)),
        2 => place().prop_map(Step::Lose),
        3 => (place(), any::<bool>()).prop_map(|(place, screen)| Step::Return(place, screen)),
        1 => place().prop_map(Step::Leave),
        5 => (place(), 1..20usize).prop_map(|(place, count)| Step::Type(place, count)),
        2 => place().prop_map(Step::Ask),
        2 => place().prop_map(Step::Grant),
        1 => place().prop_map(Step::Deny),
        1 => place().prop_map(Step::Release),
        2 => place().prop_map(Step::Force),
        3 => Just(Step::Yield),
    ]
}

/// The byte that the guest prints at this offset.
fn printed(offset: u64) -> u8 {
    u8::try_from(offset * 7 % 251).unwrap()
}

/// A client that is attached, or was and may resume.
struct Person {
    attachment: Option<Attachment>,
    keyboard: Keyboard,
    session: SessionId,
    protocol: Protocol,
    key: Option<ResumeKey>,
    /// The offset of the next byte; none until it is known.
    offset: Option<u64>,
    /// Bytes of a painted screen that are still to come.
    screen: u64,
    writes: bool,
}

impl Person {
    fn take(&mut self, event: Event) -> Result<(), TestCaseError> {
        match event {
            Event::Replay(bytes) if self.screen > 0 => {
                self.screen -= bytes.len() as u64;
            }
            Event::Replay(bytes) => {
                if let Some(offset) = self.offset {
                    for (at, byte) in (offset..).zip(&bytes) {
                        prop_assert_eq!(*byte, printed(at), "at {}", at);
                    }
                    self.offset = Some(offset + bytes.len() as u64);
                }
            }
            Event::Message(ServerMessage::Hello(hello)) => {
                if let Some(offset) = self.offset {
                    prop_assert!(hello.offset >= offset, "{} after {}", hello.offset, offset);
                }
                self.offset = Some(hello.offset);
                self.writes = hello.mode == Mode::Write;
                self.key = hello.resume.as_deref().and_then(ResumeKey::from_client);
            }
            Event::Message(ServerMessage::Gap { from, to }) => {
                prop_assert!(to > from);
                if self.protocol == Protocol::ConsoleV1 {
                    prop_assert_eq!(self.offset, Some(from), "a gap begins elsewhere");
                }
                self.offset = Some(to);
            }
            Event::Message(ServerMessage::Replay { kind, bytes, offset, .. }) => match kind {
                ReplayKind::Screen => {
                    self.screen = bytes;
                    self.offset = Some(offset);
                }
                ReplayKind::History => {
                    prop_assert_eq!(self.offset.map(|at| at + bytes), Some(offset));
                }
            },
            Event::Message(ServerMessage::Pen { state, session, .. }) => {
                self.writes = match state {
                    PenState::Held => session == Some(self.session),
                    PenState::Requested => self.writes,
                    PenState::Free | PenState::Lost => false,
                };
            }
            Event::Output | Event::Message(_) => {}
            Event::Ended(_) => self.attachment = None,
        }
        Ok(())
    }
}

struct World {
    rig: Rig,
    guest: TcpStream,
    printed: u64,
    people: Vec<Option<Person>>,
    /// Bytes that people have typed, each the low byte of its number.
    typed: u64,
    /// For each pen taken by force: how many bytes the guest had then, and how many had been typed.
    fences: Vec<(u64, u64)>,
    epoch: u64,
}

impl World {
    async fn new() -> Self {
        let rig = Rig::with(Settings {
            history_head: 512,
            history_tail: 1024,
            grace: Duration::from_secs(3600),
            ..Settings::default()
        })
        .await;
        let guest = rig.boot().await;
        let people = (0..PLACES).map(|_| None).collect();
        Self { rig, guest, printed: 0, people, typed: 0, fences: Vec::new(), epoch: 1 }
    }

    async fn go(&mut self, step: Step) -> Result<(), TestCaseError> {
        match step {
            Step::Print(count) => {
                let end = self.printed + count as u64;
                let bytes: Vec<u8> = (self.printed..end).map(printed).collect();
                self.guest.write_all(&bytes).await.unwrap();
                self.printed = end;
            }
            Step::Boot => {
                self.rig.line.guest_started(true);
                self.epoch += 1;
            }
            Step::Attach(place, protocol, mode, start) => {
                if self.people[place].is_none() {
                    self.attach(place, protocol, mode, start);
                }
            }
            Step::Yield => {
                for _ in 0..20 {
                    tokio::task::yield_now().await;
                }
            }
            Step::Read(place, events) => self.read(place, events).await?,
            Step::Return(place, screen) => self.come_back(place, screen),
            Step::Lose(place) => {
                if let Some(person) = &mut self.people[place]
                    && let Some(attachment) = person.attachment.take()
                {
                    drop(attachment);
                    // A client that has not received its greeting cannot resume either.
                    if person.keyboard.is_over() {
                        self.people[place] = None;
                    }
                }
            }
            Step::Leave(place) => {
                if let Some(person) =
                    self.people[place].take_if(|person| person.attachment.is_some())
                {
                    person.keyboard.end(&Close::new(CloseCode::Normal, "the client left"));
                }
            }
            Step::Type(place, count) => self.type_in(place, count).await,
            Step::Ask(place) => self.with(place, |person| {
                let _ = person.request_pen(None, NOW);
            }),
            Step::Grant(place) => self.with(place, |person| {
                let _ = person.grant_pen(NOW);
            }),
            Step::Deny(place) => self.with(place, |person| {
                let _ = person.deny_pen(None);
            }),
            Step::Release(place) => self.with(place, |person| person.release_pen(NOW)),
            Step::Force(place) => self.force(place),
        }
        self.check()
    }

    fn with(&self, place: usize, act: impl FnOnce(&Keyboard)) {
        if let Some(person) = &self.people[place] {
            act(&person.keyboard);
        }
    }

    fn attach(&mut self, place: usize, protocol: Protocol, mode: Mode, start: Start) {
        let mut visitor = visitor(&format!("user{place}"), mode, protocol);
        visitor.start = if protocol == Protocol::Raw { Start::Live } else { start };
        let taken = self.rig.line.describe().writer.is_some();
        let attached = self.rig.attach(&visitor);
        assert_eq!(attached.is_err(), taken && mode == Mode::Write, "{attached:?}");
        let Ok((attachment, keyboard)) = attached else { return };
        self.people[place] = Some(Person {
            session: attachment.session(),
            attachment: Some(attachment),
            keyboard,
            protocol,
            key: None,
            offset: None,
            screen: 0,
            writes: mode == Mode::Write,
        });
    }

    async fn read(&mut self, place: usize, events: usize) -> Result<(), TestCaseError> {
        let Some(person) = &mut self.people[place] else { return Ok(()) };
        for _ in 0..events {
            let Some(attachment) = &mut person.attachment else { break };
            let next = next(attachment);
            match tokio::time::timeout(Duration::ZERO, next).await {
                Ok(event) => person.take(event)?,
                Err(_) => break,
            }
        }
        Ok(())
    }

    /// Reads on `console.v1` until this offset: a screen is painted on another thread.
    async fn read_up_to(&mut self, place: usize, end: u64) -> Result<(), TestCaseError> {
        let Some(person) = &mut self.people[place] else { return Ok(()) };
        while person.protocol == Protocol::ConsoleV1
            && (person.offset != Some(end) || person.screen > 0)
            && let Some(attachment) = &mut person.attachment
        {
            let event = within(next(attachment)).await;
            person.take(event)?;
        }
        Ok(())
    }

    fn come_back(&mut self, place: usize, screen: bool) {
        let Some(person) = &mut self.people[place] else { return };
        // A client that did not receive its greeting has no key, and neither has one on raw.
        let (Some(key), Some(offset)) = (person.key.take(), person.offset) else { return };
        let start = if screen {
            Start::Screen { size: None, follows: false }
        } else {
            Start::Offset { offset, line: None }
        };
        let back = self.rig.line.resume(&key, start, "192.0.2.1:6");
        let (attachment, keyboard) = back.expect("its session is there");
        assert_eq!(attachment.session(), person.session);
        person.attachment = Some(attachment);
        person.keyboard = keyboard;
        person.screen = 0;
        // A painting that others already wait for is older than this moment; the output continues
        // there.
        if screen {
            person.offset = None;
        }
    }

    async fn type_in(&mut self, place: usize, count: usize) {
        let Some(person) = &self.people[place] else { return };
        let holder = self.rig.line.describe().writer.map(|writer| writer.session);
        if person.attachment.is_none() || holder != Some(person.session) {
            // Nothing of this may reach the guest.
            person.keyboard.write(&[0xff; 3]);
            return;
        }
        let end = self.typed + count as u64;
        let bytes: Vec<u8> = (self.typed..end).map(key).collect();
        person.keyboard.write(&bytes);
        self.typed = end;
    }

    fn force(&mut self, place: usize) {
        let Some(person) = &self.people[place] else { return };
        let before = self.rig.line.describe().writer.map(|writer| writer.session);
        if person.keyboard.force_pen(None, NOW).is_err() {
            return;
        }
        if before.is_some_and(|before| before != person.session) {
            self.fences.push((self.rig.line.describe().bytes_in, self.typed));
        }
    }

    fn check(&self) -> Result<(), TestCaseError> {
        let sessions = self.rig.lines.sessions();
        let writers = sessions.iter().filter(|session| session.mode == Mode::Write).count();
        prop_assert!(writers <= 1);
        let writer = self.rig.line.describe().writer;
        prop_assert_eq!(writers == 1, writer.is_some());
        Ok(())
    }

    /// Everything was read, and all input has arrived.
    async fn end(mut self) -> Result<(), TestCaseError> {
        let total = self.printed;
        eventually(|| self.rig.line.describe().offset == total).await;
        for place in 0..PLACES {
            self.read_up_to(place, total).await?;
            self.read(place, 10_000).await?;
            let Some(person) = &self.people[place] else { continue };
            let Some(attachment) = &person.attachment else { continue };
            if person.protocol == Protocol::ConsoleV1 {
                prop_assert_eq!(person.offset, Some(total));
                let holds = self.rig.line.describe().writer.map(|writer| writer.session);
                prop_assert_eq!(person.writes, holds == Some(attachment.session()));
            }
        }
        prop_assert_eq!(self.rig.line.describe().epoch, self.epoch);
        self.rig.lines.close().await;
        let mut arrived = Vec::new();
        self.guest.read_to_end(&mut arrived).await.unwrap();
        self.check_typed(&arrived)
    }

    /// The guest's input was typed in this order, and nothing of it passed a fence.
    fn check_typed(&self, arrived: &[u8]) -> Result<(), TestCaseError> {
        let mut fences = VecDeque::from(self.fences.clone());
        let mut next = 0;
        for (at, byte) in (0u64..).zip(arrived) {
            while let Some((_, typed)) = fences.pop_front_if(|(written, _)| *written <= at) {
                next = next.max(typed);
            }
            let found = (next..self.typed).find(|number| key(*number) == *byte);
            prop_assert!(found.is_some(), "byte {} of the input, {:#x}, was fenced off", at, byte);
            next = found.unwrap() + 1;
        }
        Ok(())
    }
}

/// The key with a number; 0xff is for sessions that may not type.
fn key(number: u64) -> u8 {
    u8::try_from(number % 251).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 120, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_one_writes_no_byte_is_lost_or_repeated_and_no_fence_is_passed(
        steps in proptest::collection::vec(step(), 1..120)
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut world = World::new().await;
            for step in steps {
                world.go(step).await?;
            }
            world.end().await
        })?;
    }
}
