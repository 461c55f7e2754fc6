//! The stack's statistics, completed by what is known outside it.

use std::collections::HashMap;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use rtc::statistics::StatsSelector;
use rtc::statistics::report::RTCStatsReportEntry as Entry;
use serde_json::{Map, Value, json};

use super::{Core, CoreError, Reports};
use crate::audio::RemoteAudioStats;
use crate::stats::RtcStats;

/// The clock of Opus in RTP.
const OPUS_HZ: f64 = 48_000.0;

impl Core {
    /// All statistics; `audio` has what the decoders know of each received source.
    pub fn stats(
        &mut self,
        now: Instant,
        audio: &HashMap<u32, RemoteAudioStats>,
    ) -> Result<Vec<RtcStats>, CoreError> {
        let entries = self.call_quietly(|stack| {
            let report = stack.get_stats(now, StatsSelector::None);
            Ok(report.iter().filter_map(to_json).collect::<Vec<_>>())
        })?;
        let mut entries: Vec<Map<String, Value>> = entries;
        let mut extra = Vec::new();
        for entry in &mut entries {
            match entry.get("type").and_then(Value::as_str) {
                Some("inbound-rtp") => complete_inbound(entry, &self.reports, audio, &mut extra),
                Some("outbound-rtp") => complete_outbound(entry, &self.reports, &mut extra),
                Some("candidate-pair") => name_candidates(entry),
                _ => {}
            }
        }
        // The stack's reports about the remote side lack times and clocks; ours replace them.
        entries.retain(|entry| {
            !matches!(
                entry.get("type").and_then(Value::as_str),
                Some("remote-inbound-rtp" | "remote-outbound-rtp")
            )
        });
        entries.extend(extra);
        Ok(entries.into_iter().filter_map(from_json).collect())
    }
}

fn to_json(entry: &Entry) -> Option<Map<String, Value>> {
    let value = match entry {
        Entry::PeerConnection(s) => serde_json::to_value(s),
        Entry::Transport(s) => serde_json::to_value(s),
        Entry::IceCandidatePair(s) => serde_json::to_value(s),
        Entry::LocalCandidate(s) | Entry::RemoteCandidate(s) => serde_json::to_value(s),
        Entry::Certificate(s) => serde_json::to_value(s),
        Entry::Codec(s) => serde_json::to_value(s),
        Entry::DataChannel(s) => serde_json::to_value(s),
        Entry::InboundRtp(s) => serde_json::to_value(s),
        Entry::OutboundRtp(s) => serde_json::to_value(s),
        Entry::RemoteInboundRtp(s) => serde_json::to_value(s),
        Entry::RemoteOutboundRtp(s) => serde_json::to_value(s),
        // Sources and playout are of the audio module; the stack's entries for them are empty.
        _ => return None,
    };
    match value {
        Ok(Value::Object(object)) => Some(object),
        Ok(_) => None,
        Err(error) => {
            log::debug!("a statistics entry can't be written: {error}");
            None
        }
    }
}

/// Reads an entry back as the API's type, dropping members whose values that doesn't know.
fn from_json(mut entry: Map<String, Value>) -> Option<RtcStats> {
    entry.insert("timestamp".to_owned(), json!(timestamp_us()));
    entry.retain(|name, value| match value {
        Value::Null => false,
        Value::String(text) if is_nothing(text) => false,
        // Moments are milliseconds in the API, and objects in the stack's own notation.
        _ => !(name.starts_with("last") && name.ends_with("Timestamp")),
    });
    match serde_json::from_value(Value::Object(entry)) {
        Ok(stats) => Some(stats),
        Err(error) => {
            log::debug!("a statistics entry can't be read: {error}");
            None
        }
    }
}

/// The stack's words for a value that there is none of; some begin with a capital.
fn is_nothing(text: &str) -> bool {
    text.eq_ignore_ascii_case("unspecified") || text.eq_ignore_ascii_case("unknown")
}

fn complete_inbound(
    entry: &mut Map<String, Value>,
    reports: &Reports,
    audio: &HashMap<u32, RemoteAudioStats>,
    extra: &mut Vec<Map<String, Value>>,
) {
    let Some(ssrc) = ssrc(entry) else { return };
    if let Some(audio) = audio.get(&ssrc) {
        entry.extend(object(json!({
            "packetsReceived": audio.packets_received,
            "packetsLost": audio.packets_lost,
            "packetsDiscarded": audio.packets_discarded,
            "bytesReceived": audio.bytes_received,
            "retransmittedPacketsReceived": audio.packets_resent,
            "retransmittedBytesReceived": audio.bytes_resent,
            "jitter": audio.jitter_s,
            "jitterBufferDelay": audio.delay_s_sum,
            "jitterBufferEmittedCount": audio.samples_played.saturating_sub(audio.samples_silent),
            "totalSamplesReceived": audio.samples_played,
            "concealedSamples": audio.samples_concealed,
            "silentConcealedSamples": audio.samples_silent,
            "concealmentEvents": audio.concealment_events,
            "insertedSamplesForDeceleration": audio.samples_inserted,
            "removedSamplesForAcceleration": audio.samples_removed,
            "audioLevel": 10_f64.powf(-f64::from(audio.level_dbov) / 20.0),
            "totalAudioEnergy": audio.energy_s_sum,
            "totalSamplesDuration": audio.samples_played as f64 / OPUS_HZ,
        })));
    }
    if let Some(sending) = reports.sending(ssrc).filter(|sending| sending.reports > 0) {
        let id = format!("RO-{ssrc}");
        entry.insert("remoteId".to_owned(), json!(id));
        extra.push(remote_entry(
            entry,
            &id,
            "remote-outbound-rtp",
            json!({
                "packetsSent": sending.packets_sent,
                "bytesSent": sending.bytes_sent,
                "remoteTimestamp": sending.remote_timestamp_ms,
                "reportsSent": sending.reports,
            }),
        ));
    }
}

fn complete_outbound(
    entry: &mut Map<String, Value>,
    reports: &Reports,
    extra: &mut Vec<Map<String, Value>>,
) {
    let Some(ssrc) = ssrc(entry) else { return };
    let resendings = reports.resendings(ssrc);
    entry.extend(object(json!({
        "nackCount": resendings.questions,
        "retransmittedPacketsSent": resendings.packets,
        "retransmittedBytesSent": resendings.bytes,
    })));
    let Some(reception) = reports.reception(ssrc) else {
        return;
    };
    let id = format!("RI-{ssrc}");
    entry.insert("remoteId".to_owned(), json!(id));
    extra.push(remote_entry(
        entry,
        &id,
        "remote-inbound-rtp",
        json!({
            "packetsLost": reception.packets_lost,
            "fractionLost": reception.fraction_lost,
            "jitter": f64::from(reception.jitter) / OPUS_HZ,
            "roundTripTime": reception.round_trip_s,
            "totalRoundTripTime": reception.total_round_trip_s,
            "roundTripTimeMeasurements": reception.round_trip_count,
        }),
    ));
}

/// An entry for the remote side of the stream that `entry` is about.
fn remote_entry(
    entry: &Map<String, Value>,
    id: &str,
    stats_type: &str,
    members: Value,
) -> Map<String, Value> {
    let mut remote = object(members);
    for name in ["ssrc", "kind", "transportId", "codecId"] {
        if let Some(value) = entry.get(name) {
            remote.insert(name.to_owned(), value.clone());
        }
    }
    let local_id = entry.get("id").cloned().unwrap_or(Value::Null);
    remote.extend(object(
        json!({ "id": id, "type": stats_type, "localId": local_id }),
    ));
    remote
}

/// The stack names the candidates of a pair otherwise than their own entries.
fn name_candidates(entry: &mut Map<String, Value>) {
    for (member, prefix) in [
        ("localCandidateId", "RTCLocalIceCandidate_"),
        ("remoteCandidateId", "RTCRemoteIceCandidate_"),
    ] {
        if let Some(Value::String(id)) = entry.get_mut(member)
            && !id.starts_with(prefix)
        {
            id.insert_str(0, prefix);
        }
    }
}

fn ssrc(entry: &Map<String, Value>) -> Option<u32> {
    entry.get("ssrc")?.as_u64()?.try_into().ok()
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(object) => object,
        _ => Map::new(),
    }
}

fn timestamp_us() -> i64 {
    let since_epoch = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since_epoch.as_micros()).unwrap_or(i64::MAX)
}
