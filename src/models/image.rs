//! A file's bytes in memory of our own, hashed on their way in.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::ops::{Deref, DerefMut};
use std::path::Path;

use memmap2::{Advice, MmapMut};

use super::Sha256;
use super::digest::{Hasher, READ_BYTES};

/// What can be put behind the bytes once they are read: twenty thousand short names.
const ROOM_BYTES: usize = 256 << 10;
/// No model here is nearly as large; whatever is has no end.
const BYTES_MAX: usize = 1 << 30;
/// For what does not tell its size beforehand, a pipe for example.
const GROWTH_MIN_BYTES: usize = 1 << 20;

/// The bytes of a file as they were when it was read: whatever happens to the file afterwards is of no matter. They lie
/// on huge pages where the kernel gives them. Of small ones a model of 64 MB needs 16,000, each of them a fault: half
/// of the time that reading takes. Begins at the boundary of a page.
#[derive(Default)]
pub struct Image {
    memory: Option<MmapMut>,
    length: usize,
}

impl Image {
    /// Everything in the file at `path`, and its hash.
    ///
    /// # Errors
    /// The file can't be read or is larger than 1 GiB, or there is no memory.
    pub fn read(path: &Path) -> io::Result<(Self, Sha256)> {
        let file = File::open(path)?;
        let expected = usize::try_from(file.metadata()?.len()).map_err(|_| too_large())?;
        Self::read_from(file, expected, BYTES_MAX)
    }

    /// Everything that `from` yields, of which `expected` bytes are no surprise; more than `most` are refused.
    fn read_from(mut from: impl Read, expected: usize, most: usize) -> io::Result<(Self, Sha256)> {
        if expected > most {
            return Err(too_large());
        }
        let mut memory = memory(expected + ROOM_BYTES)?;
        let mut length = 0;
        let mut hasher = Hasher::default();
        loop {
            if length > most {
                return Err(too_large());
            }
            if length == memory.len() {
                memory = grown(&memory, most)?;
            }
            let end = memory.len().min(length + READ_BYTES);
            match from.read(&mut memory[length..end]) {
                Ok(0) => break,
                Ok(n) => {
                    hasher.update(&memory[length..length + n]);
                    length += n;
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        let memory = Some(memory);
        Ok((Self { memory, length }, hasher.finish()))
    }

    #[cfg(test)]
    pub(crate) fn of(bytes: &[u8]) -> io::Result<Self> {
        Self::read_from(bytes, bytes.len(), BYTES_MAX).map(|(image, _)| image)
    }

    /// Puts `bytes` behind the others, where there is room for them: 256 KiB at most.
    #[must_use]
    pub(crate) fn append(&mut self, bytes: &[u8]) -> bool {
        let room = self
            .memory
            .as_mut()
            .and_then(|memory| memory.get_mut(self.length..self.length.checked_add(bytes.len())?));
        let Some(room) = room else { return false };
        room.copy_from_slice(bytes);
        self.length += bytes.len();
        true
    }
}

fn memory(bytes: usize) -> io::Result<MmapMut> {
    let memory = MmapMut::map_anon(bytes)?;
    // A wish: a kernel that has no huge pages gives small ones, and one whose memory is in pieces may first tidy up.
    let _ = memory.advise(Advice::HugePage);
    Ok(memory)
}

/// Twice as much memory, and a little more than `most` bytes at the most, so that it shows when there are more.
fn grown(full: &MmapMut, most: usize) -> io::Result<MmapMut> {
    let doubled = (full.len() * 2).max(GROWTH_MIN_BYTES);
    let mut larger = memory(doubled.min(most + ROOM_BYTES))?;
    larger[..full.len()].copy_from_slice(full);
    Ok(larger)
}

fn too_large() -> io::Error {
    let text = format!("it is larger than {} MiB", BYTES_MAX >> 20);
    io::Error::new(io::ErrorKind::FileTooLarge, text)
}

impl Deref for Image {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        let memory = self.memory.as_deref().unwrap_or_default();
        &memory[..self.length]
    }
}

impl DerefMut for Image {
    fn deref_mut(&mut self) -> &mut [u8] {
        let memory = self.memory.as_deref_mut().unwrap_or_default();
        &mut memory[..self.length]
    }
}

impl fmt::Debug for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Image({} bytes)", self.length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Yields at most so many bytes at once.
    struct Sip<'b>(&'b [u8], usize);

    impl Read for Sip<'_> {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let most = into.len().min(self.1);
            self.0.read(&mut into[..most])
        }
    }

    proptest! {
        #[test]
        fn what_is_read_is_what_was_there_and_so_is_its_hash(
            bytes in prop::collection::vec(any::<u8>(), 0..20_000),
            expected in 0_usize..20_000,
            sip in 1_usize..10_000,
        ) {
            let (image, hash) = Image::read_from(Sip(&bytes, sip), expected, BYTES_MAX).unwrap();
            prop_assert_eq!(&image[..], &bytes[..]);
            prop_assert_eq!(hash, Sha256::of(&bytes));
        }
    }

    #[test]
    fn what_tells_no_size_is_read_to_its_end() {
        let bytes: Vec<u8> = (0..3_000_000_u32).map(|i| (i / 7) as u8).collect();
        let (image, hash) = Image::read_from(&bytes[..], 0, BYTES_MAX).unwrap();
        assert_eq!(image[..], bytes[..]);
        assert_eq!(hash, Sha256::of(&bytes));
    }

    #[test]
    fn what_has_no_end_is_refused() {
        let most = 4 * GROWTH_MIN_BYTES;
        for expected in [0, 10, most, most + 1] {
            for bytes in [most as u64 + 1, u64::MAX] {
                let error =
                    Image::read_from(io::repeat(7).take(bytes), expected, most).unwrap_err();
                assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
                assert_eq!(error.to_string(), "it is larger than 1024 MiB");
            }
        }
        for expected in [0, 10, most] {
            let (image, _) =
                Image::read_from(io::repeat(7).take(most as u64), expected, most).unwrap();
            assert_eq!(image.len(), most);
        }
    }

    #[test]
    fn there_is_a_little_room_behind_a_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        std::fs::write(&path, "words").unwrap();
        let (mut image, _) = Image::read(&path).unwrap();
        assert!(image.append(b" and more"));
        assert_eq!(image[..], b"words and more"[..]);
        assert!(!image.append(&[0; ROOM_BYTES]));
        assert_eq!(image[..], b"words and more"[..]);
        assert!(!Image::default().append(b"x"));
    }

    #[test]
    fn what_can_t_be_read_says_why() {
        let directory = tempfile::tempdir().unwrap();
        assert!(Image::read(directory.path()).is_err());
        let missing = Image::read(&directory.path().join("none")).unwrap_err();
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
    }
}
