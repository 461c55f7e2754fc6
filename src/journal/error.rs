//! What can go wrong with the journal, in words for whoever has to put it right.

use std::path::PathBuf;

use crate::interview::InterviewId;

/// What can go wrong with the journal. It can be cloned, because one failed disk fails many writers.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JournalError {
    /// The state directory or a file in it can't be made or written.
    #[error(
        "cannot write {path}: {cause}; the state directory has to belong to the user that runs Viva"
    )]
    Unwritable {
        /// The directory or file.
        path: PathBuf,
        /// The system's reason.
        cause: String,
    },
    /// Another process writes this journal.
    #[error(
        "another process writes the journal in {directory} (process {holder}); stop it, or give this one a state directory of its own"
    )]
    InUse {
        /// The state directory.
        directory: PathBuf,
        /// Its process id, or `unknown`.
        holder: String,
    },
    /// There is no journal to read.
    #[error("there is no journal at {path}; `viva serve` makes it, name its state directory")]
    Missing {
        /// Where it would be.
        path: PathBuf,
    },
    /// SQLite can't open or prepare the file.
    #[error("cannot open the journal {path}: {cause}")]
    Open {
        /// The file.
        path: PathBuf,
        /// SQLite's reason.
        cause: String,
    },
    /// A SQLite file of another program.
    #[error(
        "{path} is a database, but not one of Viva's; move it away or name another state directory"
    )]
    NotAJournal {
        /// The file.
        path: PathBuf,
    },
    /// The file is damaged.
    #[error(
        "the journal {path} is damaged: {cause}; keep a copy of it and restore it from its replica"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// SQLite's reason.
        cause: String,
    },
    /// A later release has written the file.
    #[error(
        "the journal {path} has schema {found}, and this release, which knows up to {known}, can't read it; use the release that wrote it or a later one; {way_back}"
    )]
    TooNew {
        /// The file.
        path: PathBuf,
        /// The file's schema.
        found: i64,
        /// The latest schema of this release.
        known: i64,
        /// Which copy an operator can go back to.
        way_back: String,
    },
    /// The file is not migrated, because no copy of it could be kept.
    #[error(
        "no copy of the journal could be kept at {path} before its migration ({cause}), and without one it is not migrated; make room for it"
    )]
    NoCopy {
        /// Where the copy would be.
        path: PathBuf,
        /// Why not.
        cause: String,
    },
    /// A migration was applied in another form than this release has it.
    #[error(
        "the journal {path} was made by another version of the migration {name}; use the release that wrote it"
    )]
    MigrationDiffers {
        /// The file.
        path: PathBuf,
        /// The migration.
        name: String,
    },
    /// There is an interview of this name already.
    #[error("the interview {id} was begun before; give the new one another id")]
    AlreadyBegun {
        /// Its name.
        id: InterviewId,
    },
    /// There is no interview of this name.
    #[error("the journal has no interview {id}")]
    UnknownInterview {
        /// The name.
        id: InterviewId,
    },
    /// There is no plan of this hash.
    #[error("the journal has no plan {hash}")]
    UnknownPlan {
        /// The hash.
        hash: String,
    },
    /// The interview has its last event already.
    #[error("the interview {id} is over; nothing can be added to it")]
    AlreadyEnded {
        /// Its name.
        id: InterviewId,
    },
    /// The interview is not taken up again by itself.
    #[error("the interview {id} is set aside: {cause}; `viva journal adopt {id}` readmits it")]
    SetAside {
        /// Its name.
        id: InterviewId,
        /// Why.
        cause: String,
    },
    /// The interview was deleted, and does not come back.
    #[error("the interview {id} was deleted; nothing is kept under its name again, use another id")]
    Deleted {
        /// Its name.
        id: InterviewId,
    },
    /// What comes from elsewhere and what is here can't both be true.
    #[error(
        "the interview {id} that comes from elsewhere is not the one of this journal: {what}; nothing of it is taken in"
    )]
    Conflict {
        /// Its name.
        id: InterviewId,
        /// Where they differ.
        what: String,
    },
    /// An acknowledgement of an event that the journal does not have.
    #[error(
        "the interview {id} has no event {seq} of term {term} to acknowledge; the file may be older than its replica"
    )]
    NeverWritten {
        /// The interview.
        id: InterviewId,
        /// The term.
        term: u64,
        /// The event's number.
        seq: u64,
    },
    /// An event that was written before, or one that has a gap before it.
    #[error(
        "the next event of the interview {id} has the number {expected}, not {found}; its state has to be replayed from the journal"
    )]
    OutOfOrder {
        /// The interview.
        id: InterviewId,
        /// The number after the last.
        expected: u64,
        /// The number that came.
        found: u64,
    },
    /// A plan's text that does not have its hash.
    #[error(
        "the plan {name} has the hash {actual}, not {given}; it was changed on its way to the journal"
    )]
    PlanDiffers {
        /// The plan's name.
        name: String,
        /// The hash that came with it.
        given: String,
        /// The hash that it has.
        actual: String,
    },
    /// A rule of the schema refused a write.
    #[error("the journal refused a write: {cause}")]
    Refused {
        /// SQLite's reason.
        cause: String,
    },
    /// An event that this release can't write or read.
    #[error("the event {seq} of the interview {id} can't be used: {cause}")]
    Unreadable {
        /// The interview.
        id: InterviewId,
        /// The event's number.
        seq: u64,
        /// Why.
        cause: String,
    },
    /// The stored events are not the ones that were written.
    #[error(
        "the journal of the interview {id} is broken at event {seq} of term {term}: {cause}; restore the file from its replica"
    )]
    ChainBroken {
        /// The interview.
        id: InterviewId,
        /// The term of the first event that does not fit.
        term: u64,
        /// Its number.
        seq: u64,
        /// In which way it does not fit.
        cause: String,
    },
    /// More writes wait than the queue holds.
    #[error("{queued} writes wait for the journal's disk; it does not keep up or stands still")]
    QueueFull {
        /// How many wait.
        queued: usize,
    },
    /// Another process held SQLite's write lock for too long; later writes may succeed.
    #[error(
        "another program holds the journal's write lock ({cause}); only Viva and Litestream may open it for writing"
    )]
    Locked {
        /// SQLite's reason.
        cause: String,
    },
    /// The disk is full; what is running can still be ended.
    #[error(
        "the disk of the journal is full, so no interview begins; make room and it goes on by itself"
    )]
    Full,
    /// A write failed, and with it the journal: after a failed `fsync` nobody knows what is on the disk.
    #[error(
        "the journal can't be written any more: {cause}; put the disk right and start Viva again"
    )]
    Failed {
        /// The first failure.
        cause: String,
    },
    /// The journal was closed.
    #[error("the journal is closed")]
    Closed,
    /// A query failed.
    #[error("cannot read the journal {path}: {cause}")]
    Read {
        /// The file.
        path: PathBuf,
        /// SQLite's reason.
        cause: String,
    },
}
