"""Makes the published crate's sources buildable over this engine, in a directory of their own.

    prepare.py CRATE ENGINE single|dual

Besides what the crate has, tests that publish a picture only to have some track get a variant with sound in its place.
"""

import pathlib
import re
import sys

WITH_SOUND = {
    "reconnection_test": [
        ("prelude::{RtcVideoSource, VideoResolution},", "prelude::{AudioSourceOptions, RtcAudioSource},"),
        ("video_source::native::NativeVideoSource,", "audio_source::native::NativeAudioSource,"),
        ("track::{LocalTrack, LocalVideoTrack},", "track::{LocalAudioTrack, LocalTrack},"),
        (
            "NativeVideoSource::new(VideoResolution { width: 16, height: 16 }, false)",
            "NativeAudioSource::new(AudioSourceOptions::default(), 48_000, 1, 100)",
        ),
        ("LocalVideoTrack::create_video_track(", "LocalAudioTrack::create_audio_track("),
        ("RtcVideoSource::Native(", "RtcAudioSource::Native("),
        ("LocalTrack::Video(", "LocalTrack::Audio("),
    ],
    "peer_connection_signaling_test": [
        ("RtcAudioSource, RtcVideoSource, VideoResolution}", "RtcAudioSource}"),
        ("use libwebrtc::video_source::native::NativeVideoSource;\n", ""),
        (
            "NativeVideoSource::new(VideoResolution { width: 640, height: 360 }, i % 2 == 1)",
            "NativeAudioSource::new(AudioSourceOptions::default(), 48_000, 1, 100)",
        ),
        ("LocalVideoTrack::create_video_track(", "LocalAudioTrack::create_audio_track("),
        ("RtcVideoSource::Native(", "RtcAudioSource::Native("),
        ("LocalTrack::Video(", "LocalTrack::Audio("),
        ("TrackSource::Camera", "TrackSource::Microphone"),
        ("TrackSource::Screenshare }", "TrackSource::ScreenshareAudio }"),
        # All twenty are of one kind now.
        ("RemoteTrack::Audio(_) => audio_count += 1,", "RemoteTrack::Audio(_) => { audio_count += 1; video_count += 1 }"),
        ("audio_count >= 10", "audio_count >= 20"),
        ("video_count >= 10", "video_count >= 20"),
    ],
}


def change(path: pathlib.Path, pattern: str, replacement: str) -> None:
    text, changes = re.subn(pattern, replacement, path.read_text())
    if not changes:
        sys.exit(f"{path.name} is not as expected: {pattern!r} is not in it")
    path.write_text(text)


def main() -> None:
    crate, engine, mode = pathlib.Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    manifest = crate / "Cargo.toml"
    # The tests' own HTTP client takes the TLS that the rest takes, so that no OpenSSL is needed.
    change(
        manifest,
        r'(\[dev-dependencies\.livekit-api\]\nversion = "[^"]+"\n)features = \["services"\]',
        r'\1default-features = false\nfeatures = ["services", "rustls-tls-native-roots"]',
    )
    # The tests take the default mode, so the default is what has to change.
    single = "true" if mode == "single" else "false"
    change(
        crate / "src/room/mod.rs",
        r"(\n            single_peer_connection: )(true|false),",
        rf"\g<1>{single},",
    )
    extra = f'\n[workspace]\n\n[patch.crates-io.libwebrtc]\npath = "{engine}"\n'
    for name, replacements in WITH_SOUND.items():
        text = (crate / f"tests/{name}.rs").read_text()
        for picture, sound in replacements:
            if picture not in text:
                sys.exit(f"{name}.rs is not as expected: {picture!r} is not in it")
            text = text.replace(picture, sound)
        (crate / f"tests/{name}_with_sound.rs").write_text(text)
        extra += f'\n[[test]]\nname = "{name}_with_sound"\npath = "tests/{name}_with_sound.rs"\n'
    with manifest.open("a") as end:
        end.write(extra)


main()
