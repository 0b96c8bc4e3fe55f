#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| serialproxy_proto::fuzz::messages(data));
