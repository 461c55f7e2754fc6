//! Settings in the environment.

use std::collections::BTreeMap;

/// What surrounds the process: a snapshot of the environment, so that tests need not change their own.
#[derive(Debug, Clone, Default)]
pub struct Environment(BTreeMap<String, String>);

impl Environment {
    /// The environment of this process; variables that are not UTF-8 are left out.
    pub fn of_process() -> Self {
        Self(
            std::env::vars_os()
                .filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)))
                .collect(),
        )
    }

    /// A made-up environment.
    pub fn of<const N: usize>(pairs: [(&str, &str); N]) -> Self {
        Self(
            pairs
                .into_iter()
                .map(|(k, v)| (k.to_owned(), v.to_owned()))
                .collect(),
        )
    }

    /// A variable that is set and not empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .get(name)
            .map(String::as_str)
            .filter(|v| !v.is_empty())
    }
}

/// A setting in the environment.
pub(super) struct Overlay {
    /// The variable.
    pub name: String,
    /// The dotted path of the setting.
    pub key: String,
    value: toml::Value,
}

impl Overlay {
    /// Puts it into the settings.
    pub(super) fn lay_over(&self, table: &mut toml::Table) {
        let path: Vec<_> = self.key.split('.').collect();
        set(table, &path, self.value.clone());
    }
}

/// The settings in the environment; later ones count.
pub(super) fn overlays(env: &Environment) -> Vec<Overlay> {
    let known = [
        ("LIVEKIT_URL", "livekit.url"),
        ("OPENAI_BASE_URL", "stt.base_url"),
        ("OPENAI_BASE_URL", "tts.base_url"),
        ("OPENAI_BASE_URL", "llm.base_url"),
        ("VIVA_MODELS_DIR", "models.directory"),
        ("RUST_LOG", "log.filter"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "log.otlp_endpoint"),
    ];
    let mut found: Vec<_> = known
        .into_iter()
        .filter_map(|(name, path)| {
            Some(Overlay {
                name: name.to_owned(),
                key: path.to_owned(),
                value: toml::Value::String(env.get(name)?.to_owned()),
            })
        })
        .collect();
    for (name, value) in &env.0 {
        let Some(rest) = name.strip_prefix("VIVA_") else {
            continue;
        };
        if !rest.contains("__") && rest != "STATE_DIRECTORY" {
            continue; // VIVA_ONNXRUNTIME and others that are not settings
        }
        found.push(Overlay {
            name: name.clone(),
            key: rest.to_ascii_lowercase().replace("__", "."),
            value: typed(value),
        });
    }
    found
}

/// A number, a truth value or a list (as in the file: `["eth0", "wg*"]`) where the text reads as one, else the text.
fn typed(text: &str) -> toml::Value {
    if text.starts_with('[') {
        // What is no list after all, such as an address of IPv6, is a text; where a list belongs, the reader says so.
        return text
            .parse()
            .unwrap_or_else(|_| toml::Value::String(text.to_owned()));
    }
    if let Ok(n) = text.parse::<i64>() {
        return toml::Value::Integer(n);
    }
    if let Ok(x) = text.parse::<f64>() {
        return toml::Value::Float(x);
    }
    match text {
        "true" => toml::Value::Boolean(true),
        "false" => toml::Value::Boolean(false),
        _ => toml::Value::String(text.to_owned()),
    }
}

fn set(table: &mut toml::Table, path: &[&str], value: toml::Value) {
    let Some((last, parents)) = path.split_last() else {
        return;
    };
    let mut at = table;
    for key in parents {
        let entry = at
            .entry((*key).to_owned())
            .or_insert_with(|| toml::Value::Table(toml::Table::new()));
        match entry {
            toml::Value::Table(inner) => at = inner,
            // A scalar where a section should be: replaced, and the next check blames this variable if that is wrong.
            other => {
                *other = toml::Value::Table(toml::Table::new());
                let toml::Value::Table(inner) = other else {
                    return;
                };
                at = inner;
            }
        }
    }
    at.insert((*last).to_owned(), value);
}
