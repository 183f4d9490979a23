//! `rump man DIR`: the manual pages of every command, from the definitions by which they are parsed.

mod variables;

use std::{fs, io, path::Path};

use clap::{Arg, ArgAction, ArgMatches, Command};
use clap_mangen::Man;
use rumpnet_tools::Status;

use crate::{bus, definition, output, server};

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
    pages.extend(bus::netbsd_commands().map(|command| {
        let name = command.get_name().to_owned();
        page(command, &name)
    }));
    pages.push(("rumpnet-sysctl.7".to_owned(), variables::page().into_bytes()));
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
    let below: Vec<_> =
        command.get_subcommands().map(|below| format!("{name}-{}", below.get_name())).collect();
    let usage = synopsis(&command);
    let command = command.override_usage(usage).display_name(name.to_owned()).name(name.to_owned());
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
    let text = text.replacen(".SH EXTRA\n", ".SH NOTES\n", 1);
    let text = below.iter().fold(text, |text, below| with_section(&text, below)) + &common_sections(name);
    // Blanks at the ends of lines are a matter of style to mandoc(1).
    let text: String = text.lines().flat_map(|line| [line.trim_end(), "\n"]).collect();
    (format!("{name}.{section}"), text.into_bytes())
}

/// What the command takes, as a reader of manual pages expects it: options with their values, operands as they are named.
fn synopsis(command: &Command) -> String {
    let name = command.get_bin_name().unwrap_or_else(|| command.get_name());
    if let Some(usage) = command.get_overridden_usage() {
        // A tool has a usage of its own, in which it is called by its bare name.
        let prefix = name.strip_suffix(command.get_name()).unwrap_or_default();
        let lines: Vec<_> =
            usage.to_string().lines().map(|line| format!("{prefix}{}", line.trim())).collect();
        return lines.join("\n");
    }
    let shown =
        || command.get_arguments().filter(|argument| !argument.is_hide_set() && argument.get_id() != "help");
    let words = shown()
        .filter(|argument| !argument.is_positional())
        .chain(shown().filter(|argument| argument.is_positional()))
        .map(word_of)
        .chain(command.has_subcommands().then(|| "COMMAND …".to_owned()));
    std::iter::once(name.to_owned()).chain(words).collect::<Vec<_>>().join(" ")
}

/// An option or an operand in the synopsis.
fn word_of(argument: &Arg) -> String {
    let takes_value = argument.get_action().takes_values();
    let value = || match argument.get_value_names() {
        Some(names) => names.join(" "),
        None => argument.get_id().to_string(),
    };
    let mut word = match (argument.get_short(), argument.get_long()) {
        (Some(short), _) => format!("-{short}"),
        (None, Some(long)) => format!("--{long}"),
        (None, None) => String::new(),
    };
    if takes_value {
        word += if word.is_empty() { "" } else { " " };
        word += &value();
    }
    let may_be_many = argument.get_num_args().is_some_and(|number| number.max_values() > 1);
    let repeats = may_be_many || matches!(argument.get_action(), ArgAction::Append);
    let word = if argument.is_required_set() { word } else { format!("[{word}]") };
    word + if repeats { " ..." } else { "" }
}

/// The name of a command below with the section in which its page is.
fn with_section(text: &str, name: &str) -> String {
    let escaped = name.replace('-', "\\-");
    text.replace(&format!("{escaped}(1)"), &format!("{escaped}({})", determine_section(name)))
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
    matches!(name, "rump" | "rump-list" | "rump-nc" | "rump-server")
        || rumpnet_tools::names().any(|known| known == tool)
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
0 for success; 1 if something was refused, with the reason on standard error.
";

fn determine_section(name: &str) -> &'static str {
    match name {
        "rump" | "rump-demo" | "rump-list" | "rump-man" | "rump-completions" | "rump-links" | "rump-nc"
        | "rump_server" | "shmif_dumpbus" | "shmif_pcapin" => "1",
        _ => "8",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page_of_its_own() {
        let pages = pages();
        for name in ["rump.1", "rump-ifconfig.8", "rump-server.8", "rump_server.1", "rumpnet-sysctl.7"] {
            assert!(pages.iter().any(|(page, _)| page == name), "{name}");
        }
        let mut names: Vec<_> = pages.iter().map(|(name, _)| name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), pages.len());
    }

    #[test]
    fn a_synopsis_has_the_words_as_they_are_typed_and_pages_are_named_by_their_sections() {
        let pages = pages();
        let text = |name: &str| {
            let found = pages.iter().find(|(page, _)| page == name).expect("a page of ours");
            String::from_utf8_lossy(&found.1).replace("\\-", "-")
        };
        for (page, line) in [
            ("rump.1", "\\fBrump\\fR [--server URL] [--timeout SECONDS] COMMAND …\n"),
            ("rump.1", "\nrump-ping(8)\n"),
            ("rump.1", "\nrump-demo(1)\n"),
            ("rump-links.1", "\\fBrump links\\fR DIR\n"),
            ("rump-arp.8", "\\fBrump arp\\fR [-nv] -a\n"),
            ("rump-host-tap-create.8", " [--address ADDRESS/LENGTH] ... "),
            ("rump-sysctl.8", " [NAME[=VALUE]] ...\n"),
            ("rump_server.1", "[-c NUMBER] "),
        ] {
            assert!(text(page).contains(line), "{page}: {line}: {}", text(page));
        }
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
