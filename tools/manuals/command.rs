//! The page of the command line, from what clap knows of it.

use clap::Arg;
use clap::Command;
use clap::builder::StyledStr;
use humble_broker::config::DEFAULT_FILE;

use crate::roff::Page;

/// The page of `command`, with the table of exit codes out of `readme`.
pub fn page(mut command: Command, readme: &str, date: &str) -> Result<String, String> {
    command.build();
    let about = text(command.get_about());
    let mut page =
        Page::new(command.get_name(), 1, date, about.trim_start_matches("A ").trim_end_matches('.'));
    page.section("SYNOPSIS");
    page.paragraph(&usage(&command));
    page.section("DESCRIPTION");
    paragraphs(&mut page, &text(command.get_long_about()));
    let headings = command.get_arguments().filter_map(Arg::get_help_heading);
    let mut headings: Vec<_> = headings.map(Some).collect();
    headings.insert(0, None);
    headings.dedup();
    for heading in headings {
        page.section(&heading.unwrap_or("Options").to_uppercase());
        options(&mut page, command.get_arguments().filter(|arg| arg.get_help_heading() == heading));
    }
    page.section("COMMANDS");
    commands(&mut page, &command);
    page.section("SIGNALS");
    page.item("`SIGTERM`, `SIGINT`", "The sessions end, then the broker. A second one cuts that short.");
    page.item("`SIGHUP`", "The configuration is read again, and every file that it names.");
    exit_status(&mut page, readme)?;
    page.section("ENVIRONMENT");
    page.item("`HUMBLE_BROKER_CONFIG`", "The configuration file, if `--config` names none.");
    page.item("`HUMBLE_BROKER_`SECTION`__`KEY", "Any key of the configuration: see `broker.toml`(5).");
    page.item("`NOTIFY_SOCKET`, `WATCHDOG_USEC`, `LISTEN_FDS`", "Those of systemd: see `sd_notify`(3).");
    page.section("FILES");
    page.item(&format!("`{DEFAULT_FILE}`"), "The configuration, if no other file is named.");
    page.section("SEE ALSO");
    page.paragraph("`broker.toml`(5); the documents in /usr/share/doc/socketio-humble-broker");
    Ok(page.finish())
}

/// Every command that does something, however deep it is.
fn commands(page: &mut Page, above: &Command) {
    for command in above.get_subcommands().filter(|command| command.get_name() != "help") {
        if command.has_subcommands() {
            commands(page, command);
            continue;
        }
        page.subsection(&usage(command).replace('`', ""));
        paragraphs(page, &text(command.get_long_about().or(command.get_about())));
        // What they all have is told above, and how to ask for help.
        let own = |arg: &&Arg| !arg.is_global_set() && arg.get_id() != "help";
        options(page, command.get_arguments().filter(own));
    }
}

/// How `command` is called, its name in bold.
fn usage(command: &Command) -> String {
    let name = command.get_bin_name().unwrap_or_else(|| command.get_name());
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ");
    format!("`{name}`{}", usage.strip_prefix(name).unwrap_or(usage))
}

fn options<'a>(page: &mut Page, arguments: impl Iterator<Item = &'a Arg>) {
    for argument in arguments {
        let short = argument.get_short().map(|short| format!("`-{short}`"));
        let long = argument.get_long().map(|long| format!("`--{long}`"));
        let mut tag = [short, long].into_iter().flatten().collect::<Vec<_>>().join(", ");
        let mut defaults = argument.get_default_values().iter().map(|value| value.to_string_lossy());
        let mut default = None;
        if argument.get_action().takes_values() {
            tag = [&tag, argument.get_value_names().unwrap_or_default().join(" ").as_str()].join(" ");
            default = defaults.next().map(|value| format!(" Default: `{value}`."));
        }
        let help = text(argument.get_long_help().or(argument.get_help()));
        let (first, more) = help.split_once("\n\n").unwrap_or((&help, ""));
        page.item(tag.trim(), &(sentence(first) + &default.unwrap_or_default()));
        for paragraph in more.split("\n\n").filter(|paragraph| !paragraph.is_empty()) {
            page.more(&sentence(paragraph));
        }
    }
}

fn paragraphs(page: &mut Page, text: &str) {
    for paragraph in text.split("\n\n") {
        page.paragraph(&sentence(paragraph));
    }
}

/// clap takes the full stop off.
fn sentence(text: &str) -> String {
    format!("{}.", text.trim_end().trim_end_matches('.'))
}

fn text(styled: Option<&StyledStr>) -> String {
    styled.map(ToString::to_string).unwrap_or_default()
}

/// The table of exit codes, as the README has it.
fn exit_status(page: &mut Page, readme: &str) -> Result<(), String> {
    let (_, table) =
        readme.split_once("\n| exit code | when |\n").ok_or("the README has no table of exit codes")?;
    page.section("EXIT STATUS");
    for row in table.lines().skip(1).take_while(|line| line.starts_with('|')) {
        let cells: Vec<_> = row.trim_matches(['|', ' ']).splitn(2, '|').map(str::trim).collect();
        let [code, when] = cells[..] else { return Err(format!("`{row}` has no two cells")) };
        page.item(&format!("`{code}`"), &sentence(when));
    }
    page.paragraph("Some actions and commands have codes of their own, which are told with them.");
    Ok(())
}

#[cfg(test)]
mod tests {
    use humble_broker::cli;

    use super::*;
    use crate::README;
    use crate::roff::words;

    /// The names of all options and commands below `command`.
    fn names(command: &Command) -> Vec<String> {
        let longs = command.get_arguments().filter_map(Arg::get_long).map(|long| format!("--{long}"));
        let mut names: Vec<_> = longs.collect();
        for below in command.get_subcommands() {
            names.push(below.get_name().to_owned());
            names.extend(self::names(below));
        }
        names
    }

    #[test]
    fn every_option_and_every_command_is_on_the_page() {
        let mut command = cli::command();
        command.build();
        let names = names(&command);
        assert!(names.len() >= 14 && names.contains(&"reload".to_owned()), "{names:?}");
        let page = words(&page(cli::command(), README, "2023-11-14").unwrap());
        for name in names {
            assert!(page.iter().any(|word| word.trim_end_matches(',') == name), "{name}: {page:?}");
        }
    }

    #[test]
    fn every_exit_code_is_on_the_page() {
        let text = page(cli::command(), README, "2023-11-14").unwrap();
        for code in [0, 64, 69, 70, 78] {
            assert!(text.contains(&format!("\n.TP\n\\fB{code}\\fR\n")), "{code}: {text}");
        }
        assert!(page(cli::command(), "no table", "2023-11-14").is_err());
    }
}
