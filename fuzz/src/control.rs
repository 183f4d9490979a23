//! The control protocol: arbitrary messages are refused or mean one thing, and no request breaks a stack.

use rumpnet_proto::{
    AddressChange, Request,
    codec::{self, Answer, Call},
};
use rumpnet_stack::{Config, PortConfig, Stack, time::Instant};
use rumpnet_wire::ethernet;

/// Decodes octets as a call and as an answer; what decodes encodes to a message that decodes to the same, and a call is made.
pub fn control(data: &[u8]) {
    let message = [&codec::VERSION.to_be_bytes()[..], data].concat();
    if let Ok(answer) = codec::decode::<Answer>(&message) {
        let again = codec::encode(&answer).expect("an answer that came in a message fits one");
        assert_eq!(codec::decode(&again), Ok(answer));
    }
    let Ok(call) = codec::decode::<Call>(&message) else { return };
    let again = codec::encode(&call).expect("a call that came in a message fits one");
    assert_eq!(codec::decode(&again).as_ref(), Ok(&call));
    let mut stack = stack();
    let first = stack.control(Instant::ZERO, call.request.clone());
    // An answer goes back in one message, whatever was asked.
    codec::encode(&Answer { id: call.id, result: first }).expect("an answer fits a message");
    let _again = stack.control(Instant::ZERO, call.request);
    stack.on_timeout(Instant::from_secs(100));
    while stack.next_frame(0).is_some() {}
}

fn stack() -> Stack {
    let now = Instant::ZERO;
    let mut stack = Stack::boot(Config::tiny(), [1; 16], now);
    let port = PortConfig::ethernet(ethernet::Address([0xb2, 0x0a, 0, 0, 0, 1]));
    stack.create_interface(now, "virt0", port).expect("room for one");
    let address = std::net::Ipv4Addr::new(10, 0, 0, 1).into();
    let change = AddressChange { address, prefix_len: Some(24), broadcast: None, peer: None, alias: true };
    stack.control(now, Request::AddAddress { name: "virt0".into(), change }).expect("a good address");
    stack
}
