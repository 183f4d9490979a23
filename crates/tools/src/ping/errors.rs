//! ICMP errors in the words of NetBSD's ping(8).

/// What an ICMP error of this type and code says (RFC 792, RFC 1812 section 5.2.7).
pub(super) fn text(kind: u8, code: u8) -> String {
    let known = match (kind, code) {
        (3, 0) => "Destination Net Unreachable",
        (3, 1) => "Destination Host Unreachable",
        (3, 2) => "Destination Protocol Unreachable",
        (3, 3) => "Destination Port Unreachable",
        (3, 4) => "Fragmentation needed and DF set",
        (3, 5) => "Source Route Failed",
        (3, 6) => "Destination Net Unknown",
        (3, 7) => "Destination Host Unknown",
        (3, 8) => "Source Host Isolated",
        (3, 9) => "Destination Net Administratively Prohibited",
        (3, 10) => "Destination Host Administratively Prohibited",
        (3, 11) => "Destination Net Unreachable At This TOS",
        (3, 12) => "Destination Host Unreachable At This TOS",
        (3, 13) => "Communication Administratively Prohibited",
        (3, 14) => "Host Precedence Violation",
        (3, 15) => "Precedence Cutoff In Effect",
        (4, _) => "Source Quench",
        (5, 0) => "Redirect (change route) Net",
        (5, 1) => "Redirect (change route) Host",
        (5, 2) => "Redirect (change route) Net And TOS",
        (5, 3) => "Redirect (change route) Host And TOS",
        (11, 0) => "Time To Live Exceeded",
        (11, 1) => "Frag Reassembly Time Exceeded",
        (12, _) => "Parameter Problem",
        _ => return format!("ICMP type {kind} code {code}"),
    };
    known.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_errors_have_words_and_others_their_numbers() {
        assert_eq!(text(3, 1), "Destination Host Unreachable");
        assert_eq!(text(11, 0), "Time To Live Exceeded");
        assert_eq!(text(3, 99), "ICMP type 3 code 99");
    }
}
