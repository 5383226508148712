//! A manual page, as it is written down: the macros of man(7).

/// A page that grows at its end.
pub struct Page(String);

impl Page {
    /// A page called `title`, like `broker.toml`, in `section`; `name` says in one line what it is about.
    pub fn new(title: &str, section: u8, date: &str, name: &str) -> Self {
        let program = concat!("socketio\\-humble\\-broker ", env!("CARGO_PKG_VERSION"));
        let heading = escaped(&title.to_uppercase());
        let mut page = Self(format!(".TH \"{heading}\" {section} \"{date}\" \"{program}\"\n"));
        page.section("NAME");
        // Indexes of manual pages are made from this line.
        page.line(&format!("{} \\- {}", escaped(title), escaped(name)));
        page
    }

    pub fn section(&mut self, title: &str) {
        self.line(&format!(".SH \"{}\"", escaped(title)));
    }

    pub fn subsection(&mut self, title: &str) {
        self.line(&format!(".SS \"{}\"", escaped(title)));
    }

    pub fn paragraph(&mut self, text: &str) {
        self.separate();
        self.line(&marked(text));
    }

    /// A further paragraph of the item before it.
    pub fn more(&mut self, text: &str) {
        self.line(".IP");
        self.line(&marked(text));
    }

    /// What `tag` means; the tag is written as [`marked`] understands it.
    pub fn item(&mut self, tag: &str, text: &str) {
        self.line(".TP");
        self.line(&marked(tag));
        self.line(&marked(text));
    }

    /// Text that keeps its lines.
    pub fn literal<'a>(&mut self, lines: impl IntoIterator<Item = &'a str>) {
        self.separate();
        self.line(".RS 4");
        self.line(".EX");
        for line in lines {
            self.line(&guarded(&escaped(line)));
        }
        self.line(".EE");
        self.line(".RE");
    }

    /// What follows belongs to the item before it, until [`Page::outdent`].
    pub fn indent(&mut self) {
        self.line(".RS");
    }

    pub fn outdent(&mut self) {
        self.line(".RE");
    }

    pub fn finish(self) -> String {
        self.0
    }

    /// Begins a paragraph; after a heading there is one.
    fn separate(&mut self) {
        if !self.0.lines().last().is_some_and(|line| line.starts_with(".S")) {
            self.line(".PP");
        }
    }

    fn line(&mut self, line: &str) {
        self.0.push_str(line);
        self.0.push('\n');
    }
}

/// Words between backticks become bold, and every run of blanks and line ends one blank.
fn marked(text: &str) -> String {
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut line = String::new();
    for (index, part) in words.split('`').enumerate() {
        let is_code = index % 2 == 1;
        line.push_str(if is_code { "\\fB" } else { "" });
        line.push_str(&escaped(part));
        line.push_str(if is_code { "\\fR" } else { "" });
    }
    guarded(&line)
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\e").replace('-', "\\-").replace('"', "\\(dq")
}

/// A line of text that begins like a macro is none.
fn guarded(line: &str) -> String {
    if line.starts_with(['.', '\'']) { format!("\\&{line}") } else { line.to_owned() }
}

/// What a reader sees of a page: its words.
#[cfg(test)]
pub fn words(page: &str) -> Vec<String> {
    let is_text = |line: &&str| !line.starts_with('.') || line.starts_with(".S");
    let text = page.lines().filter(is_text).collect::<Vec<_>>().join(" ");
    let text = text.replace("\\fB", "").replace("\\fR", "").replace("\\&", "").replace("\\-", "-");
    let text = text.replace("\\(dq", "\"").replace("\\e", "\\");
    text.split_whitespace().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_no_markup() {
        let mut page = Page::new("a-page", 5, "2023-11-14", "about it");
        page.paragraph(".SH `a-b`\n is\\not a \"macro\"");
        page.literal(["'a", "  b"]);
        let text = page.finish();
        assert!(text.starts_with(".TH \"A\\-PAGE\" 5 \"2023-11-14\" \"socketio"), "{text}");
        assert!(text.contains("\n.PP\n\\&.SH \\fBa\\-b\\fR is\\enot a \\(dqmacro\\(dq\n"), "{text}");
        assert!(text.contains("\n.EX\n\\&'a\n  b\n.EE\n"), "{text}");
    }
}
