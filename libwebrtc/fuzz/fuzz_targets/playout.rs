#![no_main]

libwebrtc_fuzz::target!(playout);
