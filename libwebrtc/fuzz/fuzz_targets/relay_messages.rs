#![no_main]

libwebrtc_fuzz::target!(relay_messages);
