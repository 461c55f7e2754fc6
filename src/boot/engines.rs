//! Chooses and loads what hears, understands, speaks and thinks.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::{StageError, Timeline};
use crate::config::{Config, ConfigError, Engine, Environment, Secret};
use crate::health::{Condition, Health, Need};
use crate::llm::Llm;
use crate::models::{self, Manifest, ManifestError, Pinned, Purpose};
use crate::onnx::{OnnxError, PendingRuntime, Preparation, PrepareError, Runtime, RuntimePromise};
use crate::provider::{Provider, SetupError};
use crate::speech::chain::{SttChain, TtsChain};
use crate::speech::embedded::{
    EmbeddedError, Moonshine, MoonshineFiles, Piper, PiperFiles, Style, prepare_voice,
};
use crate::speech::openai::{OpenAiStt, OpenAiTts};
use crate::speech::standby::Standby;
use crate::speech::{Stt, Tts};
use crate::voice::turn_model::{JUDGE_LIMIT, TurnModel, prepare_model};
use crate::voice::vad::{VadEngine, VadError};

/// A model that is not there by then will not be; the fallbacks are taken. It takes half a second, and many times that
/// on a machine that is busy with something else. ONNX Runtime has the same limit, and the models wait for it within
/// theirs.
const MODEL_LIMIT: Duration = Duration::from_secs(30);

/// What an engine of this machine is given at least, whatever a provider's time-out: with four rooms on two cores a
/// sentence may wait for three others.
const LAST_RESORT_LIMIT: Duration = Duration::from_secs(15);

/// Where `libonnxruntime.so` lies in the package that this binary belongs to, where it belongs to one.
const PACKAGED_RUNTIME: Option<&str> = option_env!("VIVA_PACKAGED_ONNXRUNTIME");

/// What understands, speaks and thinks.
pub struct Engines {
    /// Speech to text, with its fallbacks.
    pub stt: Arc<SttChain>,
    /// Text to speech, with its fallbacks.
    pub tts: Arc<TtsChain>,
    /// The language model, where one is configured.
    pub llm: Option<Arc<Llm>>,
    /// Tells the end of a turn; without it silence alone does.
    pub turn: Option<Arc<TurnModel>>,
    /// Servers off this machine, by what they are for.
    pub providers: Vec<(&'static str, Provider)>,
    /// Embedded engines that are fallbacks and still to be loaded.
    pub standby: StandbyEngines,
}

/// Fallbacks to be loaded once the service is ready.
pub struct StandbyEngines {
    embedded: Embedded,
    stt: Option<Standby<dyn Stt>>,
    tts: Option<Standby<dyn Tts>>,
}

/// Why there is nothing that understands or speaks.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// A secret's file.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A provider's address or key.
    #[error("{section}.base_url: {source}")]
    Provider {
        /// The settings' section.
        section: &'static str,
        /// Why.
        source: SetupError,
    },
    /// No remote engine is configured and the embedded one does not load.
    #[error(
        "nothing here {does}: {cause}\n  either fetch the embedded models (`make setup` or models/fetch), or set {section}.base_url and its key"
    )]
    None {
        /// "understands speech" or "speaks".
        does: &'static str,
        /// The settings' section.
        section: &'static str,
        /// Why the embedded engine does not load.
        cause: String,
    },
}

/// The first engine of a chain, and where it is asked when that is off this machine.
struct Chosen<E: ?Sized> {
    engine: Arc<E>,
    provider: Option<Provider>,
}

/// One chain's engines in their order, and the place for one that is still to be loaded.
type Chain<E> = (Vec<Arc<E>>, Option<Standby<E>>);

/// Loads the VAD and the primary engines side by side, and reads what they are made of while ONNX Runtime is loaded; of
/// remote engines nothing is asked yet.
pub(super) async fn load(
    config: &Config,
    env: &Environment,
    timeline: &Timeline,
    health: &Health,
) -> Result<(VadEngine, Engines), EngineError> {
    let (promise, runtime) = PendingRuntime::new();
    let embedded = Embedded {
        config: config.clone(),
        runtime,
    };
    let ((), vad, turn, stt, tts, llm) = tokio::join!(
        load_runtime(config, timeline, promise),
        load_vad(&embedded, timeline, health),
        load_turn(&embedded, timeline, health),
        choose_stt(&embedded, env, timeline),
        choose_tts(&embedded, env, timeline),
        choose_llm(config, env, timeline),
    );
    note_failure(health, "stt", stt.as_ref().err());
    note_failure(health, "tts", tts.as_ref().err());
    let (stt, tts, llm) = (stt?, tts?, llm?);
    let is_remote = stt.provider.is_some() || tts.provider.is_some();
    let has_fallback = is_remote && embedded.has_speech();
    let (stts, stt_standby): Chain<dyn Stt> =
        chain(&stt, has_fallback, |standby| Arc::new(standby));
    let (ttss, tts_standby): Chain<dyn Tts> =
        chain(&tts, has_fallback, |standby| Arc::new(standby));
    health.set(
        "stt",
        Need::Required,
        Condition::Ok,
        names(stts.iter().map(|e| e.name())),
    );
    health.set(
        "tts",
        Need::Required,
        Condition::Ok,
        names(ttss.iter().map(|e| e.name())),
    );
    let mind = llm.as_ref().map_or_else(
        || "none: the plan's own questions".to_owned(),
        |l| l.provider().base_url().to_owned(),
    );
    health.set("llm", Need::Optional, Condition::Ok, mind);
    let llm_provider = llm.as_ref().map(|l| l.provider().clone());
    let providers = [
        ("stt", stt.provider),
        ("tts", tts.provider),
        ("llm", llm_provider),
    ];
    let engines = Engines {
        stt: Arc::new(SttChain::new(stts)),
        tts: Arc::new(TtsChain::new(ttss)),
        llm: llm.map(Arc::new),
        turn: turn.map(Arc::new),
        providers: providers
            .into_iter()
            .filter_map(|(what, provider)| Some((what, provider?)))
            .collect(),
        standby: StandbyEngines {
            embedded,
            stt: stt_standby,
            tts: tts_standby,
        },
    };
    Ok((vad?, engines))
}

/// The first engine, and behind one off this machine the place of one on it, where that can be had.
fn chain<E: ?Sized>(
    chosen: &Chosen<E>,
    has_fallback: bool,
    as_engine: impl Fn(Standby<E>) -> Arc<E>,
) -> Chain<E> {
    let standby = (has_fallback && chosen.provider.is_some()).then(Standby::<E>::default);
    let fallback = standby.clone().map(as_engine);
    let engines = [chosen.engine.clone()]
        .into_iter()
        .chain(fallback)
        .collect();
    (engines, standby)
}

/// Remote where a key or a server is configured, else embedded.
fn is_remote(engine: Engine, base_url: Option<&String>, key: Option<&Secret>) -> bool {
    match engine {
        Engine::Auto => base_url.is_some() || key.is_some(),
        Engine::Openai => true,
        Engine::Embedded => false,
    }
}

fn names<'a>(engines: impl Iterator<Item = &'a str>) -> String {
    engines.collect::<Vec<_>>().join(", then ")
}

/// The ONNX Runtime library that is going to be loaded: the configured one, the package's, or the fetched one.
pub fn runtime_path(config: &Config) -> PathBuf {
    let packaged = PACKAGED_RUNTIME.map(PathBuf::from);
    let fetched = || config.models.directory.join(models::ONNX_RUNTIME);
    config
        .models
        .onnxruntime
        .clone()
        .or(packaged)
        .unwrap_or_else(fetched)
}

async fn load_runtime(config: &Config, timeline: &Timeline, promise: RuntimePromise) {
    let path = runtime_path(config);
    let loaded = timeline
        .blocking("onnxruntime", MODEL_LIMIT, move || Runtime::load(&path))
        .await;
    promise.keep(loaded.map_err(|e| match e {
        StageError::Failed(e) => e.to_string(),
        late => format!("ONNX Runtime: {late}"),
    }));
}

async fn load_vad(
    embedded: &Embedded,
    timeline: &Timeline,
    health: &Health,
) -> Result<VadEngine, EngineError> {
    let loading = embedded.clone();
    let loaded = timeline
        .blocking("vad", MODEL_LIMIT, move || loading.vad())
        .await;
    match loaded {
        Ok(vad) => {
            health.set("vad", Need::Required, Condition::Ok, "Silero");
            Ok(vad)
        }
        Err(error) => {
            // The ladder: turns become slower to end, interviews can be held.
            health.set(
                "vad",
                Need::Required,
                Condition::Degraded(error.to_string()),
                "energy",
            );
            VadEngine::energy_only().map_err(|e| EngineError::None {
                does: "hears",
                section: "models",
                cause: e.to_string(),
            })
        }
    }
}

async fn load_turn(embedded: &Embedded, timeline: &Timeline, health: &Health) -> Option<TurnModel> {
    let loading = embedded.clone();
    let loaded = timeline
        .blocking("turn", MODEL_LIMIT, move || loading.turn())
        .await;
    match loaded {
        Ok(turn) => {
            health.set("turn", Need::Optional, Condition::Ok, "Smart Turn");
            Some(turn)
        }
        Err(error) => {
            // The ladder: turns end by silence alone, and a little later.
            let condition = Condition::Degraded(error.to_string());
            health.set("turn", Need::Optional, condition, "silence only");
            None
        }
    }
}

fn note_failure(health: &Health, name: &'static str, error: Option<&EngineError>) {
    if let Some(error) = error {
        let condition = Condition::Failed(error.to_string());
        health.set(name, Need::Required, condition, "");
    }
}

async fn choose_stt(
    embedded: &Embedded,
    env: &Environment,
    timeline: &Timeline,
) -> Result<Chosen<dyn Stt>, EngineError> {
    let settings = embedded.config.stt.clone();
    let key = embedded.config.stt_key(env)?;
    if is_remote(settings.engine, settings.base_url.as_ref(), key.as_ref()) {
        let prepared = timeline
            .blocking("stt", MODEL_LIMIT, move || {
                OpenAiStt::new(&settings, key.as_ref())
            })
            .await;
        let engine = prepared.map_err(|e| setup_error("stt", e))?;
        return Ok(Chosen {
            provider: Some(engine.provider().clone()),
            engine: Arc::new(engine),
        });
    }
    let loading = embedded.clone();
    let loaded = timeline
        .blocking("stt", MODEL_LIMIT, move || loading.stt())
        .await;
    let engine = loaded.map_err(|e| EngineError::None {
        does: "understands speech",
        section: "stt",
        cause: e.to_string(),
    })?;
    Ok(Chosen {
        engine: Arc::new(engine),
        provider: None,
    })
}

async fn choose_tts(
    embedded: &Embedded,
    env: &Environment,
    timeline: &Timeline,
) -> Result<Chosen<dyn Tts>, EngineError> {
    let settings = embedded.config.tts.clone();
    let key = embedded.config.tts_key(env)?;
    if is_remote(settings.engine, settings.base_url.as_ref(), key.as_ref()) {
        let prepared = timeline
            .blocking("tts", MODEL_LIMIT, move || {
                OpenAiTts::new(&settings, key.as_ref())
            })
            .await;
        let engine = prepared.map_err(|e| setup_error("tts", e))?;
        return Ok(Chosen {
            provider: Some(engine.provider().clone()),
            engine: Arc::new(engine),
        });
    }
    let loading = embedded.clone();
    let loaded = timeline
        .blocking("tts", MODEL_LIMIT, move || loading.tts(Style::default()))
        .await;
    let engine = loaded.map_err(|e| EngineError::None {
        does: "speaks",
        section: "tts",
        cause: e.to_string(),
    })?;
    Ok(Chosen {
        engine: Arc::new(engine),
        provider: None,
    })
}

async fn choose_llm(
    config: &Config,
    env: &Environment,
    timeline: &Timeline,
) -> Result<Option<Llm>, EngineError> {
    let key = config.llm_key(env)?;
    if config.llm.base_url.is_none() && key.is_none() {
        return Ok(None);
    }
    let settings = config.llm.clone();
    let prepared = timeline
        .blocking("llm", MODEL_LIMIT, move || {
            Llm::new(&settings, key.as_ref())
        })
        .await;
    prepared.map(Some).map_err(|e| setup_error("llm", e))
}

fn setup_error(section: &'static str, error: StageError<SetupError>) -> EngineError {
    match error {
        StageError::Failed(source) => EngineError::Provider { section, source },
        late => EngineError::None {
            does: "could be prepared in time",
            section,
            cause: late.to_string(),
        },
    }
}

/// Loads models of this machine; cheap to clone.
#[derive(Clone)]
pub struct Embedded {
    config: Config,
    runtime: PendingRuntime,
}

/// Why a model of this machine does not load.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// There is no ONNX Runtime.
    #[error(transparent)]
    Runtime(#[from] OnnxError),
    /// The manifest lacks it.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// It is the VAD's.
    #[error(transparent)]
    Vad(#[from] VadError),
    /// It is the turn model or a speech engine's.
    #[error(transparent)]
    Speech(#[from] EmbeddedError),
}

impl Embedded {
    /// Whether the speech models are there, and a runtime for them, whose loading must be over; their content is checked
    /// when they are loaded.
    fn has_speech(&self) -> bool {
        self.runtime.is_loaded()
            && Manifest::builtin().is_fetched(&self.config.models.directory, &[Purpose::Speech])
    }

    fn vad(&self) -> Result<VadEngine, LoadError> {
        let mut model = Pinned::of_manifest(&self.config.models.directory, models::VAD)?;
        if let Some(path) = &self.config.models.vad {
            model.path.clone_from(path);
        }
        Ok(VadEngine::start(self.runtime.clone(), &model)?)
    }

    fn turn(&self) -> Result<TurnModel, LoadError> {
        let model = Pinned::of_manifest(&self.config.models.directory, models::TURN)?;
        Ok(TurnModel::load(self.runtime.clone(), &model, JUDGE_LIMIT)?)
    }

    fn stt(&self) -> Result<Moonshine, LoadError> {
        let files = MoonshineFiles::in_directory(&self.config.models.directory)?;
        Ok(Moonshine::load(
            self.runtime.clone(),
            &files,
            last_resort(self.config.stt.timeout_ms),
        )?)
    }

    fn tts(&self, style: Style) -> Result<Piper, LoadError> {
        let files = PiperFiles::in_directory(&self.config.models.directory)?;
        Ok(Piper::load(
            self.runtime.clone(),
            &files,
            &self.config.tts.espeak,
            style,
            last_resort(self.config.tts.timeout_ms),
        )?)
    }
}

/// The engines of this machine are the last of their chain: words or a voice that come late on a busy machine are better
/// than none.
fn last_resort(timeout_ms: u32) -> Duration {
    Duration::from_millis(timeout_ms.into()).max(LAST_RESORT_LIMIT)
}

/// A voice of this machine in another style, for the simulated candidate.
///
/// # Errors
/// The runtime, the models or `espeak-ng` are not there; the message says which.
pub fn candidate_voice(config: &Config, style: Style) -> Result<Piper, String> {
    let runtime = Runtime::load(&runtime_path(config)).map_err(|e| e.to_string())?;
    Embedded {
        config: config.clone(),
        runtime: runtime.into(),
    }
    .tts(style)
    .map_err(|e| e.to_string())
}

/// What became of one model that is prepared for a quick start.
pub struct Prepared {
    /// The pinned file.
    pub path: PathBuf,
    /// How it went.
    pub result: Result<Preparation, PrepareError>,
}

/// Makes what [`crate::onnx::prepare`] makes of every fetched model that gains by it. Those of Moonshine come prepared,
/// and the VAD loads in an instant.
///
/// # Errors
/// There is no runtime, or the manifest lacks a model.
pub fn prepare(config: &Config) -> Result<Vec<Prepared>, LoadError> {
    let path = runtime_path(config);
    let runtime = Runtime::load(&path)?;
    let embedded = Embedded {
        config: config.clone(),
        runtime: runtime.clone().into(),
    };
    let turn = Pinned::of_manifest(&config.models.directory, models::TURN)?;
    let mut prepared = vec![Prepared {
        result: prepare_model(&runtime, &turn),
        path: turn.path,
    }];
    if embedded.has_speech() {
        let files = PiperFiles::in_directory(&config.models.directory)?;
        prepared.push(Prepared {
            result: prepare_voice(&runtime, &files),
            path: files.voice.path,
        });
    }
    Ok(prepared)
}

impl StandbyEngines {
    /// Loads the fallbacks; one that does not load leaves the primary without it, which is said.
    pub async fn load(self, timeline: Timeline, health: Health) {
        let Self { embedded, stt, tts } = self;
        if let Some(place) = stt {
            let loading = embedded.clone();
            match timeline
                .blocking("stt fallback", MODEL_LIMIT, move || loading.stt())
                .await
            {
                Ok(engine) => place.arrived(Arc::new(engine)),
                Err(error) => health.set(
                    "stt",
                    Need::Required,
                    Condition::Degraded(format!("no fallback: {error}")),
                    "openai",
                ),
            }
        }
        if let Some(place) = tts {
            match timeline
                .blocking("tts fallback", MODEL_LIMIT, move || {
                    embedded.tts(Style::default())
                })
                .await
            {
                Ok(engine) => place.arrived(Arc::new(engine)),
                Err(error) => health.set(
                    "tts",
                    Need::Required,
                    Condition::Degraded(format!("no fallback: {error}")),
                    "openai",
                ),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_or_a_server_makes_an_engine_remote_unless_the_settings_say_otherwise() {
        let (url, key) = ("http://localhost/v1".to_owned(), Secret::new("k"));
        assert!(!is_remote(Engine::Auto, None, None));
        assert!(is_remote(Engine::Auto, Some(&url), None));
        assert!(is_remote(Engine::Auto, None, Some(&key)));
        assert!(!is_remote(Engine::Embedded, Some(&url), Some(&key)));
        assert!(is_remote(Engine::Openai, None, None));
    }
}
