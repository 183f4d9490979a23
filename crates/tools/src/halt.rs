//! halt: ends the kernel, as rump_server's halt(8) does.

use clap::Command;
use rumpnet_proto::Request;

use crate::{Status, console::Console, definition, failure::Failure, task::Task};

pub(crate) fn command() -> Command {
    definition::tool("halt", "End the kernel")
        .after_help("Interfaces are destroyed as by ifconfig(8), so that the host gets back what they held.")
}

pub(crate) async fn run(task: &Task<'_, impl Console>, words: &[&str]) -> Result<Status, Failure> {
    definition::parse(command(), words)?;
    task.change(Request::Halt).await?;
    task.report_changed(Vec::new())?;
    Ok(Status::SUCCESS)
}

#[cfg(test)]
mod tests {
    use rumpnet_proto::{ControlError, Errno, Operation, Reply};

    use super::*;
    use crate::scripted::Script;

    #[test]
    fn halt_asks_the_kernel_to_end() {
        let said = Script::new([(Request::Halt, Ok(Reply::Done))]).said(&["halt"]);
        assert_eq!((said.status, said.out.as_str(), said.err.as_str()), (Status::SUCCESS, "", ""));
    }

    #[test]
    fn a_server_that_cannot_be_reached_is_named() {
        let gone = ControlError::new(Operation::Server, "unix:///tmp/k", Errno::NoEnt);
        let said = Script::new([(Request::Halt, Err(gone))]).said(&["halt"]);
        let expected = (Status::FAILURE, "halt: rump client unix:///tmp/k: No such file or directory\n");
        assert_eq!((said.status, said.err.as_str()), expected);
    }
}
