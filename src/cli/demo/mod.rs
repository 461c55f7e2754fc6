//! `viva demo`: one interview on this machine, with a simulated candidate or with you.

mod candidate;
mod livekit;
mod page;
mod screen;
mod service;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use livekit_token::{AccessToken, VideoGrants};

use candidate::{Outcome, Script};
use livekit::LiveKitServer;
use screen::Screen;
use service::Service;

use crate::boot::engines::candidate_voice;
use crate::config::Config;
use crate::interview::InterviewId;
use crate::speech::embedded::Style;
use crate::telemetry;

/// The simulated candidate's identity.
const CANDIDATE: &str = "candidate";

/// How long a link for a person is good.
const LINK_VALID: Duration = Duration::from_secs(6 * 3600);

/// Time for the service to register with LiveKit once it is ready.
const REGISTER_LIMIT: Duration = Duration::from_secs(15);

/// The candidate's voice: the interviewer's own, higher and a little faster.
const CANDIDATE_STYLE: Style = Style {
    length_scale: 0.95,
    pitch: 1.18,
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Keep everything running and print a link for a person to talk to the interviewer.
    #[arg(long)]
    stay: bool,
    /// Where npm put LiveKit's browser client, for the page that `--stay` serves.
    #[arg(long, default_value = "web/node_modules", value_name = "DIR")]
    web_modules: PathBuf,
    /// Where state, logs and the report go.
    #[arg(long, default_value = "viva-demo", value_name = "DIR")]
    directory: PathBuf,
    /// The livekit-server program.
    #[arg(long, default_value = "livekit-server", value_name = "FILE")]
    livekit_server: PathBuf,
    /// What is asked: a plan file's name without `.toml`.
    #[arg(long, default_value = "demo", value_name = "NAME")]
    plan: String,
}

/// What the simulated candidate says to the three questions of `plans/demo.toml`.
const ANSWERS: [&str; 3] = [
    "I like Rust best, because the compiler finds my mistakes before my users do.",
    "A mutex makes sure that only one thread at a time can change the same data.",
    "I once forgot to close a file in a loop, and the server stopped after one night. Since then I measure before I trust.",
];

pub(super) fn run(args: Args, config: Config) -> anyhow::Result<ExitCode> {
    telemetry::init("off")?;
    super::runtime()?.block_on(demo(args, config))
}

async fn demo(args: Args, config: Config) -> anyhow::Result<ExitCode> {
    let screen = Screen::new();
    std::fs::create_dir_all(&args.directory)
        .with_context(|| format!("cannot make {}", args.directory.display()))?;
    screen.heading("Viva holds an interview on this machine");
    let started = Instant::now();
    let livekit = LiveKitServer::start(&args.livekit_server, &args.directory).await?;
    screen.done(
        &format!("livekit-server answers at {}", livekit.url),
        started.elapsed().as_millis(),
    );
    let state = args.directory.join("state");
    let settings = [
        ("VIVA_STATE_DIRECTORY", state.display().to_string()),
        ("VIVA_HTTP__LISTEN", "127.0.0.1:0".to_owned()),
        ("VIVA_INTERVIEWS__DEFAULT_PLAN", args.plan.clone()),
    ];
    let mut service = Service::start(&livekit, &args.directory, &settings).await?;
    screen.done("viva serve is ready (exec to READY=1)", service.ready_ms);
    let waiting = Instant::now();
    service
        .wait_for(REGISTER_LIMIT, |line| line.starts_with("STATUS=registered"))
        .await
        .context("viva serve did not register with LiveKit")?;
    screen.done(
        "viva serve is registered with LiveKit",
        waiting.elapsed().as_millis(),
    );

    let id = InterviewId::new(format!(
        "demo-{}",
        SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs()
    ))?;
    let room = format!("{}{id}", config.interviews.room_prefix);
    if args.stay {
        return stay(&screen, &livekit, service, &room, &args.web_modules).await;
    }
    let loading = Instant::now();
    let voice_config = config.clone();
    let voice =
        tokio::task::spawn_blocking(move || candidate_voice(&voice_config, CANDIDATE_STYLE))
            .await?;
    let voice = Arc::new(
        voice
            .map_err(anyhow::Error::msg)
            .context("the simulated candidate has no voice")?,
    );
    screen.done(
        "the simulated candidate has a voice",
        loading.elapsed().as_millis(),
    );
    screen.gap();
    let token = token(&livekit, &room, CANDIDATE)?;
    let script = Script {
        url: livekit.url.clone(),
        token,
        answers: ANSWERS.map(str::to_owned).to_vec(),
    };
    let outcome = candidate::take_part(script, voice, &screen).await?;
    service.stop().await?;
    summarize(&screen, &outcome);
    write_report(
        &screen,
        &Config {
            state_directory: state,
            ..config
        },
        &id,
        &args.directory,
    )?;
    anyhow::ensure!(
        outcome.answers >= ANSWERS.len(),
        "the interview ended after {} of {} answers",
        outcome.answers,
        ANSWERS.len()
    );
    Ok(ExitCode::SUCCESS)
}

async fn stay(
    screen: &Screen,
    livekit: &LiveKitServer,
    service: Service,
    room: &str,
    modules: &Path,
) -> anyhow::Result<ExitCode> {
    let link = page::serve(modules, livekit, &token(livekit, room, "you")?).await?;
    screen.heading("Talk to the interviewer");
    screen.figure("open in a browser, then Ctrl-C here to end", "");
    screen.gap();
    screen.figure(&link, "");
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        pressed = tokio::signal::ctrl_c() => pressed?,
        _ = terminate.recv() => {}
    }
    service.stop().await?;
    Ok(ExitCode::SUCCESS)
}

fn token(livekit: &LiveKitServer, room: &str, identity: &str) -> anyhow::Result<String> {
    let grants = VideoGrants {
        room_join: true,
        room: room.to_owned(),
        ..VideoGrants::default()
    };
    AccessToken::with_api_key(&livekit.key, &livekit.secret)
        .with_identity(identity)
        .with_name(identity)
        .with_ttl(LINK_VALID)
        .with_grants(grants)
        .to_jwt()
        .context("cannot make a token for the room")
}

fn summarize(screen: &Screen, outcome: &Outcome) {
    screen.heading("What it took");
    screen.figure(
        "interviewer in the room after the candidate",
        &format!("{} ms", outcome.join_ms),
    );
    screen.figure(
        "first word of the greeting",
        &format!("{} ms", outcome.greeting_ms),
    );
    let mut replies = outcome.reply_ms.clone();
    replies.sort_unstable();
    if let Some(median) = replies.get(replies.len() / 2) {
        screen.figure(
            "end of an answer to the reply (median)",
            &format!("{median} ms"),
        );
    }
    let rates = &outcome.word_error_rates;
    if !rates.is_empty() {
        #[expect(clippy::cast_precision_loss, reason = "a handful of answers")]
        let mean = rates.iter().sum::<f64>() / rates.len() as f64;
        screen.figure(
            "word error rate of what was understood",
            &format!("{mean:.2}"),
        );
    }
}

fn write_report(
    screen: &Screen,
    config: &Config,
    id: &InterviewId,
    directory: &Path,
) -> anyhow::Result<()> {
    screen.heading("Report");
    for (extension, json) in [("md", false), ("json", true)] {
        let path = directory.join(format!("{id}.{extension}"));
        let text = super::report::render(config, id, json)?;
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        screen.figure(&path.display().to_string(), "");
    }
    Ok(())
}
