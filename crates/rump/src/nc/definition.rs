//! What `rump nc` takes: the options that netcat-openbsd(1) has, as far as they mean something here.

use clap::{Arg, ArgAction, Command};

/// Options without a value: letter and help.
const FLAGS: &[(char, &str)] = &[
    ('4', "Use IPv4, which is all that there is"),
    ('b', "Allow broadcast"),
    ('C', "Send CR LF as line-ending"),
    ('d', "Do not read from standard input"),
    ('k', "With -l: wait for another connection when one is over"),
    ('l', "Listen for a connection rather than begin one"),
    ('N', "Shut the connection down for sending at the end of standard input"),
    ('n', "Do not resolve names; they never are"),
    ('u', "Use UDP"),
    ('v', "Say what happens"),
    ('z', "Only see whether somebody listens, and send nothing"),
];

/// Options with one: letter, its name and help.
const VALUES: &[(char, &str, &str)] = &[
    ('I', "LENGTH", "Receive buffer, in bytes"),
    ('M', "TTL", "Time to live of what is sent"),
    ('O', "LENGTH", "Send buffer, in bytes"),
    ('p', "PORT", "Local port"),
    ('q', "SECONDS", "End so long after the end of standard input; never if negative"),
    ('s', "ADDRESS", "Local address"),
    ('T', "TOS", "Type of service of what is sent, a number"),
    ('W', "COUNT", "End after so many reads from the network"),
    ('w', "SECONDS", "Give up connecting, or end when nothing passes, after so long"),
];

/// The command.
pub(crate) fn command() -> Command {
    let flags = FLAGS.iter().map(|(letter, help)| argument(*letter, help).action(ArgAction::SetTrue));
    let values = VALUES
        .iter()
        .map(|(letter, name, help)| argument(*letter, help).value_name(*name).allow_hyphen_values(true));
    Command::new("nc")
        .about("Connect, listen and pass data by TCP or UDP, as netcat does, over a kernel's sockets")
        .override_usage(
            "nc [-4bCdNnuvz] [-I LENGTH] [-M TTL] [-O LENGTH] [-p PORT] [-q SECONDS] [-s ADDRESS] [-T TOS] [-W COUNT] [-w SECONDS] HOST PORT[-PORT]\n\
             nc -l [-4bCdkNnuv] [-I LENGTH] [-M TTL] [-O LENGTH] [-q SECONDS] [-T TOS] [-W COUNT] [-w SECONDS] [ADDRESS] PORT",
        )
        .args(flags.chain(values))
        .arg(Arg::new("OPERAND").num_args(0..=2).value_names(["HOST", "PORT"]).help(
            "The peer's address and port, or a range of ports, LOW-HIGH; with -l the local ones, of which the address may be left out",
        ))
        .after_help(
            "Data goes from standard input to the network and from there to standard output, until both have ended; a server \
             ends when its peer has. Without -N the end of standard input is not told to the peer. Exit status and texts \
             are those of netcat-openbsd.\n\nThe sockets are the kernel's, which passes them to this process as descriptors.",
        )
}

fn argument(letter: char, help: &'static str) -> Arg {
    Arg::new(letter.to_string()).short(letter).help(help)
}
