use proptest::prelude::*;

use super::*;

/// A client's frame, masked.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0x12, 0xf4, 0x56, 0x78];
    let head = Head::new(Opcode::Binary, payload.len());
    let mut frame = head.as_bytes().to_vec();
    frame[0] = first;
    frame[1] |= 0x80;
    frame.extend(mask);
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

#[derive(Debug, Default, Eq, PartialEq)]
struct Said {
    binary: Vec<u8>,
    texts: Vec<String>,
    pings: Vec<Vec<u8>>,
    pongs: usize,
    closes: Vec<Option<u16>>,
}

/// All items of these bytes, which arrive in pieces of these lengths.
fn decode(bytes: &[u8], pieces: &[usize]) -> Result<Said, Close> {
    let mut decoder = Decoder::default();
    let mut said = Said::default();
    let mut rest = bytes;
    let mut lengths = pieces.iter().copied().chain([usize::MAX]).cycle();
    while !rest.is_empty() {
        let (piece, later) = rest.split_at(lengths.next().unwrap().min(rest.len()));
        rest = later;
        let mut piece = piece.to_vec();
        let mut input = &mut piece[..];
        while let Some(item) = decoder.next(&mut input)? {
            match item {
                Item::Binary(bytes) => said.binary.extend_from_slice(bytes),
                Item::Text(text) => said.texts.push(text),
                Item::Ping(payload) => said.pings.push(payload),
                Item::Pong => said.pongs += 1,
                Item::Close(code) => said.closes.push(code),
            }
        }
    }
    Ok(said)
}

fn refused(bytes: &[u8]) -> CloseCode {
    decode(bytes, &[]).unwrap_err().code
}

#[test]
fn the_example_of_the_rfc_is_read() {
    let hello = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
    assert_eq!(decode(&hello, &[1]).unwrap().texts, ["Hello"]);
}

#[test]
fn the_heads_of_the_rfc_are_written() {
    assert_eq!(Head::new(Opcode::Text, 5).as_bytes(), [0x81, 0x05]);
    assert_eq!(Head::new(Opcode::Binary, 256).as_bytes(), [0x82, 0x7e, 0x01, 0x00]);
    let large = Head::new(Opcode::Binary, 65536);
    assert_eq!(large.as_bytes(), [0x82, 0x7f, 0, 0, 0, 0, 0, 1, 0, 0]);
}

#[test]
fn a_control_frame_may_come_between_the_fragments_of_a_message() {
    let bytes = [frame(0x01, b"a"), frame(0x89, b"ping"), frame(0x80, b"b")].concat();
    let said = decode(&bytes, &[]).unwrap();
    assert_eq!((said.texts, said.pings), (vec!["ab".to_owned()], vec![b"ping".to_vec()]));
}

#[test]
fn a_client_that_does_not_keep_to_the_rfc_is_told_so() {
    let protocol = CloseCode::ProtocolError;
    assert_eq!(refused(&[0x82, 0x04, 1, 2, 3, 4]), protocol, "not masked");
    assert_eq!(refused(&[0x88, 0x00]), protocol, "a leave that is not masked");
    assert_eq!(refused(&frame(0xc2, b"x")), protocol, "a reserved bit");
    assert_eq!(refused(&frame(0x83, b"x")), protocol, "a reserved opcode");
    assert_eq!(refused(&frame(0x80, b"x")), protocol, "nothing to continue");
    assert_eq!(refused(&[frame(0x02, b"x"), frame(0x82, b"x")].concat()), protocol, "not finished");
    assert_eq!(refused(&frame(0x09, b"x")), protocol, "a ping in fragments");
    assert_eq!(refused(&frame(0x89, &[0; 126])), protocol, "a long ping");
    assert_eq!(refused(&frame(0x88, &[3])), protocol, "half a close code");
    assert_eq!(refused(&frame(0x88, &1005u16.to_be_bytes())), protocol, "a code never sent");
    assert_eq!(refused(&frame(0x81, &[0xff])), CloseCode::BadText);
}

#[test]
fn a_message_larger_than_one_mebibyte_is_refused_as_soon_as_its_length_is_known() {
    let piece = vec![b'x'; 600 * 1024];
    let first = frame(0x02, &piece);
    assert!(decode(&first, &[]).is_ok());
    assert_eq!(refused(&[first, frame(0x80, &piece)[..14].to_vec()].concat()), CloseCode::TooBig);
    let huge = [0x82, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0];
    assert_eq!(refused(&huge), CloseCode::TooBig);
}

#[test]
fn a_length_is_written_in_as_few_bytes_as_it_needs() {
    let long = |length: u64| [&[0x82, 0xff], &length.to_be_bytes()[..], &[0; 4]].concat();
    let medium = |length: u16| [&[0x82, 0xfe], &length.to_be_bytes()[..], &[0; 4]].concat();
    for head in [medium(0), medium(125), long(0), long(125), long(65535), long(1 << 63)] {
        assert_eq!(refused(&head), CloseCode::ProtocolError, "{head:x?}");
    }
    for head in [medium(126), medium(65535), long(65536)] {
        assert_eq!(decode(&head, &[1]).unwrap(), Said::default(), "{head:x?}");
    }
}

#[test]
fn a_code_and_no_code_to_close_with_are_read() {
    let bytes = [frame(0x88, &close_payload(1000, "bye")), frame(0x88, b"")].concat();
    assert_eq!(decode(&bytes, &[]).unwrap().closes, [Some(1000), None]);
}

proptest! {
    #[test]
    fn messages_are_the_same_however_they_arrive(
        messages in proptest::collection::vec(
            (0..4usize, proptest::collection::vec(any::<u8>(), 0..300), any::<bool>()), 0..20),
        pieces in proptest::collection::vec(1..50usize, 0..10),
    ) {
        let mut bytes = Vec::new();
        let mut wanted = Said::default();
        for (kind, payload, split) in messages {
            let text: String = payload.iter().map(|byte| char::from(*byte)).collect();
            let payload = if kind == 1 { text.as_bytes() } else { &payload };
            let cut = if split { payload.len() / 2 } else { payload.len() };
            let small = &payload[..payload.len().min(CONTROL.into())];
            match kind {
                0 | 1 if split => {
                    bytes.extend(frame([0x02, 0x01][kind], &payload[..cut]));
                    bytes.extend(frame(0x80, &payload[cut..]));
                }
                0 | 1 => bytes.extend(frame([0x82, 0x81][kind], payload)),
                2 => bytes.extend(frame(0x89, small)),
                _ => bytes.extend(frame(0x8a, small)),
            }
            match kind {
                0 => wanted.binary.extend(payload),
                1 => wanted.texts.push(text),
                2 => wanted.pings.push(small.to_vec()),
                _ => wanted.pongs += 1,
            }
        }
        prop_assert_eq!(decode(&bytes, &pieces).unwrap(), wanted);
    }

    #[test]
    fn any_bytes_are_taken_or_refused(
        bytes in proptest::collection::vec(any::<u8>(), 0..2000),
        pieces in proptest::collection::vec(1..50usize, 0..10),
    ) {
        let _ = decode(&bytes, &pieces);
    }
}
