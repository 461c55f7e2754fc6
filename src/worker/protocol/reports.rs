//! What LiveKit has been told about each job and what it has confirmed: pure.
//!
//! The protocol has no acknowledgement for a job's status. But LiveKit handles a worker's messages
//! in order and answers a ping, so a ping behind a status confirms it by its pong.

use std::collections::HashMap;

use livekit_protocol as pb;

/// Connections over which an end is sent without being confirmed before it is given up. The server
/// of a new connection no longer knows the job unless it is LiveKit Cloud, so more would be noise.
const ENDS_SENT_MAX: u8 = 5;

/// A status that was asked for and is not confirmed.
#[derive(Debug, Clone)]
struct Report {
    number: u64,
    status: pb::JobStatus,
    error: String,
    /// The ping that was sent behind it on this connection.
    ping: Option<i64>,
    /// Connections on which it was sent.
    sent: u8,
}

#[derive(Debug, Default)]
struct Job {
    report: Option<Report>,
    ended_by_server: bool,
}

/// A status that LiveKit is known to have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confirmed {
    /// The job.
    pub job_id: String,
    /// The number of the latest report that is confirmed; it covers all earlier ones.
    pub number: u64,
    /// It was the job's end, nothing follows.
    pub ended: bool,
}

/// The jobs that are ours and their reports.
#[derive(Debug, Default)]
pub(super) struct Reports {
    jobs: HashMap<String, Job>,
    last_number: u64,
}

fn is_end(status: pb::JobStatus) -> bool {
    matches!(status, pb::JobStatus::JsSuccess | pb::JobStatus::JsFailed)
}

impl Reports {
    pub(super) fn len(&self) -> usize {
        self.jobs.len()
    }

    pub(super) fn knows(&self, job_id: &str) -> bool {
        self.jobs.contains_key(job_id)
    }

    /// A job has become ours.
    pub(super) fn begin(&mut self, job_id: &str) {
        self.jobs.insert(job_id.to_owned(), Job::default());
    }

    /// Takes a status down; a later one replaces an earlier one, nothing replaces an end. `None` when
    /// the job is not ours or has ended.
    pub(super) fn report(
        &mut self,
        job_id: &str,
        status: pb::JobStatus,
        error: &str,
    ) -> Option<u64> {
        let job = self.jobs.get_mut(job_id)?;
        if job
            .report
            .as_ref()
            .is_some_and(|report| is_end(report.status))
        {
            return None;
        }
        self.last_number += 1;
        let number = self.last_number;
        job.report = Some(Report {
            number,
            status,
            error: error.to_owned(),
            ping: None,
            sent: 0,
        });
        Some(number)
    }

    /// LiveKit ended the job; whether it was ours.
    pub(super) fn end_by_server(&mut self, job_id: &str) -> bool {
        let Some(job) = self.jobs.get_mut(job_id) else {
            return false;
        };
        job.ended_by_server = true;
        true
    }

    /// What is to be sent on this connection, to be followed by the ping `ping`.
    pub(super) fn unsent(&mut self, ping: i64) -> Vec<pb::UpdateJobStatus> {
        let mut updates = Vec::new();
        for (job_id, job) in &mut self.jobs {
            let Some(report) = job.report.as_mut().filter(|report| report.ping.is_none()) else {
                continue;
            };
            report.ping = Some(ping);
            report.sent = report.sent.saturating_add(1);
            updates.push(update(job_id, report.status, &report.error));
        }
        updates
    }

    /// A pong came for `ping` and with it for all earlier ones.
    pub(super) fn confirm(&mut self, ping: i64) -> Vec<Confirmed> {
        self.settle(|report, _| report.ping.is_some_and(|sent| sent <= ping))
    }

    /// Reports about jobs that LiveKit ended itself need no confirmation.
    pub(super) fn confirm_ended_by_server(&mut self) -> Vec<Confirmed> {
        self.settle(|_, ended_by_server| ended_by_server)
    }

    fn settle(&mut self, mut confirmed: impl FnMut(&Report, bool) -> bool) -> Vec<Confirmed> {
        let mut settled = Vec::new();
        self.jobs.retain(|job_id, job| {
            let Some(report) = job
                .report
                .take_if(|report| confirmed(report, job.ended_by_server))
            else {
                return true;
            };
            let ended = is_end(report.status);
            settled.push(Confirmed {
                job_id: job_id.clone(),
                number: report.number,
                ended,
            });
            !ended
        });
        settled
    }

    /// The connection is gone, and with it every pong that was to come.
    pub(super) fn disconnected(&mut self) {
        for report in self.jobs.values_mut().filter_map(|job| job.report.as_mut()) {
            report.ping = None;
        }
    }

    /// Jobs that go on, for a new registration: their ids, and for those without a report of their own
    /// that they are running.
    pub(super) fn running(&self) -> (Vec<String>, Vec<pb::UpdateJobStatus>) {
        let ids: Vec<String> = self
            .jobs
            .iter()
            .filter(|(_, job)| {
                !job.ended_by_server
                    && !job
                        .report
                        .as_ref()
                        .is_some_and(|report| is_end(report.status))
            })
            .map(|(job_id, _)| job_id.clone())
            .collect();
        let unreported = |job_id: &&String| {
            self.jobs
                .get(*job_id)
                .is_some_and(|job| job.report.is_none())
        };
        let updates = ids
            .iter()
            .filter(unreported)
            .map(|job_id| update(job_id, pb::JobStatus::JsRunning, ""))
            .collect();
        (ids, updates)
    }

    /// Forgets ends that were sent often enough, and names them.
    pub(super) fn give_up(&mut self) -> Vec<String> {
        let given_up = |job: &Job| {
            job.report
                .as_ref()
                .is_some_and(|report| is_end(report.status) && report.sent >= ENDS_SENT_MAX)
        };
        let ids: Vec<String> = self
            .jobs
            .iter()
            .filter(|(_, job)| given_up(job))
            .map(|(job_id, _)| job_id.clone())
            .collect();
        self.jobs.retain(|_, job| !given_up(job));
        ids
    }
}

fn update(job_id: &str, status: pb::JobStatus, error: &str) -> pb::UpdateJobStatus {
    pb::UpdateJobStatus {
        job_id: job_id.to_owned(),
        status: status.into(),
        error: error.to_owned(),
    }
}
