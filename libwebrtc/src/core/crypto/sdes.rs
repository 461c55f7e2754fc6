//! Gives unknown SDES items of a decrypted RTCP packet a type that the stack knows.

/// The source description packet (RFC 3550, section 6.5).
const SDES: u8 = 202;
/// The types of RTCP packets, from sender report to extended report.
const RTCP_TYPES: std::ops::RangeInclusive<u8> = 200..=207;
/// The last item type that the stack knows, and the one that unknown items get: a note, whose text
/// is free.
const KNOWN_ITEM_LAST: u8 = 8;
const NOTE: u8 = 7;

/// The plain header of an SRTCP packet, if that is what this additional data belongs to.
///
/// For SRTCP it is the first eight bytes of the packet and its index (RFC 7714, section 9.2). DTLS
/// has 13 bytes, and an RTP header would have its marker and payload type in the range of RTCP's
/// packet types, which multiplexing forbids (RFC 5761, section 4).
pub(super) fn srtcp_header(aad: &[u8]) -> Option<&[u8; 8]> {
    let header = aad.first_chunk::<8>()?;
    (aad.len() == 12 && header[0] >> 6 == 2 && RTCP_TYPES.contains(&header[1])).then_some(header)
}

/// Renames unknown items. `body` is the compound packet after its first eight bytes, `header`.
pub(crate) fn rename_unknown_items(header: &[u8; 8], body: &mut [u8]) {
    // Where a packet's own contents begin after its four-byte header: the first one's header and
    // first word lie before `body`.
    let mut end = packet_len(header).saturating_sub(header.len());
    if header[1] == SDES {
        rename_in_chunks(body, header[0] & 0x1f, 0, end, true);
    }
    while let Some(next) = body
        .get(end..)
        .and_then(|rest| rest.first_chunk::<4>().copied())
    {
        let begin = end;
        end = begin + packet_len(&next);
        if next[1] == SDES {
            rename_in_chunks(body, next[0] & 0x1f, begin + 4, end, false);
        }
    }
}

/// The length that a packet's header tells, in bytes with the header.
fn packet_len(header: &[u8]) -> usize {
    match header {
        [_, _, high, low, ..] => (usize::from(u16::from_be_bytes([*high, *low])) + 1) * 4,
        _ => 4,
    }
}

/// Walks `count` chunks from `at` to `end`; `in_chunk` says that the first one's source is read already.
fn rename_in_chunks(body: &mut [u8], count: u8, mut at: usize, end: usize, mut in_chunk: bool) {
    let end = end.min(body.len());
    for _ in 0..count {
        if !in_chunk {
            at += 4;
        }
        in_chunk = false;
        loop {
            if at >= end {
                return;
            }
            if body[at] == 0 {
                // The list ends with at least one zero, up to the next word. Words count from the
                // packet's begin, which is one with the body's: both are eight bytes apart.
                at = at / 4 * 4 + 4;
                break;
            }
            if body[at] > KNOWN_ITEM_LAST {
                body[at] = NOTE;
            }
            let Some(&len) = body.get(at + 1) else { return };
            at += 2 + usize::from(len);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rtc::rtcp::source_description::SourceDescription;

    use super::*;

    /// A sender report without blocks, and a description with a cname and a mid, as LiveKit sends them.
    fn compound() -> Vec<u8> {
        let mut packet = vec![0x80, 200, 0, 6];
        packet.extend([0; 24]);
        packet.extend([0x81, SDES, 0, 4]);
        packet.extend([0, 0, 0, 9, 1, 3, b'a', b'b', b'c', 15, 1, b'0', 0, 0, 0, 0]);
        packet
    }

    fn repaired(mut packet: Vec<u8>) -> Vec<u8> {
        let header: [u8; 8] = *packet.first_chunk().unwrap();
        rename_unknown_items(&header, &mut packet[8..]);
        packet
    }

    fn unmarshal(packet: Vec<u8>) -> Result<Vec<Box<dyn rtc::rtcp::Packet>>, String> {
        let mut bytes = bytes::Bytes::from(packet);
        rtc::rtcp::packet::unmarshal(&mut bytes).map_err(|error| error.to_string())
    }

    #[test]
    fn a_report_with_a_mid_beside_it_can_be_read_after_the_repair() {
        assert!(
            unmarshal(compound()).is_err(),
            "the stack reads it by itself: drop the repair"
        );
        let packets = unmarshal(repaired(compound())).unwrap();
        assert_eq!(packets.len(), 2);
        let description = packets[1]
            .as_any()
            .downcast_ref::<SourceDescription>()
            .unwrap();
        assert_eq!(description.chunks[0].items.len(), 2);
    }

    #[test]
    fn a_description_that_stands_first_is_repaired_too() {
        let packet = compound()[28..].to_vec();
        assert!(unmarshal(repaired(packet)).is_ok());
    }

    #[test]
    fn only_the_additional_data_of_rtcp_is_taken_for_it() {
        let rtcp = [0x80, 200, 0, 1, 0, 0, 0, 9, 0x80, 0, 0, 1];
        assert!(srtcp_header(&rtcp).is_some());
        let rtp = [0x80, 111, 0, 1, 0, 0, 0, 9, 0x80, 0, 0, 1];
        assert!(srtcp_header(&rtp).is_none());
        assert!(
            srtcp_header(&[0x80, 200, 0, 1, 0, 0, 0, 9, 0, 0, 0, 1, 0]).is_none(),
            "DTLS"
        );
    }

    proptest! {
        #[test]
        fn no_packet_makes_the_repair_panic_or_touch_other_packets(
            header in any::<[u8; 8]>(),
            body in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            let mut after = body.clone();
            rename_unknown_items(&header, &mut after);
            prop_assert_eq!(after.len(), body.len());
            for (before, after) in body.iter().zip(&after) {
                prop_assert!(before == after || (*before > KNOWN_ITEM_LAST && *after == NOTE));
            }
        }
    }
}
