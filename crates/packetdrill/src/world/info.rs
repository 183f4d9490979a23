//! `struct tcp_info` of Linux (`linux/tcp.h`), as bytes in the host's order.
//!
//! What the stack does not measure is zero, as Linux leaves what it has not measured.

use std::mem::offset_of;

use libc::tcp_info;
use rumpnet_proto::{ConnectionReport, TcpState};
use rumpnet_stack::{TcpInfo, TcpQueues};

/// Its length, up to `tcpi_total_rto_time`; what came later is about what we do not have.
pub(super) const LEN: usize = offset_of!(tcp_info, tcpi_received_ce);
/// The threshold while there was no congestion (TCP_INFINITE_SSTHRESH).
const NO_THRESHOLD: u32 = 0x7fff_ffff;
/// TCPI_OPT_TIMESTAMPS, TCPI_OPT_SACK, TCPI_OPT_WSCALE, TCPI_OPT_ECN.
const OPTIONS: [u8; 4] = [1, 2, 4, 8];

/// The record.
struct Record([u8; LEN]);

impl Record {
    fn long(&mut self, offset: usize, value: u64) {
        self.0[offset..offset + 8].copy_from_slice(&value.to_ne_bytes());
    }

    const fn byte(&mut self, offset: usize, value: u8) {
        self.0[offset] = value;
    }

    fn word(&mut self, offset: usize, value: u32) {
        self.0[offset..offset + 4].copy_from_slice(&value.to_ne_bytes());
    }
}

/// The number of a state (tcp_states.h).
pub const fn state_number(state: TcpState) -> u8 {
    match state {
        TcpState::Established => 1,
        TcpState::SynSent => 2,
        TcpState::SynReceived => 3,
        TcpState::FinWait1 => 4,
        TcpState::FinWait2 => 5,
        TcpState::TimeWait => 6,
        TcpState::Closed => 7,
        TcpState::CloseWait => 8,
        TcpState::LastAck => 9,
        TcpState::Listen => 10,
        TcpState::Closing => 11,
    }
}

/// Of a connection; windows in segments and times in microseconds, as Linux has them.
pub fn info_record(info: &TcpInfo, queues: TcpQueues) -> [u8; LEN] {
    let path = &info.path;
    let mss = path.mss.max(1);
    let micros = |nanos: u64| (nanos / 1000) as u32;
    let scaled = path.window_scale != (0, 0);
    let agreed = [path.timestamps, path.sack, scaled, path.ecn];
    let options = OPTIONS.iter().zip(agreed).filter(|(_, agreed)| *agreed).fold(0, |all, (bit, _)| all | bit);
    let mut record = Record([0; LEN]);
    record.byte(offset_of!(tcp_info, tcpi_state), state_number(info.state));
    record.byte(offset_of!(tcp_info, tcpi_options), options);
    // Two fields of four bits behind it, the first in the lower ones where the lower byte comes first.
    let (sent, received) = path.window_scale;
    record.byte(
        offset_of!(tcp_info, tcpi_options) + 1,
        if cfg!(target_endian = "little") { sent | received << 4 } else { sent << 4 | received },
    );
    record.word(offset_of!(tcp_info, tcpi_rto), micros(path.rto_ns));
    record.word(offset_of!(tcp_info, tcpi_snd_mss), path.mss);
    record.word(offset_of!(tcp_info, tcpi_unacked), path.in_flight.div_ceil(mss));
    record.word(offset_of!(tcp_info, tcpi_rtt), path.rtt_ns.map_or(0, |(smoothed, _)| micros(smoothed)));
    record.word(offset_of!(tcp_info, tcpi_rttvar), path.rtt_ns.map_or(0, |(_, variation)| micros(variation)));
    record.word(
        offset_of!(tcp_info, tcpi_snd_ssthresh),
        path.ssthresh.map_or(NO_THRESHOLD, |ssthresh| ssthresh / mss),
    );
    record.word(offset_of!(tcp_info, tcpi_snd_cwnd), path.cwnd / mss);
    record.word(offset_of!(tcp_info, tcpi_total_retrans), path.retransmitted as u32);
    // Without a measure it is the greatest number.
    record.word(offset_of!(tcp_info, tcpi_min_rtt), path.minimum_rtt_ns.map_or(u32::MAX, micros));
    record.word(offset_of!(tcp_info, tcpi_notsent_bytes), queues.unsent as u32);
    traffic(&mut record, path);
    record.word(offset_of!(tcp_info, tcpi_dsack_dups), path.duplicates);
    record.word(offset_of!(tcp_info, tcpi_reord_seen), path.reordering.into());
    record.word(offset_of!(tcp_info, tcpi_snd_wnd), path.send_window);
    record.word(offset_of!(tcp_info, tcpi_rcv_wnd), path.receive_window);
    record.0
}

/// What was sent and received, and what kept more from being sent.
fn traffic(record: &mut Record, path: &ConnectionReport) {
    let told = &path.traffic;
    let words = [
        (offset_of!(tcp_info, tcpi_segs_out), told.segments_sent),
        (offset_of!(tcp_info, tcpi_segs_in), told.segments_received),
        (offset_of!(tcp_info, tcpi_data_segs_in), told.data_segments_received),
        (offset_of!(tcp_info, tcpi_data_segs_out), told.data_segments_sent),
        (offset_of!(tcp_info, tcpi_delivered), told.delivered),
        (offset_of!(tcp_info, tcpi_delivered_ce), told.delivered_marked),
        (offset_of!(tcp_info, tcpi_rcv_ooopack), told.out_of_order),
    ];
    words.iter().for_each(|(offset, count)| record.word(*offset, *count as u32));
    let longs = [
        (offset_of!(tcp_info, tcpi_pacing_rate), path.pacing_rate.unwrap_or(u64::MAX)),
        (offset_of!(tcp_info, tcpi_bytes_acked), told.bytes_acked),
        (offset_of!(tcp_info, tcpi_bytes_received), told.bytes_received),
        (offset_of!(tcp_info, tcpi_delivery_rate), told.delivery_rate),
        (offset_of!(tcp_info, tcpi_busy_time), told.busy_ns / 1000),
        (offset_of!(tcp_info, tcpi_rwnd_limited), told.window_limited_ns / 1000),
        (offset_of!(tcp_info, tcpi_sndbuf_limited), told.buffer_limited_ns / 1000),
        (offset_of!(tcp_info, tcpi_bytes_sent), told.bytes_sent),
        (offset_of!(tcp_info, tcpi_bytes_retrans), told.bytes_retransmitted),
    ];
    longs.iter().for_each(|(offset, count)| record.long(*offset, *count));
}

/// Of a socket that is no connection.
pub(super) fn of_state(state: TcpState) -> [u8; LEN] {
    let mut record = Record([0; LEN]);
    record.byte(0, state_number(state));
    record.0
}
