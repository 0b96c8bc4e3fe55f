#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| serialproxy_console::fuzz::frames(data));
