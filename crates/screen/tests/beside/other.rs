//! The other terminal, in a separate process.

use std::io::BufRead;
use std::io::BufReader;
use std::io::Write;
use std::process::Child;
use std::process::ChildStdin;
use std::process::ChildStdout;
use std::process::Command;
use std::process::Stdio;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use serde_json::json;
use serialproxy_proto::console::Size;
use serialproxy_screen::Sight;
use serialproxy_screen::drawn;
use serialproxy_screen::paint;

pub(crate) struct Other {
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Other {
    pub(crate) fn start() -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/beside/other.mjs");
        let mut process = Command::new("node")
            .arg(script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("node, which scripts/setup installs");
        let (input, output) = (process.stdin.take().unwrap(), process.stdout.take().unwrap());
        Self { process, input, output: BufReader::new(output) }
    }

    pub(crate) fn ask(&mut self, request: &Value) -> Value {
        writeln!(self.input, "{request}").unwrap();
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        serde_json::from_str(&line).expect("an answer: is web/node_modules there (scripts/web)?")
    }

    /// The same for output that, after the cut, is only at the cursor of the part.
    pub(crate) fn differences_later(
        &mut self,
        before: &[u8],
        after: &[u8],
        size: Size,
    ) -> Vec<String> {
        let sight = Sight {
            output: before,
            boots: &[],
            viewer: Some(size),
            writer: None,
            begins_line: false,
        };
        let mut request = request(&sight, after, size);
        assert!(request.get("large").is_some(), "it is drawn on a larger grid");
        request["stays"] = true.into();
        self.texts(&request)
    }

    fn texts(&mut self, request: &Value) -> Vec<String> {
        let answer = self.ask(request);
        answer.as_array().unwrap().iter().map(|line| line.as_str().unwrap().to_owned()).collect()
    }

    /// The differences between a terminal of a grid that received the output and a painted one, now
    /// and after more output. If the guest draws on a larger grid, only the part around the cursor
    /// is compared, and only now.
    pub(crate) fn differences(&mut self, output: &[u8], cut: usize, size: Size) -> Vec<String> {
        let (before, after) = output.split_at(cut);
        let sight = Sight {
            output: before,
            boots: &[],
            viewer: Some(size),
            writer: None,
            begins_line: false,
        };
        self.texts(&request(&sight, after, size))
    }
}

fn request(sight: &Sight<'_>, after: &[u8], size: Size) -> Value {
    let mut request = json!({
        "rows": size.rows, "cols": size.cols,
        "before": STANDARD.encode(sight.output),
        "painted": STANDARD.encode(paint(sight).bytes),
        "after": STANDARD.encode(after),
    });
    if let Some(Size { rows, cols }) = drawn(sight) {
        request["large"] = json!({"rows": rows, "cols": cols});
    }
    request
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
