//! Why a tool ended early, and how that is said.

use rumpnet_proto::{ControlError, Errno, Operation};
use serde::Serialize;

use crate::console::Closed;

/// Why a tool ended early.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The user asked for the help text.
    Help(String),
    /// The words make no sense: why, and how they should have been.
    Usage {
        /// What is wrong with them.
        message: String,
        /// The usage.
        usage: String,
    },
    /// The tool itself refuses, before or beside the kernel.
    Refused(String),
    /// The kernel refused.
    Kernel(ControlError),
    /// The reader of our output is gone.
    Closed,
}

impl Failure {
    /// From a parser's complaint: its first paragraph is the message, the rest the usage.
    pub(crate) fn usage(text: String) -> Self {
        let text = text.strip_prefix("error: ").unwrap_or(&text);
        let (message, usage) = text.split_once("\n\n").unwrap_or((text, ""));
        Self::Usage { message: message.trim().replace("\n", " "), usage: usage.trim().into() }
    }
}

impl From<Closed> for Failure {
    fn from(Closed: Closed) -> Self {
        Self::Closed
    }
}

impl From<ControlError> for Failure {
    fn from(error: ControlError) -> Self {
        Self::Kernel(error)
    }
}

/// A reply of another kind than the request asks for: the server speaks another language.
pub(crate) fn unexpected_reply() -> Failure {
    let error = ControlError::new(Operation::Server, "", Errno::Proto);
    Failure::Kernel(error.with_hint("the server's reply is not an answer to the request"))
}

/// An error as text, in the words of NetBSD's tools: the object only where those name it, then the kernel's hint.
pub(crate) fn text(error: &ControlError) -> String {
    let hint = error.hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default();
    if error.operation == Operation::Sysctl {
        // The tool has the operation's name.
        return format!("{}: {}{hint}", error.object, error.errno);
    }
    let named = match error.operation {
        Operation::InterfaceStatus | Operation::SetFlags | Operation::Capture => true,
        Operation::Server => !error.object.is_empty(),
        _ => false,
    };
    let object = if named && !error.object.is_empty() { format!(" {}", error.object) } else { String::new() };
    format!("{}{object}: {}{hint}", error.operation.name(), error.errno)
}

/// An error as JSON: docs/guide/json.md.
#[derive(Serialize)]
pub(crate) struct ErrorReport<'a> {
    error: Body<'a>,
}

#[derive(Serialize)]
struct Body<'a> {
    message: &'a str,
    operation: Option<&'static str>,
    object: Option<&'a str>,
    errno: Option<&'static str>,
    hint: Option<&'a str>,
}

impl<'a> From<&'a Failure> for ErrorReport<'a> {
    fn from(failure: &'a Failure) -> Self {
        let said = |message| Body { message, operation: None, object: None, errno: None, hint: None };
        let error = match failure {
            Failure::Help(text) | Failure::Refused(text) => said(text),
            Failure::Usage { message, .. } => said(message),
            Failure::Closed => said("standard output is closed"),
            Failure::Kernel(error) => Body {
                message: error.errno.text(),
                operation: Some(error.operation.name()),
                object: Some(error.object.as_str()).filter(|object| !object.is_empty()),
                errno: Some(error.errno.name()),
                hint: error.hint.as_deref(),
            },
        };
        Self { error }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_reads_as_netbsds_tools_print_it_and_ends_with_the_hint() {
        let error = ControlError::new(Operation::CreateInterface, "virt0", Errno::Busy);
        assert_eq!(text(&error), "SIOCIFCREATE: Device busy");
        let helped = error.with_hint("tap0 is held by process 7");
        assert_eq!(text(&helped), "SIOCIFCREATE: Device busy (tap0 is held by process 7)");
        let absent = ControlError::new(Operation::InterfaceStatus, "virt9", Errno::Nxio);
        assert_eq!(text(&absent), "SIOCGIFFLAGS virt9: Device not configured");
        let gone = ControlError::new(Operation::Server, "", Errno::ConnRefused);
        assert_eq!(text(&gone), "rump client: Connection refused");
    }

    #[test]
    fn a_parsers_complaint_falls_into_message_and_usage() {
        let failure = Failure::usage("error: unexpected argument 'x' found\n\nUsage: halt\n".into());
        let expected = ("unexpected argument 'x' found".into(), "Usage: halt".into());
        assert_eq!(failure, Failure::Usage { message: expected.0, usage: expected.1 });
    }
}
