//! The page of the configuration, from the comments of `config/broker.toml`, which has every key.

use toml::Table;

use crate::roff::Page;

/// The page of the shipped file. It errs where the file is written in a way that would be lost here.
pub fn page(shipped: &str, date: &str) -> Result<String, String> {
    let mut page = Page::new("broker.toml", 5, date, "configuration of socketio-humble-broker");
    page.section("DESCRIPTION");
    for block in shipped.split("\n\n") {
        let lines: Vec<_> = block.lines().filter(|line| !line.is_empty()).collect();
        let settings: Vec<_> = lines.iter().copied().filter(|line| !line.starts_with('#')).collect();
        let comments: Vec<_> = lines.iter().filter_map(|line| comment(line)).collect();
        match settings[..] {
            [] => comments_alone(&mut page, &comments),
            [heading] if heading.starts_with('[') && comments.is_empty() => page.section(heading),
            [setting] if !setting.starts_with('[') && !comments.is_empty() => {
                let (key, value) =
                    setting.split_once(" = ").ok_or_else(|| format!("`{setting}` is no key and value"))?;
                key_with_comments(&mut page, key, &comments, &format!("Default: `{value}`."));
            }
            _ => return Err(format!("a heading, or a comment and one key, was expected:\n{block}")),
        }
    }
    page.section("SEE ALSO");
    page.paragraph("`socketio-humble-broker`(1), and the examples in /usr/share/doc/socketio-humble-broker");
    Ok(page.finish())
}

/// What a line says after its `#`.
fn comment(line: &str) -> Option<&str> {
    let text = line.strip_prefix('#')?;
    Some(text.strip_prefix(' ').unwrap_or(text))
}

/// A block without a setting: a key that is not set, or text.
fn comments_alone(page: &mut Page, comments: &[&str]) {
    if let [text @ .., last] = comments
        && let Some((key, _)) = last.split_once(" = ")
        && is_toml(&[last])
        && !comments.iter().any(|line| line.starts_with('['))
    {
        return key_with_comments(page, key, text, &format!("Example: `{last}`."));
    }
    for paragraph in comments.split(|line| line.is_empty()) {
        if is_toml(paragraph) || paragraph.iter().all(|line| line.starts_with("  ")) {
            page.literal(paragraph.iter().copied());
        } else {
            definitions(page, paragraph);
        }
    }
}

fn is_toml(lines: &[&str]) -> bool {
    lines.join("\n").parse::<Table>().is_ok_and(|table| !table.is_empty())
}

fn key_with_comments(page: &mut Page, key: &str, comments: &[&str], value: &str) {
    let text = comments.join("\n");
    let mut paragraphs = text.split("\n\n");
    page.item(&format!("`{key}`"), paragraphs.next().unwrap_or_default());
    paragraphs.for_each(|paragraph| page.more(paragraph));
    page.more(value);
}

/// A paragraph that may explain keys, a line `key: ` for each, which other lines continue; keys further
/// in belong to the one before.
fn definitions(page: &mut Page, lines: &[&str]) {
    let mut starts: Vec<usize> =
        (0..lines.len()).filter(|at| lines.get(*at).is_some_and(|line| defined(line).is_some())).collect();
    starts.push(lines.len());
    let text = |from, to| lines.get(from..to).unwrap_or_default().join("\n");
    let before = text(0, starts.first().copied().unwrap_or_default());
    if !before.is_empty() {
        page.paragraph(&before);
    }
    let mut is_inside = false;
    for span in starts.windows(2) {
        let [from, to] = *span else { continue };
        let explained = text(from, to);
        let Some((key, meaning)) = defined(&explained) else { continue };
        let is_deep = explained.starts_with(' ');
        match (is_inside, is_deep) {
            (false, true) => page.indent(),
            (true, false) => page.outdent(),
            _ => {}
        }
        is_inside = is_deep;
        page.item(&format!("`{key}`"), meaning);
    }
    if is_inside {
        page.outdent();
    }
}

/// The key, or the keys, that a line explains, and the beginning of their meaning.
fn defined(line: &str) -> Option<(&str, &str)> {
    let (keys, meaning) = line.trim_start().split_once(": ")?;
    let is_of_key = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '_';
    let is_key = |key: &str| !key.is_empty() && key.chars().all(is_of_key);
    keys.split(", ").all(is_key).then_some((keys, meaning))
}

#[cfg(test)]
mod tests {
    use humble_broker::config::Config;
    use humble_broker::config::SHIPPED;

    use super::*;
    use crate::roff::words;

    #[test]
    fn nothing_that_the_shipped_file_explains_is_lost() {
        let page = page(SHIPPED, "2023-11-14").unwrap();
        let mut shown = words(&page).into_iter();
        let mut count = 0;
        for line in SHIPPED.lines().filter_map(comment) {
            for word in line.split_whitespace() {
                // The mark after a key is its layout now, and the marks around one its face.
                let bare = |word: &str| word.trim_matches(['`', ':', '.']).replace('`', "");
                assert!(
                    shown.any(|shown| bare(&shown) == bare(word)),
                    "`{word}` of `{line}` is missing:\n{page}"
                );
                count += 1;
            }
        }
        assert!(count > 1000, "{count}");
    }

    #[test]
    fn every_key_has_its_default() {
        let page = page(SHIPPED, "2023-11-14").unwrap();
        let mut count = 0;
        for (section, table) in Table::try_from(Config::default()).unwrap() {
            let (_, part) = page.split_once(&format!("\n.SH \"[{section}]\"")).unwrap();
            let part = part.split("\n.SH ").next().unwrap();
            for (key, _) in table.as_table().unwrap() {
                let (_, item) = part.split_once(&format!("\n.TP\n\\fB{key}\\fR\n")).unwrap();
                let item = item.split("\n.TP\n").next().unwrap();
                assert!(item.contains("\n.IP\nDefault: \\fB"), "{section}.{key}: {item}");
                count += 1;
            }
        }
        assert!(count >= 36, "{count}");
    }

    #[test]
    fn what_would_be_lost_is_an_error() {
        for faulty in ["[a]\nb = 1", "b = 1", "# Two.\nb = 1\nc = 2", "# Lines.\nb = [\n1\n]", "# None.\nb"] {
            assert!(page(faulty, "2023-11-14").is_err(), "{faulty}");
        }
    }

    #[test]
    fn keys_in_a_paragraph_are_items() {
        let text = "# Why: because.\n# a, b: one,\n# and more: so.\n#   c_256: within\n#   it\n# d: last\n#\n# [e]\n# f = 1";
        let page = page(text, "2023-11-14").unwrap();
        let wanted = "\nWhy: because.\n.TP\n\\fBa, b\\fR\none, and more: so.\n.RS\n.TP\n\\fBc_256\\fR\nwithin it\n.RE\n\
            .TP\n\\fBd\\fR\nlast\n.PP\n.RS 4\n.EX\n[e]\nf = 1\n.EE\n.RE\n";
        assert!(page.contains(wanted), "{page}");
    }
}
