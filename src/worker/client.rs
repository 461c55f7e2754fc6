//! The worker itself: keeps a connection to LiveKit and moves messages between it, the protocol
//! machine and the desk.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::connect::connect;
use super::endpoint::{BadUrl, Endpoint};
use super::error::WorkerError;
use super::job::{Assignment, JobDesk, JobStatus, Verdict};
use super::load::{CpuMeter, SAMPLE_INTERVAL};
use super::protocol::{CloseReason, Output, Protocol, REGISTER_LIMIT, SILENCE_LIMIT};
use super::shared::{Shared, now};
use super::slots::Slots;
use super::status::{Phase, WorkerStatus};
use super::wire::{Heard, Wire};
use crate::backoff::Backoff;
use crate::config::LiveKitKey;

/// A registration that held for so long was a good one, and the next loss starts a new count.
const STABLE_AFTER: Duration = Duration::from_secs(10);
/// When all jobs are over and the worker is to stop: how long it waits for LiveKit to confirm their ends.
const FAREWELL_LIMIT: Duration = Duration::from_secs(3);
/// Before the second try: a server that is only being restarted is found again at once.
const RECONNECT_FIRST: Duration = Duration::from_millis(250);
/// Longest wait: a caller should not find the appliance absent for longer than this after an outage.
const RECONNECT_MAX: Duration = Duration::from_secs(5);

/// What a worker is told.
#[derive(Debug, Clone)]
pub struct WorkerOptions {
    /// The LiveKit server: `ws`, `wss`, `http` or `https`, with or without a path.
    pub url: String,
    /// Its API key and secret.
    pub key: LiveKitKey,
    /// The name that jobs are dispatched to; empty takes every room.
    pub agent_name: String,
    /// Our version, for LiveKit's records.
    pub version: String,
    /// Jobs at once.
    pub capacity: u32,
}

/// An agent worker; [`Worker::run`] is its life.
pub struct Worker {
    endpoint: Endpoint,
    key: LiveKitKey,
    desk: Arc<dyn JobDesk>,
    shared: Arc<Shared>,
    slots: Slots,
    status: watch::Sender<WorkerStatus>,
    confirmed: HashMap<String, watch::Sender<u64>>,
    cpu: CpuMeter,
}

/// Why a connection ended, and since when it had been a registration.
struct Failed {
    error: WorkerError,
    registered_at: Option<Instant>,
}

/// Is over when the worker has been told to stop and nothing is left to wait for.
type Drained<'a> = Pin<&'a mut (dyn Future<Output = ()> + Send)>;

impl Worker {
    /// A worker that is not connected yet.
    ///
    /// # Errors
    /// The URL can't be a LiveKit server's.
    pub fn new(options: WorkerOptions, desk: Arc<dyn JobDesk>) -> Result<Self, BadUrl> {
        let endpoint = Endpoint::parse(&options.url)?;
        let slots = Slots::new(options.capacity);
        let protocol = Protocol::new(&options.agent_name, &options.version, slots.clone(), now());
        let status = watch::Sender::new(WorkerStatus {
            phase: Phase::Connecting {
                attempt: 1,
                last_error: None,
            },
            active_jobs: 0,
            taken: 0,
            capacity: options.capacity,
            load: 0.0,
        });
        Ok(Self {
            endpoint,
            key: options.key,
            desk,
            shared: Arc::new(Shared::new(protocol)),
            slots,
            status,
            confirmed: HashMap::new(),
            cpu: CpuMeter::new(),
        })
    }

    /// How it is doing, now and from now on.
    pub fn status(&self) -> watch::Receiver<WorkerStatus> {
        self.status.subscribe()
    }

    /// The places, which may also be taken for interviews that come without an offer: those that a
    /// restart takes up again.
    pub fn slots(&self) -> Slots {
        self.slots.clone()
    }

    /// Registers and stays registered until `stop`, whatever fails. Then no more offers are taken, and
    /// it returns when the last place is free and the ends of the jobs are confirmed. The caller
    /// decides how long that may take: by ending the jobs, or by dropping this future.
    pub async fn run(mut self, stop: CancellationToken) {
        let drained = drained(
            stop,
            Arc::clone(&self.shared),
            self.slots.clone(),
            self.status.clone(),
        );
        tokio::pin!(drained);
        self.connect_until(drained.as_mut()).await;
        self.shared.lock().disconnected();
        self.status
            .send_modify(|status| status.phase = Phase::Stopped);
    }

    async fn connect_until(&mut self, mut drained: Drained<'_>) {
        let mut backoff = Backoff::new(RECONNECT_FIRST, RECONNECT_MAX);
        let mut attempt = 1;
        let mut last_error: Option<WorkerError> = None;
        loop {
            let error = match self.attempt(drained.as_mut()).await {
                Ok(()) => return,
                Err(failed) => {
                    if failed
                        .registered_at
                        .is_some_and(|at| now() >= at + STABLE_AFTER)
                    {
                        attempt = 0;
                        backoff.reset();
                    }
                    failed.error
                }
            };
            // The same failure again and again is in the status; the log has it once.
            if last_error.as_ref() == Some(&error) {
                tracing::debug!(%error, attempt, "still no LiveKit registration");
            } else {
                tracing::warn!(%error, attempt, "no LiveKit registration");
            }
            attempt += 1;
            last_error = Some(error);
            self.set_phase(Phase::Connecting {
                attempt,
                last_error: last_error.clone(),
            });
            tokio::select! {
                () = tokio::time::sleep(backoff.next_wait()) => {}
                () = drained.as_mut() => return,
            }
        }
    }

    /// One connection, from the first byte until it fails or the worker is drained.
    async fn attempt(&mut self, mut drained: Drained<'_>) -> Result<(), Failed> {
        let opened = tokio::select! {
            opened = connect(&self.endpoint, &self.key) => opened,
            () = drained.as_mut() => return Ok(()),
        };
        let mut wire = opened.map_err(|error| Failed {
            error,
            registered_at: None,
        })?;
        let mut registered_at = None;
        let served = self.serve(&mut wire, drained, &mut registered_at).await;
        self.shared.lock().disconnected();
        self.deliver_rest();
        served.map_err(|error| Failed {
            error,
            registered_at,
        })?;
        wire.close().await;
        Ok(())
    }

    async fn serve(
        &mut self,
        wire: &mut Wire,
        mut drained: Drained<'_>,
        registered_at: &mut Option<Instant>,
    ) -> Result<(), WorkerError> {
        let mut taken = self.slots.watch();
        let mut cpu_tick = tokio::time::interval(SAMPLE_INTERVAL);
        cpu_tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        let shared = Arc::clone(&self.shared);
        shared.lock().connected(now());
        loop {
            self.do_outputs(wire, registered_at).await?;
            let deadline = shared.lock().deadline();
            tokio::select! {
                heard = wire.next() => match heard? {
                    Heard::Message(message) => shared.lock().handle(*message, now()),
                    Heard::SignOfLife => shared.lock().heard(now()),
                },
                () = shared.woken() => {}
                _ = taken.changed() => {}
                _ = cpu_tick.tick() => {
                    let share = self.cpu.sample();
                    shared.lock().set_cpu(share);
                }
                () = sleep_until(deadline) => {}
                () = drained.as_mut() => return Ok(()),
            }
            shared.lock().poll(now());
        }
    }

    /// Does everything that the machine asks for.
    async fn do_outputs(
        &mut self,
        wire: &mut Wire,
        registered_at: &mut Option<Instant>,
    ) -> Result<(), WorkerError> {
        let mut unsent = false;
        loop {
            let output = self.shared.lock().next_output();
            match output {
                None => break,
                Some(Output::Send(message)) => {
                    wire.feed(*message).await?;
                    unsent = true;
                }
                Some(Output::Close(reason)) => return Err(self.closed(reason)),
                Some(Output::Registered {
                    worker_id,
                    server_version,
                }) => {
                    tracing::info!(
                        worker_id,
                        server_version,
                        url = self.endpoint.agent,
                        "registered with LiveKit"
                    );
                    let since = now();
                    *registered_at = Some(since);
                    self.set_phase(Phase::Registered {
                        worker_id,
                        server_version,
                        since,
                    });
                }
                Some(other) => self.deliver(other),
            }
        }
        if unsent {
            wire.flush().await?;
        }
        self.publish_numbers();
        Ok(())
    }

    fn closed(&self, reason: CloseReason) -> WorkerError {
        let url = &self.endpoint.agent;
        match reason {
            CloseReason::NotRegistered => {
                WorkerError::silent(url, "answer the registration", REGISTER_LIMIT)
            }
            CloseReason::Silent => WorkerError::silent(url, "send anything", SILENCE_LIMIT),
            CloseReason::GoAway(reason) => WorkerError::Lost {
                url: url.clone(),
                cause: format!("the server is going away, {reason:?}"),
            },
        }
    }

    /// What is left to tell when there is no connection.
    fn deliver_rest(&mut self) {
        loop {
            let output = self.shared.lock().next_output();
            let Some(output) = output else { break };
            self.deliver(output);
        }
        self.publish_numbers();
    }

    /// Tells the desk or a job handle. The machine is not locked, so the desk may use it.
    fn deliver(&mut self, output: Output) {
        match output {
            Output::Offer(offer) => {
                let verdict = self.desk.offer(&offer);
                if let Verdict::Decline { reason } = &verdict {
                    tracing::info!(
                        job_id = offer.job_id,
                        room = offer.room,
                        reason,
                        "offer declined"
                    );
                }
                self.shared.lock().answer(&offer.job_id, verdict, now());
            }
            Output::Declined { job_id, reason } => tracing::info!(job_id, reason, "offer declined"),
            Output::Assigned(assigned) => {
                let job_id = assigned.offer.job_id.clone();
                tracing::info!(job_id, room = assigned.offer.room, "job assigned");
                let (sender, receiver) = watch::channel(0);
                self.confirmed.insert(job_id.clone(), sender);
                self.desk.assigned(Assignment {
                    offer: assigned.offer,
                    identity: assigned.identity,
                    url: assigned.url.unwrap_or_else(|| self.endpoint.root.clone()),
                    token: assigned.token,
                    slot: assigned.slot,
                    status: JobStatus::new(job_id, Arc::clone(&self.shared), receiver),
                });
            }
            Output::Lapsed { job_id } => {
                tracing::warn!(job_id, "an accepted offer came to nothing");
                self.desk.lapsed(&job_id);
            }
            Output::Terminated { job_id } => {
                tracing::info!(job_id, "job ended by LiveKit");
                self.desk.terminated(&job_id);
            }
            Output::Confirmed(confirmed) => {
                if let Some(sender) = self.confirmed.get(&confirmed.job_id) {
                    sender.send_replace(confirmed.number);
                }
                if confirmed.ended {
                    self.confirmed.remove(&confirmed.job_id);
                }
            }
            Output::GivenUp { job_id } => {
                tracing::warn!(job_id, "the end of a job could not be reported to LiveKit");
                self.confirmed.remove(&job_id);
            }
            // These belong to a connection, which is the caller's.
            Output::Send(_) | Output::Close(_) | Output::Registered { .. } => {}
        }
    }

    fn set_phase(&self, phase: Phase) {
        let draining = self.shared.lock().is_draining();
        self.status
            .send_modify(|status| status.phase = if draining { Phase::Draining } else { phase });
    }

    fn publish_numbers(&self) {
        let (active_jobs, load) = {
            let protocol = self.shared.lock();
            (protocol.jobs(), protocol.load())
        };
        let taken = self.slots.taken();
        self.status.send_if_modified(|status| {
            let changed =
                (status.active_jobs, status.taken, status.load) != (active_jobs, taken, load);
            (status.active_jobs, status.taken, status.load) = (active_jobs, taken, load);
            changed
        });
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}

/// Begins to drain at `stop` and is over when nothing is left to wait for.
async fn drained(
    stop: CancellationToken,
    shared: Arc<Shared>,
    slots: Slots,
    status: watch::Sender<WorkerStatus>,
) {
    stop.cancelled().await;
    shared.lock().drain(now());
    shared.wake();
    status.send_modify(|status| status.phase = Phase::Draining);
    // Neither wait can fail for want of a sender: both are held here.
    let _ = slots.watch().wait_for(|taken| *taken == 0).await;
    let mut news = status.subscribe();
    let jobs_over = news.wait_for(|_| shared.lock().jobs() == 0);
    if tokio::time::timeout(FAREWELL_LIMIT, jobs_over)
        .await
        .is_err()
    {
        tracing::warn!(
            jobs = shared.lock().jobs(),
            "stopped before LiveKit confirmed the end of every job"
        );
    }
}
