//! What a mistake in the settings looks like, each with the file or variable, the key, the cause and what would be right.
#![allow(clippy::expect_used, reason = "a test that cannot go on fails here")]

use viva::config::{Config, ConfigError, Environment};

/// The message for a file with this text.
fn mistake(text: &str) -> String {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("viva.toml");
    std::fs::write(&file, text).expect("a file");
    let error = Config::load(Some(&file), &Environment::of([])).expect_err("it is a mistake");
    error
        .to_string()
        .replace(&directory.path().display().to_string(), "")
}

#[test]
fn every_mistake_is_named_with_its_key() {
    let mistakes = [
        "[livekit]\nurll = \"ws://x\"",
        "[livkit]\nurl = \"ws://x\"",
        "[interviews]\ncolour = 1",
        "[livekit]\nurl = \"localhost:7880\"",
        "[interviews]\ncapacity = 0",
        "[interviews]\ncapacity = \"ten\"",
        "[interviews]\nroom_prefix = \"\"",
        "[voice]\npause_ms = 300\nturn_end_ms = 200",
        "[stt]\nengine = \"whisper\"",
        "[tts]\nbase_url = \"ftp://x\"",
        "[http]\nlisten = \"8080\"",
        "state_directory = 3",
        "[log]\nfilter = \"viva=loud\"",
        "[postgres]\nurl = \"mysql://viva@db/viva\"",
        "[postgres]\nurl = \"postgresql://viva:hunter2@db/viva\"",
        "[postgres]\nurl = \"postgresql://viva@db/viva?ssl_mode=require\"",
        "[postgres]\nurl = \"postgresql://viva@db/viva?sslmode=yes\"",
        "[postgres]\nurl = \"postgresql://viva@db\"",
        "[postgres]\nschema = \"Viva\"",
        "[postgres]\npool_size = 0",
        "[webhook]\nurl = \"platform.example.org/hook\"",
        "[llm\nmodel = 1",
    ];
    let shown: Vec<String> = mistakes
        .iter()
        .map(|text| format!("{text}\n  → {}\n", mistake(text)))
        .collect();
    insta::assert_snapshot!(shown.join("\n"));
}

#[test]
fn a_file_that_is_not_there_says_how_to_name_one() {
    let error = Config::load(Some("/nowhere/viva.toml".as_ref()), &Environment::of([]))
        .expect_err("no file");
    insta::assert_snapshot!(error.to_string());
}

#[test]
fn a_key_file_of_another_form_is_named_without_its_content() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("keys");
    std::fs::write(&file, "hunter2\n").expect("a file");
    let mut config = Config::default();
    config.livekit.key_file = Some(file);
    let error = config
        .livekit_key(&Environment::of([]))
        .expect_err("no key");
    assert!(matches!(error, ConfigError::SecretMalformed { .. }));
    assert!(!error.to_string().contains("hunter2"), "{error}");
}

#[test]
fn an_operators_key_is_a_line_that_a_header_can_carry() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("key");
    let mut config = Config::default();
    let env = Environment::of([]);
    assert_eq!(config.operator_key(&env).expect("none is set"), None);
    config.http.operator_key_file = Some(file.clone());
    for key in [
        "0123456789abcde",
        "schlüssel-schlüssel",
        "0123456789 abcdef",
        "0123456789abcdef\nx",
    ] {
        std::fs::write(&file, key).expect("a file");
        let error = config.operator_key(&env).expect_err(key);
        assert!(matches!(error, ConfigError::SecretMalformed { .. }));
        assert!(!error.to_string().contains(key), "{error}");
    }
    std::fs::write(&file, " 0123456789abcdef\n").expect("a file");
    let key = config
        .operator_key(&env)
        .expect("a key")
        .expect("it is set");
    assert_eq!(key.reveal(), "0123456789abcdef");
}

#[test]
fn what_the_system_does_not_give_may_be_there_the_next_time_and_wrong_settings_stay_wrong() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut config = Config::default();
    let env = Environment::of([]);
    config.livekit.key_file = Some(directory.path().join("not-there-yet"));
    assert!(!config.livekit_key(&env).expect_err("no key").is_lasting());
    let binary = directory.path().join("binary");
    std::fs::write(&binary, b"\xff\xfe").expect("a file");
    config.livekit.key_file = Some(binary);
    assert!(config.livekit_key(&env).expect_err("no key").is_lasting());
    config.livekit.key_file = None;
    assert!(config.livekit_key(&env).expect_err("no key").is_lasting());
    // A directory can be read as little as a disk that fails.
    let unread = Config::load(Some(directory.path()), &env).expect_err("no file");
    assert!(!unread.is_lasting(), "{unread}");
    let absent = Config::load(Some(&directory.path().join("viva.toml")), &env);
    assert!(absent.expect_err("no file").is_lasting());
}

#[test]
fn livekits_own_key_file_is_understood_and_a_credential_is_found() {
    let directory = tempfile::tempdir().expect("a directory");
    std::fs::write(
        directory.path().join("livekit-keys"),
        "# keys\nAPIabc: 'secret of the file'\n",
    )
    .expect("a file");
    let credentials = directory.path().display().to_string();
    let env = Environment::of([
        ("CREDENTIALS_DIRECTORY", &credentials),
        ("LIVEKIT_API_KEY", "other"),
        ("LIVEKIT_API_SECRET", "other"),
    ]);
    let key = Config::default().livekit_key(&env).expect("a key");
    assert_eq!(
        (key.key.as_str(), key.secret.reveal()),
        ("APIabc", "secret of the file")
    );
    assert!(!format!("{key:?}").contains("secret of"), "{key:?}");
}

#[test]
fn the_environment_lies_over_the_file() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("viva.toml");
    std::fs::write(&file, "[interviews]\ncapacity = 3\ndefault_plan = \"a\"\n").expect("a file");
    let env = Environment::of([
        ("VIVA_INTERVIEWS__CAPACITY", "7"),
        ("LIVEKIT_URL", "wss://livekit.example.org"),
    ]);
    let config = Config::load(Some(&file), &env).expect("settings");
    assert_eq!(
        (
            config.interviews.capacity,
            config.interviews.default_plan.as_str()
        ),
        (7, "a")
    );
    assert_eq!(config.livekit.url, "wss://livekit.example.org");
}

#[test]
fn a_mistake_in_the_environment_is_blamed_on_its_variable() {
    let error = Config::load(None, &Environment::of([("VIVA_STT__MODLE", "x")]))
        .expect_err("no such setting")
        .to_string();
    assert!(
        error.contains("VIVA_STT__MODLE") && error.contains("did you mean `model`"),
        "{error}"
    );
}

#[test]
fn a_list_in_the_environment_is_written_as_in_the_file() {
    let interfaces = |value| {
        let env = Environment::of([("VIVA_LIVEKIT__INTERFACES", value)]);
        Config::load(None, &env).map(|config| config.livekit.interfaces)
    };
    assert_eq!(
        interfaces(r#"["eth0", "wg*"]"#).expect("a list"),
        ["eth0", "wg*"]
    );
    assert_eq!(interfaces("[]").expect("a list"), [""; 0]);
    let shown: Vec<String> = ["eth0", "[eth0]", "[\"eth0\"]\nsecrets = 1"]
        .map(|value| interfaces(value).expect_err("no list").to_string())
        .into();
    insta::assert_snapshot!(shown.join("\n"), @r#"
    VIVA_LIVEKIT__INTERFACES: livekit.interfaces: invalid type: string "eth0", expected a list; write it in brackets, each text in quotes: ["one", "two"]
    VIVA_LIVEKIT__INTERFACES: livekit.interfaces: invalid type: string "[eth0]", expected a list; write it in brackets, each text in quotes: ["one", "two"]
    VIVA_LIVEKIT__INTERFACES: livekit.interfaces: invalid type: string "[\"eth0\"]\nsecrets = 1", expected a list; write it in brackets, each text in quotes: ["one", "two"]
    "#);
}

#[test]
fn models_are_where_the_environment_says() {
    let env = Environment::of([("VIVA_MODELS_DIR", "/srv/models")]);
    let config = Config::load(None, &env).expect("settings");
    assert_eq!(config.models.directory, std::path::Path::new("/srv/models"));
}

#[test]
fn the_example_shows_the_defaults_and_a_name_of_its_own() {
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/viva.example.toml");
    let config = Config::load(Some(example.as_ref()), &Environment::of([])).expect("settings");
    let mut expected = Config::default();
    expected.livekit.agent_name = "viva".into();
    expected.models.directory = "models/files".into();
    assert_eq!(config, expected);

    // What is commented out is right too, and nothing is left out.
    let text = std::fs::read_to_string(example).expect("the example");
    let all: String = text
        .lines()
        .map(|line| match line.strip_prefix("#: ") {
            Some(setting) => format!("{setting}\n"),
            None => format!("{line}\n"),
        })
        .collect();
    let shown: toml::Table = all.parse().expect("TOML");
    Config::load(
        Some(&{
            let file = tempfile::NamedTempFile::new().expect("a file");
            std::fs::write(file.path(), &all).expect("a file");
            file.into_temp_path()
        }),
        &Environment::of([]),
    )
    .expect("every setting of the example is one");
    let known = toml::Table::try_from(Config::default()).expect("TOML");
    for (section, value) in &known {
        let toml::Value::Table(settings) = value else {
            assert!(
                shown.contains_key(section),
                "{section} is not in the example"
            );
            continue;
        };
        for setting in settings.keys() {
            assert!(
                shown[section].get(setting).is_some(),
                "{section}.{setting} is not in the example"
            );
        }
    }
}

#[test]
fn a_value_out_of_its_range_in_the_environment_is_blamed_on_its_variable() {
    let shown: Vec<String> = [
        ("LIVEKIT_URL", "localhost:7880"),
        ("VIVA_INTERVIEWS__CAPACITY", "99"),
        ("OPENAI_BASE_URL", "stt.example.org"),
        ("VIVA_POSTGRES__SCHEMA", "Viva"),
    ]
    .into_iter()
    .map(|pair| {
        let error = Config::load(None, &Environment::of([pair])).expect_err("it is a mistake");
        error.to_string()
    })
    .collect();
    insta::assert_snapshot!(shown.join("\n"), @r"
    LIVEKIT_URL: livekit.url: must start with ws:// or wss://
    VIVA_INTERVIEWS__CAPACITY: interviews.capacity: must be between 1 and 50; a larger machine runs more instances, each with a state of its own
    OPENAI_BASE_URL: stt.base_url: must start with http:// or https://
    VIVA_POSTGRES__SCHEMA: postgres.schema: must be 1 to 63 of a-z 0-9 _, not begin with a digit and not with `pg_`
    ");
}
