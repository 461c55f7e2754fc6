//! The directory in which a start with a fault takes place, and whatever makes the fault.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::net::TcpListener;
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::Connection;
use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat};

use super::journals::{self, IN_TEN_YEARS_UNIX_MS, NOW_UNIX_MS};
use super::{Fault, Part};
use crate::boot::engines::runtime_path;
use crate::config::{Config, Engine};
use crate::journal::{JOURNAL_FILE, Journal};
use crate::models::{self, Manifest};
use crate::onnx::prepared_files;

/// The plan of every start.
pub(super) const PLAN: &str = include_str!("../../../plans/demo.toml");

/// Whatever must live as long as the start.
#[expect(dead_code, reason = "held, not used")]
enum Held {
    Journal(Journal),
    Lock(Connection),
    Listener(TcpListener),
}

/// The directory and the settings that lead to it.
pub struct Scratch {
    /// The settings to start with.
    pub config: Config,
    embedded: bool,
    directory: tempfile::TempDir,
    held: Vec<Held>,
    pipes: Vec<PathBuf>,
}

impl Scratch {
    /// Makes the directory with its fault.
    ///
    /// # Errors
    /// A file can't be made there.
    pub async fn prepare(
        fault: Fault,
        embedded: bool,
        config: &Config,
        random: &mut fastrand::Rng,
    ) -> io::Result<Self> {
        let directory = tempfile::Builder::new().prefix("viva-boot-").tempdir()?;
        let at = |name: &str| directory.path().join(name);
        let mut own = config.clone();
        own.state_directory = at("state");
        own.http.listen = ([127, 0, 0, 1], 0).into();
        own.interviews.default_plan = "demo".into();
        own.interviews.plans_directory = Some(at("plans"));
        own.models.onnxruntime = Some(runtime_path(config));
        own.models.vad = None;
        own.models.directory = at("models");
        let engine = if embedded {
            Engine::Embedded
        } else {
            Engine::Openai
        };
        (own.stt.engine, own.tts.engine) = (engine, engine);
        // Nobody is asked before READY, so nobody need be there.
        let nobody = Some("http://127.0.0.1:9/v1".to_owned());
        (own.stt.base_url, own.tts.base_url) = (nobody.clone(), nobody);
        own.llm.base_url = None;
        for file in [
            &mut own.stt.api_key_file,
            &mut own.tts.api_key_file,
            &mut own.llm.api_key_file,
        ] {
            *file = None;
        }
        link_models(&config.models.directory, &own.models.directory)?;
        fs::create_dir(at("plans"))?;
        fs::write(at("plans/demo.toml"), PLAN)?;
        let mut scratch = Self {
            config: own,
            embedded,
            directory,
            held: Vec::new(),
            pipes: Vec::new(),
        };
        scratch.break_it(fault, random).await?;
        Ok(scratch)
    }

    /// Whether the speech engines are those of this machine.
    pub fn is_embedded(&self) -> bool {
        self.embedded
    }

    fn at(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    async fn break_it(&mut self, fault: Fault, random: &mut fastrand::Rng) -> io::Result<()> {
        let state = self.config.state_directory.clone();
        let file = state.join(JOURNAL_FILE);
        let plan = self.at("plans/demo.toml");
        match fault {
            Fault::None | Fault::ProvidersDown | Fault::Stopped(_) => {}
            Fault::ModelCorrupt(part) => self.damage(part, |bytes| flip_a_bit(bytes, random))?,
            Fault::PreparedDamaged => self.damage_prepared(Part::Turn, random)?,
            Fault::ModelTruncated(part) => self.damage(part, |bytes| {
                bytes.truncate(random.usize(0..bytes.len()));
            })?,
            Fault::ModelMissing(part) => fs::remove_file(self.model_alone(part)?)?,
            Fault::ModelIsDirectory(part) => {
                let model = self.model_alone(part)?;
                fs::remove_file(&model)?;
                fs::create_dir(model)?;
            }
            Fault::ModelOther(part) => {
                let other = fs::read(self.model(part.other()))?;
                self.damage(part, |bytes| *bytes = other)?;
            }
            Fault::ModelSlow(part, ms) => self.slow(&self.model_alone(part)?, ms)?,
            Fault::ModelStuck(part) => self.pipe(&self.model_alone(part)?)?,
            Fault::JournalDamaged => {
                fs::create_dir(&state)?;
                fs::write(&file, journals::noise(random))?;
            }
            Fault::JournalPageDamaged => {
                journals::write(&state, NOW_UNIX_MS).await?;
                journals::damage_a_page(&file, random)?;
            }
            Fault::JournalTruncated => {
                journals::write(&state, NOW_UNIX_MS).await?;
                journals::truncate(&file, random)?;
            }
            Fault::JournalWalDamaged => {
                journals::write(&state, NOW_UNIX_MS).await?;
                journals::damage_the_wal(&state, random)?;
            }
            Fault::JournalForeign => {
                let other = open(&state)?;
                other
                    .execute_batch("CREATE TABLE other (x); PRAGMA user_version = 7;")
                    .map_err(io::Error::other)?;
            }
            Fault::JournalTaken => {
                let journal = Journal::open(&state).map_err(io::Error::other)?;
                self.held.push(Held::Journal(journal));
            }
            Fault::JournalLocked => {
                let lock = open(&state)?;
                lock.execute_batch("BEGIN EXCLUSIVE")
                    .map_err(io::Error::other)?;
                self.held.push(Held::Lock(lock));
            }
            Fault::JournalWriteLocked => {
                journals::write(&state, NOW_UNIX_MS).await?;
                let lock = Connection::open(&file).map_err(io::Error::other)?;
                lock.execute_batch("BEGIN IMMEDIATE")
                    .map_err(io::Error::other)?;
                self.held.push(Held::Lock(lock));
            }
            Fault::ClockBack => journals::write(&state, IN_TEN_YEARS_UNIX_MS).await?,
            Fault::ClockAhead => journals::write(&state, 0).await?,
            Fault::StateIsFile => fs::write(state, "")?,
            Fault::PlanBroken => fs::write(plan, "titel = \"T\"")?,
            Fault::PlansMissing => fs::remove_dir_all(self.at("plans"))?,
            Fault::PlanSlow(ms) => self.slow(&plan, ms)?,
            Fault::PlanStuck => self.pipe(&plan)?,
            Fault::PortTaken => {
                let listener = TcpListener::bind(("127.0.0.1", 0))?;
                self.config.http.listen = listener.local_addr()?;
                self.held.push(Held::Listener(listener));
            }
            Fault::KeyMissing => self.config.stt.api_key_file = Some(self.at("stt-key")),
            Fault::KeyEmpty => {
                fs::write(self.at("stt-key"), "\n")?;
                self.config.stt.api_key_file = Some(self.at("stt-key"));
            }
            Fault::BadAddress => self.config.tts.base_url = Some("http://u:p@127.0.0.1/v1".into()),
            Fault::ProvidersSilent => {
                let listener = TcpListener::bind(("127.0.0.1", 0))?;
                let url = format!("http://{}/v1", listener.local_addr()?);
                self.config.stt.base_url = Some(url.clone());
                self.config.tts.base_url = Some(url);
                // It accepts by its backlog, and never answers.
                self.held.push(Held::Listener(listener));
            }
            Fault::NoEspeak => self.config.tts.espeak = self.at("espeak-ng"),
        }
        Ok(())
    }

    fn model(&self, part: Part) -> PathBuf {
        self.config.models.directory.join(match part {
            Part::Vad => models::VAD,
            Part::Turn => models::TURN,
            Part::Stt => models::MOONSHINE_ENCODER,
            Part::Tts => models::PIPER_SETTINGS,
        })
    }

    /// The same without its prepared form, in the place of which the file itself is read then.
    fn model_alone(&self, part: Part) -> io::Result<PathBuf> {
        let model = self.model(part);
        for prepared in prepared_files(&model) {
            match fs::remove_file(prepared) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
                _ => {}
            }
        }
        Ok(model)
    }

    /// Damages the prepared form of a model, where there is one.
    fn damage_prepared(&self, part: Part, random: &mut fastrand::Rng) -> io::Result<()> {
        let [_, prepared] = prepared_files(&self.model(part));
        let mut bytes = match fs::read(&prepared) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            read => read?,
        };
        if random.bool() {
            flip_a_bit(&mut bytes, random);
        } else {
            bytes.truncate(random.usize(0..bytes.len()));
        }
        fs::remove_file(&prepared)?;
        fs::write(&prepared, bytes)
    }

    /// Puts a damaged copy in the place of the link to a model.
    fn damage(&self, part: Part, damage: impl FnOnce(&mut Vec<u8>)) -> io::Result<()> {
        let path = self.model_alone(part)?;
        let mut bytes = fs::read(&path)?;
        damage(&mut bytes);
        fs::remove_file(&path)?;
        fs::write(&path, bytes)
    }

    /// Puts a pipe in the place of a file: whoever reads it waits for somebody who writes.
    fn pipe(&mut self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)?;
        mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)?;
        self.pipes.push(path.to_owned());
        Ok(())
    }

    /// Puts a pipe in the place of a file through which its content comes, spread over `ms`.
    fn slow(&mut self, path: &Path, ms: u16) -> io::Result<()> {
        /// Pieces of the file.
        const PIECES: usize = 8;
        let bytes = fs::read(path)?;
        self.pipe(path)?;
        let path = path.to_owned();
        let pause = Duration::from_millis(ms.into()) / PIECES as u32;
        std::thread::Builder::new()
            .name("slow disk".into())
            .spawn(move || {
                // Opens when it is read; after the start is over, the scratch's own end opens it.
                let Ok(mut pipe) = File::options().write(true).open(path) else {
                    return;
                };
                for piece in bytes.chunks(bytes.len().div_ceil(PIECES).max(1)) {
                    std::thread::sleep(pause);
                    // Refused when nobody reads any more.
                    if pipe.write_all(piece).is_err() {
                        return;
                    }
                }
            })?;
        Ok(())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Whoever still waits at a pipe is let go: reader and writer each see somebody open and close it.
        let nonblocking = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or(0);
        for pipe in &self.pipes {
            for read in [false, true] {
                let _opened = OpenOptions::new()
                    .read(read)
                    .write(!read)
                    .custom_flags(nonblocking)
                    .open(pipe);
            }
        }
    }
}

fn flip_a_bit(bytes: &mut [u8], random: &mut fastrand::Rng) {
    let at = random.usize(0..bytes.len());
    bytes[at] ^= 1 << random.u8(0..8);
}

fn link_models(from: &Path, to: &Path) -> io::Result<()> {
    let from = fs::canonicalize(from)?;
    for (_, file) in Manifest::builtin().files() {
        let link = to.join(&file.path);
        if let Some(parent) = link.parent() {
            fs::create_dir_all(parent)?;
        }
        let real = from.join(&file.path);
        let prepared = prepared_files(&real).into_iter().zip(prepared_files(&link));
        for (real, link) in [(real, link)].into_iter().chain(prepared) {
            if real.exists() {
                symlink(real, link)?;
            }
        }
    }
    Ok(())
}

fn open(state: &Path) -> io::Result<Connection> {
    fs::create_dir(state)?;
    Connection::open(state.join(JOURNAL_FILE)).map_err(io::Error::other)
}
