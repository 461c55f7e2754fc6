//! Asks the external program `espeak-ng` for phonemes. It is GPL-licensed, so it is a process and never linked.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;

/// Phonemes are at most a few times as long as the text, which is bounded; more is not read.
const OUTPUT_BYTES_MAX: u64 = 128 * 1024;
/// For the first word, at the start. It takes some ten milliseconds, and its files may come from a cold disk.
const TRIAL_LIMIT: Duration = Duration::from_secs(5);
/// Between two looks at whether it has ended.
const TRIAL_LOOK: Duration = Duration::from_millis(1);
/// What it is tried with.
const TRIAL_WORD: &str = "yes";

/// The program, set to one voice.
#[derive(Debug)]
pub(super) struct Espeak {
    program: PathBuf,
    voice: String,
}

impl Espeak {
    pub(super) fn new(program: PathBuf, voice: &str) -> Self {
        Self {
            program,
            voice: voice.to_owned(),
        }
    }

    /// Whether it gives phonemes: a voice without them says nothing. Blocks for as long as a word takes.
    pub(super) fn try_out(&self) -> Result<(), String> {
        let mut child = self.command().spawn().map_err(|e| e.to_string())?;
        let tried = self.trial(&mut child);
        // It has ended, or is not worth waiting for.
        let _killed = child.kill();
        let _reaped = child.wait();
        tried
    }

    fn trial(&self, child: &mut std::process::Child) -> Result<(), String> {
        let (Some(mut stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err("it has no pipes".into());
        };
        // A program that reads nothing may have closed its end; what counts is how it ends.
        let _written = writeln!(stdin, "{TRIAL_WORD}");
        drop(stdin);
        let deadline = Instant::now() + TRIAL_LIMIT;
        let status = loop {
            match child.try_wait().map_err(|e| e.to_string())? {
                Some(status) => break status,
                // One that writes more than a pipe holds does not end either.
                None if Instant::now() >= deadline => {
                    return Err(format!("it did not end within {} s", TRIAL_LIMIT.as_secs()));
                }
                None => std::thread::sleep(TRIAL_LOOK),
            }
        };
        if !status.success() {
            return Err(self.failure(status));
        }
        let mut output = String::new();
        stdout
            .take(OUTPUT_BYTES_MAX)
            .read_to_string(&mut output)
            .map_err(|e| e.to_string())?;
        if output.trim().is_empty() {
            return Err(format!("it made nothing of the word \"{TRIAL_WORD}\""));
        }
        Ok(())
    }

    pub(super) fn program(&self) -> &Path {
        &self.program
    }

    fn failure(&self, status: std::process::ExitStatus) -> String {
        format!(
            "it ended with {status}; does it have the voice {}?",
            self.voice
        )
    }

    fn command(&self) -> std::process::Command {
        let mut command = std::process::Command::new(&self.program);
        // -b 1: the input is UTF-8 whatever the locale says.
        command
            .args(["--ipa", "-q", "-b", "1", "-v", &self.voice, "--stdin"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        command
    }

    /// The phonemes of each clause. Dropping the future kills the program; the caller sets the time limit.
    pub(super) async fn phonemes(&self, clauses: &[&str]) -> Result<Vec<String>, String> {
        // Each paragraph of the input gives a line, which saves a process per clause.
        let output = self.run(&clauses.join("\n\n")).await?;
        let lines: Vec<String> = output.lines().map(without_language_marks).collect();
        if lines.len() == clauses.len() {
            return Ok(lines);
        }
        // Something in a clause made a pause of its own, so that lines no longer tell clauses apart.
        let mut phonemes = Vec::with_capacity(clauses.len());
        for clause in clauses {
            let output = self.run(clause).await?;
            phonemes.push(
                output
                    .lines()
                    .map(without_language_marks)
                    .collect::<Vec<_>>()
                    .join(" "),
            );
        }
        Ok(phonemes)
    }

    async fn run(&self, text: &str) -> Result<String, String> {
        let failed =
            |what: &str, e: std::io::Error| format!("{what} {}: {e}", self.program.display());
        let mut child = Command::from(self.command())
            .kill_on_drop(true)
            .spawn()
            .map_err(|e| failed("cannot start", e))?;
        let (Some(mut stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(format!("{} has no pipes", self.program.display()));
        };
        let mut output = Vec::new();
        let write = async {
            stdin.write_all(text.as_bytes()).await?;
            stdin.write_all(b"\n").await?;
            drop(stdin);
            Ok(())
        };
        let mut bounded = stdout.take(OUTPUT_BYTES_MAX);
        tokio::try_join!(write, bounded.read_to_end(&mut output))
            .map_err(|e| failed("cannot talk to", e))?;
        // Its end closes a pipe that it may still be writing to.
        drop(bounded);
        let status = child
            .wait()
            .await
            .map_err(|e| failed("cannot wait for", e))?;
        if !status.success() {
            return Err(format!(
                "{}: {}",
                self.program.display(),
                self.failure(status)
            ));
        }
        String::from_utf8(output).map_err(|_| format!("{} wrote no UTF-8", self.program.display()))
    }
}

/// A word that it takes for foreign is put between marks such as `(fr)` and `(en-us)`, which are no phonemes.
fn without_language_marks(line: &str) -> String {
    let mut depth = 0_usize;
    let kept = line.trim().chars().filter(|c| match c {
        '(' => {
            depth += 1;
            false
        }
        ')' => {
            depth = depth.saturating_sub(1);
            false
        }
        _ => depth == 0,
    });
    kept.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn script(directory: &tempfile::TempDir, text: &str) -> Espeak {
        let path = directory.path().join("espeak");
        std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        Espeak::new(path, "en-us")
    }

    #[tokio::test]
    async fn each_clause_gets_its_own_phonemes() {
        let espeak = Espeak::new("espeak-ng".into(), "en-us");
        let phonemes = espeak
            .phonemes(&["hello there", "how are you", "1,234"])
            .await
            .unwrap();
        assert_eq!(phonemes.len(), 3);
        assert!(
            phonemes[0].starts_with("həl") && phonemes[2].starts_with("wˈʌn θˈaʊzənd"),
            "{phonemes:?}"
        );
    }

    #[tokio::test]
    async fn a_clause_that_pauses_by_itself_is_still_one() {
        let espeak = Espeak::new("espeak-ng".into(), "en-us");
        let phonemes = espeak.phonemes(&["one. two", "three"]).await.unwrap();
        assert_eq!(phonemes.len(), 2);
        assert!(
            phonemes[0].contains("wˈʌn") && phonemes[0].contains("tˈuː"),
            "{phonemes:?}"
        );
    }

    #[tokio::test]
    async fn words_are_never_options() {
        let espeak = Espeak::new("espeak-ng".into(), "en-us");
        let phonemes = espeak
            .phonemes(&["--version", "-f /etc/passwd"])
            .await
            .unwrap();
        assert!(
            phonemes[0].contains('v') && !phonemes[0].contains("1."),
            "{phonemes:?}"
        );
    }

    #[tokio::test]
    async fn a_program_that_fails_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let espeak = script(&directory, "cat > /dev/null; exit 3");
        let error = espeak.phonemes(&["hello"]).await.unwrap_err();
        assert!(error.contains("espeak") && error.contains('3'), "{error}");
    }

    #[test]
    fn at_the_start_it_is_tried_with_a_word() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(Espeak::new("espeak-ng".into(), "en-us").try_out(), Ok(()));
        for (program, named) in [("exit 3", "3"), ("exit 0", "nothing of the word")] {
            let error = script(&directory, program).try_out().unwrap_err();
            assert!(error.contains(named), "{error}");
        }
    }

    #[tokio::test]
    async fn output_without_end_is_cut_off() {
        let directory = tempfile::tempdir().unwrap();
        let espeak = script(&directory, "exec yes");
        assert!(espeak.phonemes(&["hello"]).await.is_err());
    }

    #[tokio::test]
    async fn giving_up_kills_the_program() {
        let directory = tempfile::tempdir().unwrap();
        let pid_file = directory.path().join("pid");
        let espeak = script(
            &directory,
            &format!(
                "echo $$ > {0}.new; mv {0}.new {0}; exec sleep 60",
                pid_file.display()
            ),
        );
        let pid = tokio::select! {
            result = espeak.phonemes(&["hello"]) => unreachable!("{result:?}"),
            pid = async {
                loop {
                    match std::fs::read_to_string(&pid_file) {
                        Ok(pid) => break pid,
                        Err(_) => tokio::time::sleep(std::time::Duration::from_millis(5)).await,
                    }
                }
            } => pid,
        };
        let command = format!("/proc/{}/cmdline", pid.trim());
        // A killed process may stay as a zombie with an empty command line until it is reaped.
        while std::fs::read(&command).is_ok_and(|line| !line.is_empty()) {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }

    #[test]
    fn marks_of_language_are_no_phonemes() {
        assert_eq!(
            without_language_marks(" ðə (fr)vwalˈa(en-us) "),
            "ðə vwalˈa"
        );
    }
}
