//! The terminal page is part of the program: it has to be built first.

use std::path::Path;

fn main() {
    let page = Path::new("../../web/dist/serial.html");
    println!("cargo::rerun-if-changed=../../web/dist");
    if !page.exists() {
        println!(
            "cargo::error=the terminal page is not built: run `make web` (or `npm ci && npm run \
             build` in web/) first"
        );
    }
}
