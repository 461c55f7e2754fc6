#![no_main]

libwebrtc_fuzz::target!(sealed_frames);
