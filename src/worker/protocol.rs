//! LiveKit's agent worker protocol as a machine without sockets and clocks.
//!
//! Messages and the time go in, what is to be done comes out of [`Protocol::next_output`]. Jobs outlive
//! connections; offers do not, since the server forgets them with the connection. What the server
//! does was read in livekit-server 1.13 (`pkg/agent/worker.go`, `pkg/service/agentservice.go`).

mod offers;
mod output;
mod reports;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use livekit_protocol as pb;
use pb::server_message::Message as FromServer;
use pb::worker_message::Message as ToServer;

pub use self::output::{Assigned, CloseReason, Output};
pub use self::reports::Confirmed;

use self::offers::Offers;
use self::reports::Reports;
use super::job::{JobOffer, Verdict};
use super::slots::Slots;
use super::token;
use crate::config::Secret;

/// The server hangs up on a worker that has not registered by then; it must also have answered.
pub const REGISTER_LIMIT: Duration = Duration::from_secs(10);
/// From an accepted offer to its assignment. The server assigns at once; LiveKit's own workers give
/// up after 7.5 s, and the margin keeps a place from being given to another job a moment too early.
pub const ASSIGNMENT_LIMIT: Duration = Duration::from_millis(7_500 + 1_500);
/// Between two pings of ours.
pub const PING_INTERVAL: Duration = Duration::from_secs(5);
/// A connection on which nothing at all came for so long is dead: three pings went unanswered.
pub const SILENCE_LIMIT: Duration = Duration::from_secs(16);
/// Between two reports of the load when nothing changes.
pub const LOAD_INTERVAL: Duration = Duration::from_millis(2_500);
/// The highest load that is reported while a place is free. A server gives no more jobs to workers
/// whose load reaches its `target_load`, 0.7 unless configured: reported as it is, a load of 7 in 10
/// interviews would leave three places empty for ever.
pub const FREE_LOAD_MAX: f32 = 0.65;
/// A connection as the machine sees it.
#[derive(Debug)]
enum Link {
    Down,
    Registering { since: Instant },
    Up(Up),
}

#[derive(Debug)]
struct Up {
    heard: Instant,
    pinged: Instant,
    load_sent: Instant,
    taken_sent: u32,
    /// Numbers the load reports of this registration, so that a late one can't overtake.
    load_number: u64,
}

/// The machine.
#[derive(Debug)]
pub struct Protocol {
    agent_name: String,
    version: String,
    slots: Slots,
    cpu: f32,
    draining: bool,
    link: Link,
    offers: Offers,
    reports: Reports,
    started: Instant,
    last_ping: i64,
    outputs: VecDeque<Output>,
}

impl Protocol {
    /// A machine without a connection.
    pub fn new(agent_name: &str, version: &str, slots: Slots, now: Instant) -> Self {
        Self {
            agent_name: agent_name.to_owned(),
            version: version.to_owned(),
            offers: Offers::new(slots.clone()),
            slots,
            cpu: 0.0,
            draining: false,
            link: Link::Down,
            reports: Reports::default(),
            started: now,
            last_ping: 0,
            outputs: VecDeque::new(),
        }
    }

    /// A connection is open: registers, as its first frame must.
    pub fn connected(&mut self, now: Instant) {
        self.disconnected();
        self.link = Link::Registering { since: now };
        self.send(ToServer::Register(pb::RegisterWorkerRequest {
            r#type: pb::JobType::JtRoom.into(),
            agent_name: self.agent_name.clone(),
            version: self.version.clone(),
            allowed_permissions: Some(permissions()),
            ..Default::default()
        }));
    }

    /// The connection is gone: its offers with it, and whatever was still to be sent on it.
    pub fn disconnected(&mut self) {
        self.link = Link::Down;
        self.outputs.retain(|output| {
            !matches!(
                output,
                Output::Send(_) | Output::Close(_) | Output::Offer(_)
            )
        });
        let lapsed = self.offers.disconnected();
        self.lapsed(lapsed);
        self.reports.disconnected();
    }

    /// A frame of any kind came, which shows that the peer lives.
    pub fn heard(&mut self, now: Instant) {
        if let Link::Up(up) = &mut self.link {
            up.heard = now;
        }
    }

    /// A message from the server.
    pub fn handle(&mut self, message: pb::ServerMessage, now: Instant) {
        self.heard(now);
        // A message of a kind that we don't know is one of a newer server, and no fault.
        let Some(message) = message.message else {
            return;
        };
        match message {
            FromServer::Register(response) => self.registered(response, now),
            FromServer::Availability(request) => self.offered(request),
            FromServer::Assignment(assignment) => self.assigned(assignment),
            FromServer::Termination(termination) => self.terminated(&termination.job_id),
            FromServer::Pong(pong) => {
                let confirmed = self.reports.confirm(pong.last_timestamp);
                self.outputs
                    .extend(confirmed.into_iter().map(Output::Confirmed));
            }
            FromServer::GoAway(go_away) => self
                .outputs
                .push_back(Output::Close(CloseReason::GoAway(go_away.reason))),
        }
    }

    /// The desk's answer to an offer. One that the connection has taken with it is ignored.
    pub fn answer(&mut self, job_id: &str, verdict: Verdict, now: Instant) {
        if !self.offers.is_unanswered(job_id) {
            return;
        }
        match verdict {
            Verdict::Accept {
                identity,
                name,
                metadata,
                mut attributes,
            } if !identity.is_empty() => {
                self.offers
                    .accept(job_id, &identity, now + ASSIGNMENT_LIMIT);
                // The server sets the first of them itself; newer clients look for the second.
                attributes.extend(token::named(&self.agent_name));
                self.send(ToServer::Availability(pb::AvailabilityResponse {
                    job_id: job_id.to_owned(),
                    available: true,
                    participant_identity: identity,
                    participant_name: name,
                    participant_metadata: metadata,
                    participant_attributes: attributes,
                    ..Default::default()
                }));
            }
            // Without an identity the token would be refused at the door: better another worker.
            Verdict::Accept { .. } => {
                self.offers.release(job_id);
                self.decline(job_id.to_owned(), "it was accepted without an identity");
            }
            Verdict::Decline { .. } => {
                self.offers.release(job_id);
                self.send_decline(job_id.to_owned());
            }
        }
    }

    /// How a job of ours goes; sent now or with the next registration. The number is in the
    /// [`Confirmed`] that follows. `None` when the job is not ours or its end was reported before.
    pub fn report(
        &mut self,
        job_id: &str,
        status: pb::JobStatus,
        error: &str,
        now: Instant,
    ) -> Option<u64> {
        let number = self.reports.report(job_id, status, error)?;
        let settled = self.reports.confirm_ended_by_server();
        self.outputs
            .extend(settled.into_iter().map(Output::Confirmed));
        if matches!(self.link, Link::Up(_)) {
            self.send_reports(now);
        }
        Some(number)
    }

    /// The processor's load, 0–1.
    pub fn set_cpu(&mut self, share: f32) {
        self.cpu = share;
    }

    /// No more offers are taken from now on.
    pub fn drain(&mut self, now: Instant) {
        if !std::mem::replace(&mut self.draining, true) {
            self.send_load(now);
        }
    }

    /// Does what is due at `now`.
    pub fn poll(&mut self, now: Instant) {
        let lapsed = self.offers.lapse(now);
        self.lapsed(lapsed);
        match &self.link {
            Link::Down => {}
            Link::Registering { since } => {
                if now >= *since + REGISTER_LIMIT {
                    self.outputs
                        .push_back(Output::Close(CloseReason::NotRegistered));
                }
            }
            Link::Up(up) => {
                let silent = now >= up.heard + SILENCE_LIMIT;
                let ping = now >= up.pinged + PING_INTERVAL;
                let load =
                    now >= up.load_sent + LOAD_INTERVAL || up.taken_sent != self.slots.taken();
                if silent {
                    self.outputs.push_back(Output::Close(CloseReason::Silent));
                    return;
                }
                if ping {
                    let timestamp = self.next_ping(now);
                    self.send_ping(timestamp, now);
                }
                if load {
                    self.send_load(now);
                }
            }
        }
    }

    /// When [`Protocol::poll`] has something to do at the latest.
    pub fn deadline(&self) -> Option<Instant> {
        let link = match &self.link {
            Link::Down => None,
            Link::Registering { since } => Some(*since + REGISTER_LIMIT),
            Link::Up(up) => Some(
                (up.heard + SILENCE_LIMIT)
                    .min(up.pinged + PING_INTERVAL)
                    .min(up.load_sent + LOAD_INTERVAL),
            ),
        };
        [link, self.offers.deadline()].into_iter().flatten().min()
    }

    /// The next thing to do, in order.
    pub fn next_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Jobs that are ours, those whose end LiveKit has not confirmed included.
    pub fn jobs(&self) -> usize {
        self.reports.len()
    }

    /// The busier of the places and the processor, 0–1.
    pub fn load(&self) -> f32 {
        let places = f64::from(self.slots.taken()) / f64::from(self.slots.capacity().max(1));
        (places as f32).max(self.cpu).clamp(0.0, 1.0)
    }

    /// No more offers are taken.
    pub fn is_draining(&self) -> bool {
        self.draining
    }

    fn registered(&mut self, response: pb::RegisterWorkerResponse, now: Instant) {
        if !matches!(self.link, Link::Registering { .. }) {
            return; // Said twice, it means no more.
        }
        self.link = Link::Up(Up {
            heard: now,
            pinged: now,
            load_sent: now,
            taken_sent: 0,
            load_number: 0,
        });
        let server_version = response
            .server_info
            .map(|info| info.version)
            .unwrap_or_default();
        self.outputs.push_back(Output::Registered {
            worker_id: response.worker_id,
            server_version,
        });
        // The server takes a fresh worker to be available and idle until it hears otherwise.
        self.send_load(now);
        let given_up = self.reports.give_up();
        self.outputs.extend(
            given_up
                .into_iter()
                .map(|job_id| Output::GivenUp { job_id }),
        );
        // LiveKit Cloud ties running jobs to the new registration by this; a server of one's own ignores it.
        let (job_ids, updates) = self.reports.running();
        if !job_ids.is_empty() {
            self.send(ToServer::MigrateJob(pb::MigrateJobRequest { job_ids }));
        }
        for update in updates {
            self.send(ToServer::UpdateJob(update));
        }
        self.send_reports(now);
    }

    fn offered(&mut self, request: pb::AvailabilityRequest) {
        let Some(job) = request.job.as_ref().filter(|job| !job.id.is_empty()) else {
            return;
        };
        let (job_id, job_type) = (job.id.clone(), job.r#type());
        let Some(offer) = JobOffer::from_request(request) else {
            return self.decline(job_id, "it names no room");
        };
        if job_type != pb::JobType::JtRoom {
            self.decline(job_id, "it is not a room's job");
        } else if self.offers.knows(&job_id) || self.reports.knows(&job_id) {
            self.decline(job_id, "it is already ours");
        } else if self.draining {
            self.decline(job_id, "the worker is draining");
        } else if !self.offers.hold(&offer) {
            self.decline(job_id, "every place is taken");
        } else {
            self.outputs.push_back(Output::Offer(offer));
        }
    }

    fn assigned(&mut self, assignment: pb::JobAssignment) {
        let Some(job_id) = assignment.job.map(|job| job.id).filter(|id| !id.is_empty()) else {
            return;
        };
        if self.reports.knows(&job_id) {
            return; // Said twice; the job goes on.
        }
        let Some((offer, identity, slot)) = self.offers.claim(&job_id) else {
            return self.refuse(
                job_id,
                "the assignment came too late, or the job was never accepted",
            );
        };
        if assignment.token.is_empty() {
            self.lapsed(vec![job_id.clone()]);
            return self.refuse(job_id, "the assignment has no token");
        }
        self.reports.begin(&job_id);
        self.outputs.push_back(Output::Assigned(Assigned {
            offer,
            identity,
            url: assignment.url.filter(|url| !url.is_empty()),
            token: Secret::new(assignment.token),
            slot,
        }));
    }

    /// The server believes that the job runs here and must hear that it does not.
    fn refuse(&mut self, job_id: String, why: &str) {
        let (status, error) = (pb::JobStatus::JsFailed.into(), why.to_owned());
        self.send(ToServer::UpdateJob(pb::UpdateJobStatus {
            job_id,
            status,
            error,
        }));
    }

    fn terminated(&mut self, job_id: &str) {
        if self.reports.end_by_server(job_id) {
            let settled = self.reports.confirm_ended_by_server();
            self.outputs.push_back(Output::Terminated {
                job_id: job_id.to_owned(),
            });
            self.outputs
                .extend(settled.into_iter().map(Output::Confirmed));
        } else if self.offers.release(job_id) {
            self.lapsed(vec![job_id.to_owned()]);
        }
    }

    fn lapsed(&mut self, job_ids: Vec<String>) {
        self.outputs
            .extend(job_ids.into_iter().map(|job_id| Output::Lapsed { job_id }));
    }

    fn decline(&mut self, job_id: String, reason: &'static str) {
        self.send_decline(job_id.clone());
        self.outputs.push_back(Output::Declined { job_id, reason });
    }

    fn send_decline(&mut self, job_id: String) {
        self.send(ToServer::Availability(pb::AvailabilityResponse {
            job_id,
            available: false,
            ..Default::default()
        }));
    }

    fn send_reports(&mut self, now: Instant) {
        let ping = self.next_ping(now);
        let updates = self.reports.unsent(ping);
        if updates.is_empty() {
            return;
        }
        for update in updates {
            self.send(ToServer::UpdateJob(update));
        }
        self.send_ping(ping, now);
    }

    /// Pongs name the ping they answer by its time stamp, so no two may share one.
    fn next_ping(&mut self, now: Instant) -> i64 {
        let elapsed_ms = now.saturating_duration_since(self.started).as_millis();
        self.last_ping = i64::try_from(elapsed_ms)
            .unwrap_or(0)
            .max(self.last_ping.saturating_add(1));
        self.last_ping
    }

    fn send_ping(&mut self, timestamp: i64, now: Instant) {
        if let Link::Up(up) = &mut self.link {
            up.pinged = now;
        }
        self.send(ToServer::Ping(pb::WorkerPing { timestamp }));
    }

    fn send_load(&mut self, now: Instant) {
        let taken = self.slots.taken();
        let full = self.draining || taken >= self.slots.capacity();
        let load = if full {
            1.0
        } else {
            self.load() * FREE_LOAD_MAX
        };
        let draining = self.draining;
        let Link::Up(up) = &mut self.link else { return };
        up.load_sent = now;
        up.taken_sent = taken;
        up.load_number += 1;
        let status = if full {
            pb::WorkerStatus::WsFull
        } else {
            pb::WorkerStatus::WsAvailable
        };
        let update = pb::UpdateWorkerStatus {
            status: Some(status.into()),
            load,
            job_count: taken,
            draining,
            seq: up.load_number,
        };
        self.send(ToServer::UpdateWorker(update));
    }

    fn send(&mut self, message: ToServer) {
        if matches!(self.link, Link::Down) {
            return;
        }
        self.outputs.push_back(Output::Send(Box::new(message)));
    }
}

/// What an agent may do in its room: speak, listen, send data, and keep its own attributes; it is
/// visible. No sources are named, which allows all.
fn permissions() -> pb::ParticipantPermission {
    pb::ParticipantPermission {
        can_subscribe: true,
        can_publish: true,
        can_publish_data: true,
        can_update_metadata: true,
        hidden: false,
        ..Default::default()
    }
}
