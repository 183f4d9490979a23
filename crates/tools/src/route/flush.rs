//! `route flush`: every route by a router goes.

use rumpnet_proto::{Request, RouteReport};

use super::table::{Family, network_name};
use crate::{Status, console::Console, failure::Failure, task::Task};

/// Removes all routes that lead to a router, or those of a family, and says which; those of links stay.
pub(super) async fn flush(
    task: &Task<'_, impl Console>,
    family: Option<Family>,
    quiet: bool,
) -> Result<Status, Failure> {
    let wanted = |route: &&RouteReport| {
        route.gateway.is_some() && family.is_none_or(|family| family.is_of(route.destination.0))
    };
    for route in task.routes().await?.iter().filter(wanted) {
        let RouteReport { destination, gateway, .. } = *route;
        task.change(Request::DeleteRoute { destination, gateway }).await?;
        if let Some(gateway) = gateway.filter(|_| !quiet && !task.json) {
            let name = network_name(destination.0, destination.1);
            task.console.print(&format!("{name:<20.20} {:<20.20} done\n", gateway.to_string()))?;
        }
    }
    if task.json {
        task.report_changed(Vec::new())?;
    }
    Ok(Status::SUCCESS)
}
