//! How long an interview waits for what. All times are in milliseconds of the session's own clock.

/// Silence after a question before a gentle word: long enough to think, short enough not to wonder whether
/// the line is dead.
pub const SILENCE_PROMPT_MS: u64 = 12_000;
/// Silence after a question before it is asked once more.
pub const SILENCE_REPEAT_MS: u64 = 30_000;
/// Silence after the repetition before the next question.
pub const SILENCE_MOVE_ON_MS: u64 = 30_000;
/// The candidate is given this long to begin an answer although the time is used up.
pub const TIME_UP_QUIET_MS: u64 = 5_000;
/// An answer may overrun the plan's time by this much; then the interview ends in the middle of it.
pub const TIME_OVERRUN_MS_MAX: u64 = 120_000;
/// A candidate who left is waited for: time to reload a page or to change a network.
pub const CANDIDATE_GONE_MS: u64 = 120_000;
/// A candidate who has not come yet is waited for.
pub const CANDIDATE_AWAITED_MS: u64 = 600_000;
/// The language model's time in all; a longer pause in a conversation is a broken line.
pub const MIND_MS_MAX: u64 = 8_000;
/// The end of a segment is waited for this long, beside the time it takes to say.
pub const SEGMENT_MS_MAX: u64 = 30_000;
/// And this long for each character: three times what a slow voice needs.
pub const SEGMENT_MS_PER_CHAR: u64 = 200;
/// Words that begin this soon after a question was decided on are not meant for it: a voice needs some of
/// this time for its first sound, and the candidate the rest to notice it.
pub const OVERLAP_MS: u64 = 1_500;
/// A question cut off before this share of its own words was not heard; later, an impatient candidate knows
/// what is being asked.
pub const QUESTION_HEARD_PERCENT: usize = 40;
/// A question is repeated this often because it was talked over; then whatever is said is the answer.
pub const OVERLAPS_MAX: u32 = 2;
/// "Could you say that again?" is asked this often running; then the interview goes on.
pub const NOT_UNDERSTOOD_MAX: u32 = 2;
/// The greeting, which says that an AI speaks, is begun this often until it was heard whole.
pub const GREETINGS_MAX: u32 = 3;
/// When a deadline has passed and a tick changed nothing, because the candidate is speaking, the next tick
/// is due after this time.
pub const TICK_AGAIN_MS: u64 = 1_000;
/// Of one turn, more characters than this are cut off; a minute of fast speech has 1200.
pub const TURN_CHARS_MAX: usize = 8_000;
/// Of an answer in several turns, the language model is given the last of so many characters.
pub const ANSWER_CHARS_MAX: usize = 12_000;
/// A language model's acknowledgement is cut after the last sentence that fits.
pub const ACKNOWLEDGEMENT_CHARS_MAX: usize = 300;
/// A language model's follow-up is cut after the last sentence that fits.
pub const FOLLOW_UP_CHARS_MAX: usize = 600;
