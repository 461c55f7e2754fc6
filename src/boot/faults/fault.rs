//! What can be wrong, how often it is made up, and what it must lead to.

use serde::Serialize;

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// Nothing.
    None,
    /// A byte of a model file is another.
    ModelCorrupt(Part),
    /// A model file ends too early.
    ModelTruncated(Part),
    /// A model file is not there.
    ModelMissing(Part),
    /// A model file is a directory.
    ModelIsDirectory(Part),
    /// In a model file's place is another model, whole and of the wrong hash.
    ModelOther(Part),
    /// The turn model's prepared form is damaged; the pinned one is whole.
    PreparedDamaged,
    /// A model file comes slowly, in so many milliseconds.
    ModelSlow(Part, u16),
    /// A model file never comes.
    ModelStuck(Part),
    /// The journal's first page is noise.
    JournalDamaged,
    /// Another page of a journal with interviews is noise.
    JournalPageDamaged,
    /// A journal with interviews has lost its end.
    JournalTruncated,
    /// What was written last, and is not in the journal's own file yet, is noise.
    JournalWalDamaged,
    /// The journal is another program's database.
    JournalForeign,
    /// Another process writes the journal.
    JournalTaken,
    /// Another program holds SQLite's own lock on a new journal.
    JournalLocked,
    /// Another program is in the middle of writing to a journal with interviews.
    JournalWriteLocked,
    /// The clock has jumped back since the journal was written: its interviews begin in ten years.
    ClockBack,
    /// The clock stood at 1970 when the journal was written.
    ClockAhead,
    /// The state directory is a file.
    StateIsFile,
    /// The default plan is no plan.
    PlanBroken,
    /// The directory of plans is not there.
    PlansMissing,
    /// A plan comes slowly, in so many milliseconds.
    PlanSlow(u16),
    /// A plan never comes.
    PlanStuck,
    /// Another program listens on the port.
    PortTaken,
    /// The file with a provider's key is not there.
    KeyMissing,
    /// The file with a provider's key is empty.
    KeyEmpty,
    /// A provider's address is none.
    BadAddress,
    /// No provider is there.
    ProvidersDown,
    /// The providers accept and say nothing.
    ProvidersSilent,
    /// There is no `espeak-ng`.
    NoEspeak,
    /// Told to stop after so many milliseconds.
    Stopped(u16),
}

/// A model file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// Silero; without it loudness tells speech.
    Vad,
    /// Smart Turn; without it silence tells the end of a turn.
    Turn,
    /// Moonshine's encoder.
    Stt,
    /// Piper's settings.
    Tts,
}

/// What a fault must lead to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expected {
    /// Ready, as if nothing were.
    Ready,
    /// Ready, with this component degraded and no other.
    Degraded(&'static str),
    /// The end, whose cause has this in it.
    Ends(&'static str),
    /// Ready, or the end where that took too long, whose cause has this in it.
    ReadyOrEnds(&'static str),
    /// Ready, with this component degraded where the damage shows, or the end, whose cause has this in it.
    DegradedOrEnds(&'static str, &'static str),
    /// Ready, or stopped before that.
    Stops,
}

impl Fault {
    /// Any fault; about one in ten is none.
    pub fn any(random: &mut fastrand::Rng) -> Self {
        let ms = random.u16(1..400);
        match random.u8(0..40) {
            0..=3 => Self::None,
            4..=5 => Self::ModelCorrupt(Part::any(random)),
            6..=7 => Self::ModelTruncated(Part::any(random)),
            8..=9 => Self::ModelMissing(Part::any(random)),
            10 => Self::ModelIsDirectory(Part::any(random)),
            11 => Self::ModelOther(Part::any(random)),
            37 => Self::PreparedDamaged,
            12..=13 => Self::ModelSlow(Part::any(random), ms),
            14 => Self::ModelStuck(Part::any(random)),
            15 => Self::JournalDamaged,
            16 => Self::JournalPageDamaged,
            17 => Self::JournalTruncated,
            18 => Self::JournalWalDamaged,
            19 => Self::JournalForeign,
            20 => Self::JournalTaken,
            21 => Self::JournalLocked,
            22 => Self::JournalWriteLocked,
            23 => Self::ClockBack,
            24 => Self::ClockAhead,
            25 => Self::StateIsFile,
            26 => Self::PlanBroken,
            27 => Self::PlansMissing,
            28 => Self::PlanSlow(ms),
            29 => Self::PlanStuck,
            30 => Self::PortTaken,
            31 => Self::KeyMissing,
            32 => Self::KeyEmpty,
            33 => Self::BadAddress,
            34 => Self::ProvidersDown,
            35 => Self::ProvidersSilent,
            36 => Self::NoEspeak,
            _ => Self::Stopped(ms),
        }
    }

    /// Its name and what it concerns, without how long or how much.
    #[must_use]
    pub fn kind(self) -> String {
        match self {
            Self::ModelSlow(part, _) => format!("ModelSlow({part:?})"),
            Self::PlanSlow(_) => "PlanSlow".into(),
            Self::Stopped(_) => "Stopped".into(),
            other => format!("{other:?}"),
        }
    }

    /// Whether it is one of the remote or of the embedded engines; else either may be used.
    pub(super) fn needs_embedded(self) -> Option<bool> {
        match self {
            Self::KeyMissing
            | Self::KeyEmpty
            | Self::BadAddress
            | Self::ProvidersDown
            | Self::ProvidersSilent => Some(false),
            Self::NoEspeak => Some(true),
            Self::ModelCorrupt(part)
            | Self::ModelTruncated(part)
            | Self::ModelMissing(part)
            | Self::ModelIsDirectory(part)
            | Self::ModelOther(part)
            | Self::ModelSlow(part, _)
            | Self::ModelStuck(part) => match part {
                Part::Vad | Part::Turn => None,
                Part::Stt | Part::Tts => Some(true),
            },
            _ => None,
        }
    }

    pub(super) fn expected(self) -> Expected {
        match self {
            Self::None | Self::ProvidersDown | Self::ProvidersSilent => Expected::Ready,
            // A speech engine that has to wait for its file may not be there in time: it takes half of it without.
            Self::ModelSlow(Part::Stt, _) => Expected::ReadyOrEnds("speech: still not done"),
            Self::ModelSlow(Part::Tts, _) => Expected::ReadyOrEnds("speaks: still not done"),
            Self::PreparedDamaged | Self::ModelSlow(..) | Self::PlanSlow(_) => Expected::Ready,
            Self::ModelCorrupt(part) | Self::ModelTruncated(part) | Self::ModelOther(part) => {
                part.without("sha256")
            }
            Self::ModelMissing(part) | Self::ModelIsDirectory(part) => part.without("models/fetch"),
            // That it does not come to an end is all that can be known of a read.
            Self::ModelStuck(part) => part.without("still not done"),
            Self::JournalDamaged | Self::JournalForeign => Expected::Ends("journal.sqlite3"),
            Self::JournalPageDamaged | Self::JournalTruncated => {
                Expected::DegradedOrEnds("journal", "journal.sqlite3")
            }
            Self::JournalTaken => Expected::Ends("another process"),
            Self::JournalLocked | Self::JournalWriteLocked => Expected::Ends("write lock"),
            Self::JournalWalDamaged | Self::ClockBack | Self::ClockAhead => Expected::Ready,
            Self::StateIsFile => Expected::Ends("state"),
            Self::PlanBroken => Expected::Ends("demo.toml"),
            Self::PlansMissing => Expected::Ends("plans_directory"),
            Self::PlanStuck => Expected::Ends("the plans: still not done"),
            Self::PortTaken => Expected::Ends("http.listen"),
            Self::KeyMissing | Self::KeyEmpty => Expected::Ends("stt-key"),
            Self::BadAddress => Expected::Ends("base_url"),
            Self::NoEspeak => Expected::Ends("espeak-ng"),
            Self::Stopped(_) => Expected::Stops,
        }
    }
}

impl Part {
    fn any(random: &mut fastrand::Rng) -> Self {
        match random.u8(0..4) {
            0 => Self::Vad,
            1 => Self::Turn,
            2 => Self::Stt,
            _ => Self::Tts,
        }
    }

    /// Another model's file.
    pub(super) fn other(self) -> Self {
        match self {
            Self::Vad => Self::Turn,
            Self::Turn => Self::Stt,
            Self::Stt | Self::Tts => Self::Vad,
        }
    }

    /// What its absence leads to, with `cause` in the message where that is the end.
    fn without(self, cause: &'static str) -> Expected {
        match self {
            Self::Vad => Expected::Degraded("vad"),
            Self::Turn => Expected::Degraded("turn"),
            Self::Stt | Self::Tts => Expected::Ends(cause),
        }
    }
}
