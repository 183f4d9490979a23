//! Messages of ICMP: inverse, verified, and errors told apart.

use std::vec;
use std::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::strategies::{assert_inverse, emitted, ipv4, octets};

fn message() -> impl Strategy<Value = Message> {
    let numbers = any::<(u16, u16)>;
    prop_oneof![
        numbers().prop_map(|(identifier, sequence)| Message::EchoReply { identifier, sequence }),
        numbers().prop_map(|(identifier, sequence)| Message::EchoRequest { identifier, sequence }),
        numbers().prop_map(|(identifier, sequence)| Message::TimestampRequest { identifier, sequence }),
        numbers().prop_map(|(identifier, sequence)| Message::TimestampReply { identifier, sequence }),
        numbers().prop_map(|(identifier, sequence)| Message::AddressMaskRequest { identifier, sequence }),
        numbers().prop_map(|(identifier, sequence)| Message::AddressMaskReply { identifier, sequence }),
        any::<(u8, u16)>().prop_map(|(code, next_hop_mtu)| Message::DestinationUnreachable {
            code: UnreachableCode(code),
            next_hop_mtu
        }),
        (any::<u8>(), ipv4())
            .prop_map(|(code, gateway)| Message::Redirect { code: RedirectCode(code), gateway }),
        any::<u8>().prop_map(|code| Message::TimeExceeded { code: TimeExceededCode(code) }),
        any::<(u8, u8)>().prop_map(|(code, pointer)| Message::ParameterProblem { code, pointer }),
        any::<(u8, u8, u16)>().prop_map(|(addresses, entry_words, lifetime)| Message::RouterAdvertisement {
            addresses,
            entry_words,
            lifetime
        }),
        Just(Message::RouterSolicitation),
        Just(Message::SourceQuench),
        (40u8.., any::<u8>(), any::<[u8; 4]>()).prop_map(|(kind, code, content)| Message::Unknown {
            kind,
            code,
            content
        }),
    ]
}

proptest! {
    #[test]
    fn an_emitted_message_parses_back(message in message(), data in octets(60)) {
        let sum = *Sum::new().add(&data);
        let bytes = emitted(message.header_len(), |out| message.emit(sum, out));
        assert_inverse(&message, bytes, &data, Message::parse);
    }

    #[test]
    fn a_flipped_bit_is_noticed(message in message(), data in octets(20), bit: usize) {
        let mut bytes = [&message.to_bytes(*Sum::new().add(&data))[..], &data].concat();
        let bit = bit % (bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        prop_assert_eq!(Message::parse(&bytes), Err(Malformed::Checksum));
        prop_assert!(Message::parse_unverified(&bytes).is_ok());
    }

    #[test]
    fn emitted_times_parse_back(originate: u32, receive: u32, transmit: u32, rest in octets(5)) {
        let times = Timestamps { originate, receive, transmit };
        let bytes = emitted(times.header_len(), |out| times.emit(out));
        assert_inverse(&times, bytes, &rest, Timestamps::parse);
    }
}

#[test]
fn errors_are_told_from_informational_messages() {
    let errors: Vec<_> =
        (0..=40u8).filter(|kind| Message::from_fields(*kind, 0, [0; 4]).is_error()).collect();
    assert_eq!(errors, [3, 4, 5, 11, 12]);
}

#[test]
fn an_echo_with_a_foreign_code_is_unknown() {
    let bytes = [8, 1, 0xf7, 0xfe, 0, 0, 0, 0];
    let unknown = Message::Unknown { kind: 8, code: 1, content: [0; 4] };
    assert_eq!(Message::parse(&bytes), Ok((unknown, &[][..])));
}

#[test]
fn fields_stand_where_the_rfcs_put_them() {
    let bytes = |message: Message| message.to_bytes(Sum::new());
    let unreachable =
        Message::DestinationUnreachable { code: UnreachableCode::FRAGMENTATION_NEEDED, next_hop_mtu: 1400 };
    assert_eq!(bytes(unreachable), [3, 4, 0xf7, 0x83, 0, 0, 0x05, 0x78]);
    let redirect = Message::Redirect { code: RedirectCode::HOST, gateway: Ipv4Addr::new(10, 0, 0, 9) };
    assert_eq!(bytes(redirect), [5, 1, 0xf0, 0xf5, 10, 0, 0, 9]);
    assert_eq!(bytes(Message::ParameterProblem { code: 0, pointer: 20 }), [12, 0, 0xdf, 0xff, 20, 0, 0, 0]);
}

#[test]
fn a_message_without_eight_octets_is_truncated() {
    assert_eq!(Message::parse(&[8, 0, 0xf7, 0xff, 0, 0, 0]), Err(Malformed::Truncated));
}
