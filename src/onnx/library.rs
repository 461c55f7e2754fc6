//! Whether the file of a shared library is all there.
//!
//! The system's loader maps a truncated one without a word, and whoever touches what is missing is killed (SIGBUS).

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Length of the header of a 64-bit ELF file.
const HEADER_BYTES: usize = 64;
/// Length of an entry of its table of segments, at the least.
const SEGMENT_BYTES: usize = 56;
/// Segments of a library; a real one has about ten.
const SEGMENTS_MAX: u16 = 1_000;

/// Refuses a library of which the end is missing. What is no 64-bit ELF file of this byte order is left to the loader, which names it.
pub(super) fn check_whole(path: &Path) -> Result<(), String> {
    let file = File::open(path).map_err(|e| e.to_string())?;
    let has = file.metadata().map_err(|e| e.to_string())?.len();
    match needed(&file) {
        Ok(Some(needs)) if has < needs => Err(format!(
            "it has {has} bytes and should have {needs} at least: the file is truncated"
        )),
        Ok(_) => Ok(()),
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => {
            Err(format!("it has {has} bytes: the file is truncated"))
        }
        Err(e) => Err(e.to_string()),
    }
}

/// The length that its own tables speak of.
fn needed(file: &File) -> io::Result<Option<u64>> {
    let mut header = [0; HEADER_BYTES];
    file.read_exact_at(&mut header, 0)?;
    let is_64_bit_little_endian = header.starts_with(b"\x7fELF\x02\x01");
    if !is_64_bit_little_endian {
        return Ok(None);
    }
    let (segments_at, sections_at) = (u64_at(&header, 32), u64_at(&header, 40));
    let (segment_bytes, segments) = (u16_at(&header, 54), u16_at(&header, 56));
    let (section_bytes, sections) = (u16_at(&header, 58), u16_at(&header, 60));
    let mut end = sections_at.saturating_add(u64::from(section_bytes) * u64::from(sections));
    if usize::from(segment_bytes) < SEGMENT_BYTES || segments > SEGMENTS_MAX {
        return Ok(None);
    }
    for number in 0..segments {
        let mut segment = [0; SEGMENT_BYTES];
        let at = u64::from(segment_bytes) * u64::from(number);
        file.read_exact_at(&mut segment, segments_at.saturating_add(at))?;
        let (offset, length) = (u64_at(&segment, 8), u64_at(&segment, 32));
        end = end.max(offset.saturating_add(length));
    }
    Ok(Some(end))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut number = [0; 8];
    number.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(number)
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_is_whole_and_its_beginning_is_not() {
        let program = std::env::current_exe().unwrap();
        assert_eq!(check_whole(&program), Ok(()));
        let directory = tempfile::tempdir().unwrap();
        let part = directory.path().join("part.so");
        let bytes = std::fs::read(&program).unwrap();
        for length in [0, 10, HEADER_BYTES, 4_096, bytes.len() / 2, bytes.len() - 1] {
            std::fs::write(&part, &bytes[..length]).unwrap();
            let error = check_whole(&part).unwrap_err();
            assert!(error.contains("truncated"), "{length}: {error}");
        }
    }

    #[test]
    fn what_is_no_library_is_left_to_the_loader() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("words.so");
        std::fs::write(&file, "no library, ".repeat(20)).unwrap();
        assert_eq!(check_whole(&file), Ok(()));
        assert!(check_whole(directory.path()).is_err());
    }
}
