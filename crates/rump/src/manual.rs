//! `rump man DIR`: the manual pages of every command, from the definitions by which they are parsed.

use std::{fs, io, path::Path};

use clap::{Arg, ArgMatches, Command};
use clap_mangen::Man;
use rumpnet_tools::Status;

use crate::{definition, output, server};

pub(crate) fn command() -> Command {
    Command::new("man")
        .about("Write the manual pages of every command into a directory")
        .arg(Arg::new("DIR").required(true).help("The directory; made if it is not there"))
}

pub(crate) fn run(matches: &ArgMatches) -> Status {
    let directory = matches.get_one::<String>("DIR").map(String::as_str).unwrap_or_default();
    match write_all(Path::new(directory)) {
        Ok(()) => Status::SUCCESS,
        Err(error) => output::failed("rump man", format!("{directory}: {error}")),
    }
}

fn write_all(directory: &Path) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    pages().into_iter().try_for_each(|(name, page)| fs::write(directory.join(name), page))
}

/// Every page by the name of its file.
pub(crate) fn pages() -> Vec<(String, Vec<u8>)> {
    let program = definition::program();
    let mut pages = vec![page(program.clone(), "rump")];
    for command in program.get_subcommands().filter(|command| !command.is_hide_set()) {
        add(command, "rump", &mut pages);
    }
    pages.push(page(server::netbsd_command(), "rump_server"));
    pages
}

/// The page of a command, and those of the commands below it.
fn add(command: &Command, prefix: &str, pages: &mut Vec<(String, Vec<u8>)>) {
    let name = format!("{prefix}-{}", command.get_name());
    let words = format!("{} {}", prefix.replace('-', " "), command.get_name());
    pages.push(page(command.clone().bin_name(words), &name));
    command.get_subcommands().for_each(|below| add(below, &name, pages));
}

/// Who changes the system or serves it is in section 8, as in NetBSD; the rest in section 1.
fn page(command: Command, name: &str) -> (String, Vec<u8>) {
    let section = determine_section(name);
    let command = command.display_name(name.to_owned()).name(name.to_owned());
    let man = Man::new(command)
        .title(name.to_uppercase())
        .section(section)
        .source(concat!("rumpnet ", env!("CARGO_PKG_VERSION")))
        .manual("rumpnet")
        .date("");
    let mut text = Vec::new();
    // A vector takes everything.
    let _written = man.render(&mut text);
    // An empty date is left out by the writer, and what follows it would take its place.
    let text = String::from_utf8_lossy(&text).replacen("  \"rumpnet", " \"\" \"rumpnet", 1);
    let text = text + &common_sections(name);
    // Blanks at the ends of lines are a matter of style to mandoc(1).
    let text: String = text.lines().flat_map(|line| [line.trim_end(), "\n"]).collect();
    (format!("{name}.{section}"), text.into_bytes())
}

/// What all commands have in common.
fn common_sections(name: &str) -> String {
    let mut text = String::new();
    if asks_a_server(name) {
        text += ENVIRONMENT;
    }
    text += EXIT_STATUS;
    text += match name {
        "rump" => {
            ".SH SEE ALSO\n\\fBrump_server\\fR(1), \\fBrump\\-server\\fR(8), \\fBrump\\-ifconfig\\fR(8), \\fBrump\\-demo\\fR(1)\n"
        }
        _ => ".SH SEE ALSO\n\\fBrump\\fR(1)\n",
    };
    text
}

/// Whether a page is of something that looks for a server, or is one.
fn asks_a_server(name: &str) -> bool {
    let tool = name.strip_prefix("rump-").unwrap_or(name);
    matches!(name, "rump" | "rump-list" | "rump-server") || rumpnet_tools::names().any(|known| known == tool)
}

/// Where a server is found (docs/man).
const ENVIRONMENT: &str = r".SH ENVIRONMENT
.TP
\fBRUMP_SERVER\fR
The server's URL, unix://PATH, unless \fB\-\-server\fR names one.
.TP
\fBXDG_RUNTIME_DIR\fR
Without either, the server is looked for at rump/default in this directory; for root always at /run/rump/default.
";

const EXIT_STATUS: &str = r".SH EXIT STATUS
0 for success; 1 if something was refused, with the reason on standard error. \fBrump ping\fR ends with 2 if nobody answered.
";

fn determine_section(name: &str) -> &'static str {
    match name {
        "rump" | "rump-demo" | "rump-list" | "rump-man" | "rump-completions" | "rump-links"
        | "rump_server" => "1",
        _ => "8",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page_of_its_own() {
        let pages = pages();
        for name in ["rump.1", "rump-ifconfig.8", "rump-server.8", "rump_server.1"] {
            assert!(pages.iter().any(|(page, _)| page == name), "{name}");
        }
        let mut names: Vec<_> = pages.iter().map(|(name, _)| name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), pages.len());
    }

    #[test]
    fn the_pages_in_docs_are_those_of_the_definitions() {
        let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/man");
        let mut names: Vec<_> = fs::read_dir(&kept)
            .expect("docs/man is there")
            .map(|entry| entry.expect("it can be read").file_name().into_string().expect("a name of ours"))
            .collect();
        names.sort_unstable();
        let mut pages = pages();
        pages.sort_unstable();
        assert_eq!(names, pages.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>(), "cargo xtask man");
        for (name, page) in pages {
            let old = fs::read(kept.join(&name)).expect("it was listed");
            assert!(old == page, "{name} is not what the definitions say: cargo xtask man");
        }
    }
}
