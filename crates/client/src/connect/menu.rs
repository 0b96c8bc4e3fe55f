//! The text of the menu of `~?`: what a person can do now, each with its letter.

use serialproxy_proto::console::Action;

use crate::connect::escape::Escapes;
use crate::connect::typing::Typing;

/// What the choices depend on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Situation<'a> {
    pub(crate) server: &'a str,
    pub(crate) port: u8,
    pub(crate) watching: bool,
    pub(crate) typing: &'a Typing,
    /// Who asks to type.
    pub(crate) asks: Option<&'a str>,
    pub(crate) can: &'a [Action],
}

/// The lines of the menu.
pub(crate) fn lines(now: Situation<'_>, escapes: &Escapes) -> Vec<String> {
    let Situation { server, port, .. } = now;
    let what = "Press a letter; another key closes this menu:";
    let head = format!("serialproxy: {server}, port {port}. {what}");
    let choices = choices(now).into_iter().map(|(letter, what)| format!("  {letter}  {what}"));
    let end = escapes.hint("At the start of a line, ~ and a letter do the same. ~~ sends ~.");
    std::iter::once(head).chain(choices).chain([end]).collect()
}

fn choices(now: Situation<'_>) -> Vec<(char, String)> {
    let Situation { watching, typing, asks, can, .. } = now;
    let may = |action| can.contains(&action);
    let typist = typing.user().unwrap_or("the person who is typing");
    let mut choices = Vec::new();
    let mut offer = |letter, what: &str| choices.push((letter, what.to_owned()));
    if watching && may(Action::Write) {
        match typing {
            _ if typing.is_own() => offer('p', "use this console here"),
            Typing::Somebody(_) => offer('p', &format!("ask {typist} to let you type")),
            Typing::Unknown | Typing::Nobody => offer('p', "type"),
        }
    }
    if watching && may(Action::Force) && typing.user().is_some() && !typing.is_own() {
        offer('f', &format!("take over from {typist}; asks first"));
    }
    if !watching {
        if let Some(by) = asks {
            offer('g', &format!("let {by} type"));
            offer('d', &format!("refuse {by}"));
        }
        offer('p', "stop typing, and let others");
        offer('r', "type a stty command that tells the guest the size of this terminal");
        offer('B', "send a break");
    }
    if !watching && may(Action::Power) {
        offer('S', "send a magic SysRq: its letter or digit follows");
    }
    offer('w', "list who is attached");
    offer('s', "show who types, the latency, the boot and the address of this console");
    offer('.', "leave this console");
    choices
}

#[cfg(test)]
mod tests {
    use serialproxy_proto::console::PenState;
    use serialproxy_proto::console::ServerMessage;

    use super::*;
    use crate::connect::escape::Escape;
    use crate::connect::escape::Typed;
    use crate::settings::EscapeKey;

    fn held(own: bool) -> Typing {
        let mut typing = Typing::default();
        typing.follow(&ServerMessage::Pen {
            state: PenState::Held,
            session: None,
            holder: Some("bob".into()),
            since: None,
            by: None,
            reason: None,
            cause: None,
            seconds: None,
            free_in: None,
            seen_ago: None,
            own,
            can: vec![],
        });
        typing
    }

    fn situation<'a>(watching: bool, typing: &'a Typing, can: &'a [Action]) -> Situation<'a> {
        Situation { server: "demo", port: 1, watching, typing, asks: None, can }
    }

    fn letters(now: Situation<'_>) -> String {
        choices(now).into_iter().map(|(letter, _)| letter).collect()
    }

    const ALL: [Action; 3] = [Action::Write, Action::Force, Action::Power];

    #[test]
    fn what_can_be_done_now_is_offered_and_nothing_else() {
        let (bob, own) = (held(false), held(true));
        assert_eq!(letters(situation(true, &bob, &ALL)), "pfws.");
        assert_eq!(letters(situation(true, &bob, &[Action::Write])), "pws.");
        assert_eq!(letters(situation(true, &own, &ALL)), "pws.");
        assert_eq!(letters(situation(true, &Typing::Nobody, &ALL)), "pws.");
        assert_eq!(letters(situation(true, &bob, &[])), "ws.");
        assert_eq!(letters(situation(false, &bob, &ALL)), "prBSws.");
        assert_eq!(letters(situation(false, &bob, &[Action::Write])), "prBws.");
        let asked = Situation { asks: Some("carol"), ..situation(false, &bob, &[Action::Write]) };
        assert_eq!(letters(asked), "gdprBws.");
    }

    #[test]
    fn the_choices_name_who_types_and_who_asks() {
        let escapes = Escapes::new(EscapeKey::Byte(0x1d));
        let bob = held(false);
        let text = lines(situation(true, &bob, &ALL), &escapes).join("\n");
        let head = "serialproxy: demo, port 1. Press a letter; another key closes this menu:\n";
        assert!(text.starts_with(head), "{text}");
        assert!(text.contains("  p  ask bob to let you type\n  f  take over from bob"), "{text}");
        assert!(
            text.ends_with("At the start of a line, ^] and a letter do the same. ^]^] sends ^]."),
            "{text}"
        );
        let asked = Situation { asks: Some("carol"), ..situation(false, &bob, &ALL) };
        assert!(lines(asked, &escapes).contains(&"  d  refuse carol".to_owned()));
        for line in lines(asked, &escapes) {
            assert!(line.len() < 80, "{line}");
        }
    }

    #[test]
    fn each_letter_is_a_command() {
        let bob = held(false);
        let asked = Situation { asks: Some("carol"), ..situation(false, &bob, &ALL) };
        for letter in (letters(asked) + "f").chars() {
            let mut escapes = Escapes::new(EscapeKey::Byte(b'~'));
            let typed = escapes.feed(format!("~?{letter}").as_bytes());
            match &typed[1..] {
                [Typed::Leave] => assert_eq!(letter, '.'),
                [Typed::Command(command)] => assert_ne!(*command, Escape::Nothing, "{letter}"),
                other => panic!("{letter}: {other:?}"),
            }
        }
    }
}
