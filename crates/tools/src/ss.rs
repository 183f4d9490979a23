//! ss: sockets and what connections know of their paths, in the layout of iproute2's ss(8).

use clap::Command;

use crate::{
    Status,
    console::Console,
    definition::{letter, parse, tool},
    failure::Failure,
    sockets::{Layout, Wanted, sockets},
    task::Task,
};

pub(crate) fn command() -> Command {
    tool("ss", "Show the sockets of the kernel")
        .arg(letter("a", "Those that wait for peers and those in TIME-WAIT, too"))
        .arg(letter("l", "Only those that wait for peers").conflicts_with("a"))
        .arg(letter("t", "Only TCP"))
        .arg(letter("u", "Only UDP"))
        .arg(letter("w", "Only raw IP and ICMP"))
        .arg(letter("i", "What a connection knows of its path"))
        .arg(letter("n", "Accepted for compatibility: addresses are always shown as numbers"))
}

pub(crate) async fn run(task: &Task<'_, impl Console>, words: &[&str]) -> Result<Status, Failure> {
    let matches = parse(command(), words)?;
    let [tcp, udp, raw] = ["t", "u", "w"].map(|letter| matches.get_flag(letter));
    let all = !(tcp || udp || raw);
    let wanted = Wanted {
        tcp: tcp || all,
        udp: udp || all,
        raw: raw || all,
        waiting: matches.get_flag("a") || matches.get_flag("l"),
        connected: !matches.get_flag("l"),
        ended: matches.get_flag("a"),
    };
    let layout = Layout::Ss { internals: matches.get_flag("i") };
    task.report(&sockets(task, wanted, layout).await?)?;
    Ok(Status::SUCCESS)
}

#[cfg(test)]
mod tests {
    use rumpnet_proto::{ConnectionReport, Reply, Request, SocketReport, TcpState, TrafficReport, Transport};

    use crate::scripted::{Said, Script};

    fn connection() -> SocketReport {
        let known = ConnectionReport {
            congestion: "cubic".into(),
            rtt_ns: Some((300_000, 150_000)),
            rto_ns: 200_300_000,
            mss: 1448,
            cwnd: 14_480,
            ssthresh: None,
            in_flight: 2896,
            pacing_rate: Some(11_584_000),
            send_window: 65_536,
            receive_window: 1_048_576,
            retransmitted: 3,
            duplicates: 2,
            reordering: true,
            undone: 1,
            sack: true,
            minimum_rtt_ns: Some(250_000),
            unsent: 100,
            ecn: true,
            timestamps: true,
            window_scale: (7, 8),
            traffic: TrafficReport {
                bytes_sent: 10_000,
                bytes_retransmitted: 3000,
                bytes_acked: 4105,
                bytes_received: 77,
                segments_sent: 9,
                segments_received: 5,
                data_segments_sent: 7,
                data_segments_received: 1,
                delivered: 4,
                delivered_marked: 1,
                out_of_order: 2,
                busy_ns: 40_000_000,
                window_limited_ns: 10_000_000,
                buffer_limited_ns: 0,
                delivery_rate: 1_000_000,
                ..TrafficReport::default()
            },
        };
        SocketReport {
            transport: Transport::Tcp,
            local: Some(([10, 0, 0, 2], 80).into()),
            remote: Some(([10, 0, 0, 1], 40_000).into()),
            receive_queue: 5,
            send_queue: 2896,
            receive_drops: 0,
            state: Some(TcpState::Established),
            connection: Some(known),
        }
    }

    fn sockets() -> Vec<SocketReport> {
        let listener = SocketReport {
            remote: None,
            receive_queue: 1,
            send_queue: 128,
            state: Some(TcpState::Listen),
            connection: None,
            ..connection()
        };
        let datagrams = SocketReport {
            transport: Transport::Udp,
            local: Some(([0, 0, 0, 0], 53).into()),
            state: None,
            send_queue: 0,
            receive_queue: 0,
            ..listener.clone()
        };
        vec![datagrams, listener, connection()]
    }

    #[track_caller]
    fn said(line: &str) -> Said {
        let first = Reply::Sockets { sockets: sockets(), next: Some((Transport::Tcp, 1)) };
        let last = Reply::Sockets { sockets: Vec::new(), next: None };
        let calls = [
            (Request::Sockets { after: None }, Ok(first)),
            (Request::Sockets { after: Some((Transport::Tcp, 1)) }, Ok(last)),
        ];
        Script::new(calls).said(&line.split_whitespace().collect::<Vec<_>>())
    }

    #[test]
    fn connections_are_shown_with_what_they_know_of_their_path() {
        let expected = "Netid State       Recv-Q Send-Q Local Address:Port Peer Address:Port
tcp   ESTAB       5      2896   10.0.0.2:80        10.0.0.1:40000
\tts sack ecn cubic wscale:7,8 rto:200 rtt:0.300/0.150 mss:1448 cwnd:10 bytes_sent:10000 bytes_retrans:3000 bytes_acked:4105 bytes_received:77 segs_out:9 segs_in:5 data_segs_out:7 data_segs_in:1 unacked:2 pacing_rate 92672000bps delivery_rate 8000000bps delivered:4 delivered_ce:1 busy:40ms rwnd_limited:10ms(25.0%) retrans:0/3 dsack_dups:2 undone:1 rcv_ooopack:2 notsent:100 minrtt:0.250 snd_wnd:65536 rcv_wnd:1048576
";
        assert_eq!(said("ss -i").out, expected);
    }

    #[test]
    fn protocols_and_servers_are_chosen_by_letters() {
        let names = |line: &str| {
            let text = said(line).out;
            text.lines()
                .skip(1)
                .map(|line| line.split_whitespace().take(2).collect::<Vec<_>>().join(" "))
                .collect::<Vec<_>>()
        };
        assert_eq!(names("ss -a"), ["udp UNCONN", "tcp LISTEN", "tcp ESTAB"]);
        assert_eq!(names("ss -l -t"), ["tcp LISTEN"]);
        assert_eq!(names("ss -u -a"), ["udp UNCONN"]);
        assert_eq!(names("ss"), ["tcp ESTAB"]);
    }

    #[test]
    fn what_is_over_is_shown_only_if_all_are_wanted() {
        let said = |line: &str| {
            let over = SocketReport { state: Some(TcpState::TimeWait), ..connection() };
            let reply = Reply::Sockets { sockets: vec![over], next: None };
            let calls = [(Request::Sockets { after: None }, Ok(reply))];
            Script::new(calls).said(&line.split_whitespace().collect::<Vec<_>>()).out.contains("TIME-WAIT")
        };
        assert!(said("ss -a") && !said("ss") && !said("ss -t"));
    }

    #[test]
    fn netstat_shows_the_same_in_its_own_layout() {
        let expected = "Active Internet connections (including servers)
Proto Recv-Q Send-Q  Local Address          Foreign Address        State
udp        0      0  *.53                   *.*
tcp        0      0  10.0.0.2.80            *.*                    LISTEN
tcp        5   2896  10.0.0.2.80            10.0.0.1.40000         ESTABLISHED
";
        assert_eq!(said("netstat -an").out, expected);
        assert_eq!(said("netstat").out.lines().count(), 3);
    }

    #[test]
    fn in_json_units_stand_in_the_names() {
        let json: serde_json::Value = serde_json::from_str(&said("ss --json").out).expect("JSON");
        assert_eq!(json.pointer("/sockets/0/connection/rtt_ns"), Some(&300_000.into()));
        assert_eq!(json.pointer("/sockets/0/state"), Some(&"ESTABLISHED".into()));
        assert_eq!(json.pointer("/version"), Some(&1.into()));
    }
}
