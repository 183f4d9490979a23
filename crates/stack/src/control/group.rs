//! Multicast groups, as netstat(1) and ifmcstat(8) show them.

use core::net::IpAddr;

use rumpnet_proto::Reply;

use super::PAGE;
use crate::Stack;

impl Stack {
    /// A page of groups, by interface and address.
    pub(super) fn groups(&self, after: Option<(u32, IpAddr)>) -> Reply {
        let mut reports = self.inet.group_reports(&self.link, after, PAGE + 1);
        let more = reports.len() > PAGE;
        reports.truncate(PAGE);
        let next = reports.last().filter(|_| more).map(|(index, report)| (*index, report.group));
        Reply::Groups { groups: reports.into_iter().map(|(_, report)| report).collect(), next }
    }
}
