//! Text to speech by a Piper voice: text → clauses → `espeak-ng`'s phonemes → the network → 24 kHz.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::worker::Worker;
use super::{EmbeddedError, NAME};
use crate::models::{self, ManifestError, Pinned};
use crate::onnx::{PendingRuntime, Preparation, PrepareError, ReadModel, Runtime};
use crate::speech::{SpeechSender, SpeechStream, Tts, TtsError};

mod espeak;
mod text;
mod voice;

use espeak::Espeak;
use voice::{Settings, Voice};

/// Longest text that is spoken: some four minutes, more than any reply has.
const TEXT_CHARS_MAX: usize = 4_000;

/// The voice's files.
#[derive(Debug, Clone)]
pub struct PiperFiles {
    /// The network, ONNX format.
    pub voice: Pinned,
    /// Its settings, JSON.
    pub settings: Pinned,
}

impl PiperFiles {
    /// The pinned ones under a models directory.
    ///
    /// # Errors
    /// The manifest does not list them.
    pub fn in_directory(directory: &Path) -> Result<Self, ManifestError> {
        Ok(Self {
            voice: Pinned::of_manifest(directory, models::PIPER_VOICE)?,
            settings: Pinned::of_manifest(directory, models::PIPER_SETTINGS)?,
        })
    }
}

/// Makes the form of the voice that loads fastest, see [`crate::onnx::prepare`].
///
/// # Errors
/// The file is missing, altered or unusable, or its directory can't be written.
pub fn prepare_voice(runtime: &Runtime, files: &PiperFiles) -> Result<Preparation, PrepareError> {
    voice::prepare_network(runtime, &files.voice)
}

/// How the voice is used; two styles of one voice sound like two people.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Style {
    /// Duration of everything said, 1 as recorded; more is slower. Kept within 0.5–2.
    pub length_scale: f32,
    /// Pitch and colour together, 1 as recorded; more is higher. The tempo stays. Kept within 0.7–1.4.
    pub pitch: f32,
}

impl Default for Style {
    fn default() -> Self {
        Self {
            length_scale: 1.0,
            pitch: 1.0,
        }
    }
}

impl Style {
    /// Within the ranges that still sound like a person.
    fn kept_human(self) -> Self {
        Self {
            length_scale: self.length_scale.clamp(0.5, 2.0),
            pitch: self.pitch.clamp(0.7, 1.4),
        }
    }
}

/// The loaded engine.
pub struct Piper {
    engine: Arc<Engine>,
}

type Sound = Result<Vec<i16>, String>;

struct Engine {
    worker: Worker<Vec<i64>, Sound>,
    settings: Settings,
    espeak: Arc<Espeak>,
    limit: Duration,
}

impl Piper {
    /// Loads and warms up the voice on a thread of its own and waits for that; to be called off the async runtime.
    /// `espeak` is a path, or a name that is looked for in `PATH`. `limit` bounds the phonemes and each sentence, its
    /// wait in the queue included.
    ///
    /// # Errors
    /// A file is missing, altered or unusable, there is no `espeak-ng`, or there is no thread.
    pub fn load(
        runtime: impl Into<PendingRuntime>,
        files: &PiperFiles,
        espeak: &Path,
        style: Style,
        limit: Duration,
    ) -> Result<Self, EmbeddedError> {
        let content = |reason: String| EmbeddedError::Content {
            file: files.settings.path.clone(),
            reason,
        };
        let settings = Settings::parse(&files.settings.read()?).map_err(content)?;
        let program = find(espeak).ok_or_else(|| EmbeddedError::NoEspeak {
            program: espeak.to_owned(),
        })?;
        let espeak = Arc::new(Espeak::new(program, settings.espeak_voice()));
        // While the voice is read.
        let tried = espeak.clone();
        let trial = std::thread::Builder::new()
            .name("espeak".into())
            .spawn(move || {
                tried.try_out().map_err(|reason| EmbeddedError::Espeak {
                    program: tried.program().to_owned(),
                    reason,
                })
            })
            .map_err(|e| thread_error(e.to_string()))?;
        let (runtime, files, own) = (runtime.into(), files.clone(), settings.clone());
        let trial = Mutex::new(Some(trial));
        let worker = Worker::start("piper", move |jobs| {
            let read = ReadModel::read(&files.voice)?;
            // It is long over by now, and without it the voice need not be loaded.
            let trial = trial.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(trial) = trial {
                let tried = trial.join();
                tried.map_err(|_| thread_error("it panicked".into()))??;
            }
            let runtime = runtime.wait()?;
            let mut bytes = read.fitting(runtime)?;
            let mut voice = Voice::load(runtime, &mut bytes, &own, style.kept_human())?;
            voice.warm_up()?;
            jobs.serve(|ids: Vec<i64>, _| voice.speak(&ids).map_err(|e| e.to_string()));
            Ok(())
        })?;
        Ok(Self {
            engine: Arc::new(Engine {
                worker,
                settings,
                espeak,
                limit,
            }),
        })
    }
}

impl std::fmt::Debug for Piper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Piper")
            .field("limit", &self.engine.limit)
            .finish_non_exhaustive()
    }
}

fn thread_error(reason: String) -> EmbeddedError {
    EmbeddedError::Thread {
        name: "espeak",
        reason,
    }
}

/// An executable file: the path itself, or the first of that name in `PATH`.
fn find(program: &Path) -> Option<PathBuf> {
    use std::os::unix::fs::PermissionsExt;
    let is_program = |path: &PathBuf| {
        path.metadata()
            .is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
    };
    if program.components().count() > 1 {
        return Some(program.to_owned()).filter(is_program);
    }
    let directories = std::env::var_os("PATH")?;
    std::env::split_paths(&directories)
        .map(|directory| directory.join(program))
        .find(is_program)
}

impl Tts for Piper {
    fn name(&self) -> &'static str {
        NAME
    }

    /// Must be called within a tokio runtime; elsewhere the stream holds an error.
    fn speak(&self, text: &str) -> SpeechStream {
        let (sender, stream) = SpeechStream::channel(NAME);
        let (engine, text) = (self.engine.clone(), text.to_owned());
        match Handle::try_current() {
            Ok(runtime) => {
                // Ends by itself when the stream is dropped, and in bounded time otherwise.
                runtime.spawn(async move { engine.serve(&text, sender).await });
            }
            Err(e) => {
                // The stream is new and empty, so this neither waits nor fails.
                let _ = sender.blocking_fail(TtsError::Engine(e.to_string()));
            }
        }
        stream
    }
}

impl Engine {
    async fn serve(&self, text: &str, sender: SpeechSender) {
        let result = tokio::select! {
            () = sender.closed() => return,
            result = self.speak(text, &sender) => result,
        };
        if let Err(e) = result {
            // Refused only when nobody listens any more.
            let _ = sender.fail(e).await;
        }
    }

    /// Sentence by sentence: while one is handed over the next is being made, and between two the worker is free for
    /// other interviews.
    async fn speak(&self, text: &str, sender: &SpeechSender) -> Result<(), TtsError> {
        if text.chars().count() > TEXT_CHARS_MAX {
            return Err(TtsError::TooLong {
                chars_max: TEXT_CHARS_MAX,
            });
        }
        let units = text::units(text);
        let clauses: Vec<&str> = units
            .iter()
            .flatten()
            .map(|clause| clause.words.as_str())
            .collect();
        if clauses.is_empty() {
            return Err(TtsError::Empty);
        }
        let phonemes = self
            .within_limit(self.espeak.phonemes(&clauses))
            .await?
            .map_err(TtsError::Engine)?;
        let mut phonemes = phonemes.into_iter();
        let mut sentences = units.iter().map(|unit| {
            let said = unit
                .iter()
                .zip(phonemes.by_ref())
                .map(|(clause, phonemes)| (phonemes, clause.mark));
            self.settings.ids(said)
        });
        let Some(first) = sentences.next() else {
            return Err(TtsError::Empty);
        };
        let mut coming = self.submit(first)?;
        loop {
            let sound = self
                .within_limit(coming)
                .await?
                .map_err(|_| TtsError::Engine("it panicked, see the log".into()))?
                .map_err(TtsError::Engine)?;
            let next = sentences.next().map(|ids| self.submit(ids)).transpose()?;
            if sender.send(sound).await.is_err() {
                return Ok(());
            }
            match next {
                Some(next) => coming = next,
                None => return Ok(()),
            }
        }
    }

    fn submit(&self, ids: Vec<i64>) -> Result<oneshot::Receiver<Sound>, TtsError> {
        self.worker
            .submit(ids)
            .map_err(|_| TtsError::Engine("busy".into()))
    }

    async fn within_limit<T>(&self, work: impl Future<Output = T>) -> Result<T, TtsError> {
        let ms = self.limit.as_millis().try_into().unwrap_or(u64::MAX);
        tokio::time::timeout(self.limit, work)
            .await
            .map_err(|_| TtsError::Timeout { ms })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_found_by_path_or_by_name() {
        assert!(find(Path::new("sh")).is_some_and(|path| path.is_absolute()));
        assert_eq!(find(Path::new("/bin/sh")), Some("/bin/sh".into()));
        assert_eq!(find(Path::new("/etc/passwd")), None);
        assert_eq!(find(Path::new("no-such-program")), None);
    }

    #[test]
    fn a_style_stays_human() {
        let style = Style {
            length_scale: 9.0,
            pitch: 0.1,
        }
        .kept_human();
        assert_eq!(
            style,
            Style {
                length_scale: 2.0,
                pitch: 0.7
            }
        );
    }
}
