//! TCP in worlds: whatever befalls segments on a cable, a stream arrives byte for byte or its ends are told why not (RFC 9293).

mod support;

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::Shutdown,
};

use rumpnet_sim::{TcpListener, TcpStream, scenario};
use support::Pair;

#[test]
fn a_question_is_answered_and_both_ends_read_the_end() {
    scenario(|world| {
        let pair = Pair::new(world);
        let listener = TcpListener::bind(&pair.b, "10.0.0.2:80").expect("free");
        let mut client = TcpStream::connect(&pair.a, "10.0.0.2:80").expect("answered");
        let (mut server, peer) = listener.accept().expect("a connection");
        assert_eq!(peer, client.local_addr().expect("connected"));
        assert_eq!(server.peer_addr().expect("connected"), peer);
        client.write_all(b"question").expect("room");
        client.shutdown(Shutdown::Write).expect("connected");
        let mut asked = String::new();
        server.read_to_string(&mut asked).expect("the end comes");
        assert_eq!(asked, "question");
        server.write_all(b"answer").expect("room");
        drop(server);
        let mut answer = String::new();
        client.read_to_string(&mut answer).expect("the end comes");
        assert_eq!(answer, "answer");
        let refused = TcpStream::connect(&pair.a, "10.0.0.2:81").map(drop).expect_err("nobody listens");
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    });
}
