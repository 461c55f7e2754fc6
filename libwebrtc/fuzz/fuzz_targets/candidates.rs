#![no_main]

libwebrtc_fuzz::target!(candidates);
