//! rumpnet-sysctl(7): every variable of the kernel, from the definitions by which values are refused.

use std::fmt::Write;

use rumpnet_proto::sysctl::{VARIABLES, Variable};

const HEAD: &str = concat!(
    ".TH RUMPNET\\-SYSCTL 7 \"\" \"rumpnet ",
    env!("CARGO_PKG_VERSION"),
    "\" \"rumpnet\"\n.SH NAME\nrumpnet\\-sysctl \\- variables of the kernel\n.SH DESCRIPTION\n",
    "Variables are read and set with \\fBrump\\-sysctl\\fR(8). All are whole numbers. A switch is on at 1 and off at 0. The defaults are those of a ",
    "kernel for a server; a kernel made small has smaller buffers.\n"
);

/// The page.
pub(super) fn page() -> String {
    let mut text = VARIABLES.iter().fold(String::from(HEAD), |mut text, variable| {
        write(&mut text, variable).expect("a string takes everything");
        text
    });
    text += ".SH SEE ALSO\n\\fBrump\\-sysctl\\fR(8)\n";
    text
}

fn write(text: &mut String, variable: &Variable) -> std::fmt::Result {
    let Variable { name, meaning, unit, default, range } = *variable;
    writeln!(text, ".TP\n\\fB{}\\fR\n{}.\n.br", name.replace('-', "\\-"), meaning.replace('-', "\\-"))?;
    if !unit.is_empty() {
        write!(text, "In {unit}. ")?;
    }
    match range {
        Some((0, 1)) => writeln!(text, "A switch, by default {default}."),
        Some((least, greatest)) => writeln!(text, "From {least} to {greatest}, by default {default}."),
        None => writeln!(text, "It is only measured, and cannot be set."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_variable_is_missing_from_the_page() {
        let page = page();
        for variable in VARIABLES {
            let name = variable.name.replace('-', "\\-");
            assert_eq!(page.matches(&format!("\\fB{name}\\fR\n")).count(), 1, "{name}");
        }
    }
}
