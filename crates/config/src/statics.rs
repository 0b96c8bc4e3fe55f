//! `[static] line = NAME[:PORT] ENDPOINT [SETTING=VALUE…]`.

use serialproxy_proto::endpoint::Endpoint;
use serialproxy_proto::terminal::Backspace;
use serialproxy_proto::terminal::LineFeed;
use serialproxy_proto::terminal::Newline;
use serialproxy_proto::terminal::TerminalSettings;

use crate::refusal::Refusal;
use crate::scalar::choice;
use crate::scalar::number;
use crate::values::StaticLine;

/// Most static lines: each has a permanent connection.
const MAX_LINES: usize = 10_000;

const MAX_NAME: usize = 255;

/// Adds a line.
pub(crate) fn add(lines: &mut Vec<StaticLine>, text: &str) -> Result<(), Refusal> {
    let line = parse(text)?;
    if lines.iter().any(|other| other.name == line.name && other.port == line.port) {
        return Err(format!("defines {} port {} a second time", line.name, line.port).into());
    }
    if lines.len() >= MAX_LINES {
        return Err(format!("exceeds the maximum of {MAX_LINES} lines").into());
    }
    lines.push(line);
    Ok(())
}

fn parse(text: &str) -> Result<StaticLine, Refusal> {
    let parts: Vec<_> = text.split_whitespace().collect();
    let [line, endpoint, settings @ ..] = parts.as_slice() else {
        return Err("is not a name and an endpoint".into());
    };
    let (name, port) = match line.split_once(':') {
        Some((name, port)) => (name, number(port, 0..=u8::MAX)),
        None => (*line, Ok(0)),
    };
    if !is_name(name) {
        return Err("has a name with other characters than A-Z a-z 0-9 . _ -, or too long".into());
    }
    let Ok(port) = port else {
        return Err("has a port index that is not within 0 and 255".into());
    };
    let endpoint = endpoint.parse::<Endpoint>();
    let endpoint = endpoint.map_err(|reason| format!("has an endpoint that {reason}"))?;
    let terminal = parse_settings(settings)?;
    Ok(StaticLine { name: name.to_owned(), port, endpoint, terminal })
}

fn parse_settings(settings: &[&str]) -> Result<TerminalSettings, Refusal> {
    let mut terminal = TerminalSettings::default();
    for setting in settings {
        let (name, value) = setting.split_once('=').unwrap_or((setting, ""));
        let is_known = match name {
            "backspace" => {
                let values = [("del", Backspace::Del), ("ctrl-h", Backspace::CtrlH)];
                set(&mut terminal.backspace, value, &values)
            }
            "newline" => {
                let values = [("cr", Newline::Cr), ("lf", Newline::Lf), ("crlf", Newline::Crlf)];
                set(&mut terminal.newline, value, &values)
            }
            "line_feed" => {
                let values = [("down", LineFeed::Down), ("new-line", LineFeed::NewLine)];
                set(&mut terminal.line_feed, value, &values)
            }
            _ => false,
        };
        if !is_known {
            return Err(
                "has a setting after its endpoint that is unknown, invalid or repeated".into()
            );
        }
    }
    Ok(terminal)
}

/// Sets a setting that is not set yet; false if it is set, or if the value is not allowed.
fn set<T: Copy>(setting: &mut Option<T>, value: &str, values: &[(&str, T)]) -> bool {
    match choice(value, values) {
        Ok(value) => setting.replace(value).is_none(),
        Err(_) => false,
    }
}

fn is_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=MAX_NAME).contains(&name.len()) && name.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn line(name: &str, port: u8, endpoint: Endpoint) -> Result<StaticLine, Refusal> {
        let terminal = TerminalSettings::default();
        Ok(StaticLine { name: name.into(), port, endpoint, terminal })
    }

    fn tcp(host: &str, port: u16) -> Endpoint {
        Endpoint::Tcp { host: host.into(), port }
    }

    #[test]
    fn a_line_has_a_name_a_port_and_an_endpoint() {
        assert_eq!(parse("sw-1 tcp://10.0.0.1:7001"), line("sw-1", 0, tcp("10.0.0.1", 7001)));
        assert_eq!(parse("a.b_c:255 \t tcp://[::1]:1"), line("a.b_c", 255, tcp("::1", 1)));
        assert_eq!(
            parse("a:1 unix:///run/x/y.sock"),
            line("a", 1, Endpoint::Unix("/run/x/y.sock".into()))
        );
    }

    #[test]
    fn a_wrong_line_says_what_is_wrong() {
        let name = "has a name with other characters than A-Z a-z 0-9 . _ -, or too long";
        let port = "has a port index that is not within 0 and 255";
        let (long, path) = ("n".repeat(256), "p".repeat(107));
        for (text, reason) in [
            ("", "is not a name and an endpoint"),
            ("a", "is not a name and an endpoint"),
            (
                "a tcp://b:1 c",
                "has a setting after its endpoint that is unknown, invalid or repeated",
            ),
            (":1 tcp://b:1", name),
            ("ä tcp://b:1", name),
            ("a/b tcp://b:1", name),
            (&format!("{long} tcp://b:1"), name),
            ("a: tcp://b:1", port),
            ("a:256 tcp://b:1", port),
            ("a:1:2 tcp://b:1", port),
            ("a tcp://b", "has an endpoint that has no port"),
            ("a tcp://b:0", "has an endpoint that has a port that is not within 1 and 65535"),
            ("a tcp://b:1/", "has an endpoint that has a port that is not within 1 and 65535"),
            ("a tcp://b c:1", "has an endpoint that has no port"),
            ("a tcp://b<c:1", "has an endpoint that is neither an IP address nor a host name"),
            ("a unix://run/x", "has an endpoint that has no absolute path: write unix:///path"),
            (
                &format!("a unix:///{path}"),
                "has an endpoint that has a path of more than 107 bytes",
            ),
            ("a telnet://b:1", "has an endpoint that is of an unknown kind"),
            ("a /run/x", "has an endpoint that is of an unknown kind"),
        ] {
            assert_eq!(parse(text), Err(reason.into()), "{text}");
        }
    }

    #[test]
    fn a_line_says_what_it_wants_of_terminals() {
        let terminal = |text: &str| parse(&format!("a tcp://b:1 {text}")).map(|line| line.terminal);
        let (backspace, newline) = (Some(Backspace::CtrlH), Some(Newline::Crlf));
        let line_feed = Some(LineFeed::NewLine);
        let all = TerminalSettings { backspace, newline, line_feed };
        assert_eq!(terminal("line_feed=new-line  backspace=ctrl-h newline=crlf"), Ok(all));
        let (backspace, newline) = (Some(Backspace::Del), Some(Newline::Lf));
        let usual = TerminalSettings { backspace, newline, line_feed: Some(LineFeed::Down) };
        assert_eq!(terminal("backspace=del newline=lf line_feed=down"), Ok(usual));
        let reason = "has a setting after its endpoint that is unknown, invalid or repeated";
        for text in ["newline=cr newline=cr", "newline=x", "newline", "newline=", "escape=~", "="] {
            assert_eq!(terminal(text), Err(reason.into()), "{text}");
        }
    }

    #[test]
    fn a_tls_endpoint_is_a_host_and_a_port() {
        let endpoint = Endpoint::Tls { host: "b".into(), port: 1 };
        assert_eq!(parse("a tls://b:1"), line("a", 0, endpoint));
        assert_eq!(parse("a tls://b"), Err("has an endpoint that has no port".into()));
    }

    #[test]
    fn the_same_line_twice_is_refused_and_another_port_is_not() {
        let mut lines = Vec::new();
        add(&mut lines, "a:0 tcp://b:1").unwrap();
        add(&mut lines, "a:1 tcp://b:2").unwrap();
        assert_eq!(add(&mut lines, "a unix:///x"), Err("defines a port 0 a second time".into()));
        assert_eq!(lines.len(), 2);
    }

    #[test]
    fn there_are_not_endlessly_many() {
        let mut lines = Vec::new();
        for index in 0..MAX_LINES {
            add(&mut lines, &format!("a{index} tcp://b:1")).unwrap();
        }
        assert_eq!(
            add(&mut lines, "b tcp://b:1"),
            Err("exceeds the maximum of 10000 lines".into())
        );
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[a:0-9 /tcpunix\\[\\]]{0,40}|.{0,60}") {
            let _ = parse(&text);
        }

        #[test]
        fn what_is_written_is_read_back(
            name in "[A-Za-z0-9._-]{1,255}", port: u8, host in "h[a-z0-9.]{0,20}h", tcp_port in 1..=u16::MAX
        ) {
            prop_assume!(!host.contains(".."));
            let text = format!("{name}:{port} tcp://{host}:{tcp_port}");
            prop_assert_eq!(parse(&text), line(&name, port, tcp(&host, tcp_port)));
        }
    }
}
