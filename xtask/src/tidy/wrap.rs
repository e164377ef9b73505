//! Breaking comments that run past the width: the one finding a machine can mend. Only paragraphs
//! that hold a line too long are touched, and only prose: lists, tables, headings and code in
//! comments keep their lines.

const COLUMNS: usize = 100;

/// The text of a Rust file with its over-long comment paragraphs broken anew.
pub fn comments(text: &str) -> String {
    let mut out: Vec<String> = Vec::new();
    let mut paragraph: Vec<&str> = Vec::new();
    let mut fenced = false;
    for line in text.lines() {
        let comment = Comment::of(line);
        if comment.as_ref().is_some_and(|it| it.words.starts_with("```")) {
            fenced = !fenced;
        }
        let continues = comment.as_ref().is_some_and(|it| !fenced && it.is_prose())
            && paragraph.first().is_none_or(|first| Comment::same_kind(first, line));
        if !continues {
            flush(&mut paragraph, &mut out);
        }
        match comment {
            Some(it) if !fenced && it.may_begin() => paragraph.push(line),
            _ => out.push(line.to_owned()),
        }
    }
    flush(&mut paragraph, &mut out);
    let mut wrapped = out.join("\n");
    if text.ends_with('\n') {
        wrapped.push('\n');
    }
    wrapped
}

struct Comment<'a> {
    /// Indentation and slashes.
    mark: &'a str,
    /// The spaces after the slashes.
    gap: &'a str,
    words: &'a str,
}

impl Comment<'_> {
    fn of(line: &str) -> Option<Comment<'_>> {
        let inside = line.trim_start();
        let indent = line.len() - inside.len();
        let slashes = ["///", "//!", "//"].into_iter().find(|mark| inside.starts_with(mark))?;
        let (mark, rest) = line.split_at(indent + slashes.len());
        let words = rest.trim_start();
        Some(Comment { mark, gap: &rest[..rest.len() - words.len()], words })
    }

    fn same_kind(a: &str, b: &str) -> bool {
        match (Comment::of(a), Comment::of(b)) {
            (Some(a), Some(b)) => a.mark == b.mark,
            _ => false,
        }
    }

    /// A line that goes on with the paragraph before it.
    fn is_prose(&self) -> bool {
        self.gap.len() == 1 && self.may_begin()
    }

    /// A line that can be the first of a paragraph which may be broken anew.
    fn may_begin(&self) -> bool {
        const KEEP: [&str; 9] = ["#", "|", "- ", "* ", "> ", "```", "[", "1.", "+-"];
        let numbered = self.words.split_once(". ").is_some_and(|(number, _)| {
            !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
        });
        self.gap.len() <= 1
            && !self.words.is_empty()
            && !numbered
            && !KEEP.iter().any(|start| self.words.starts_with(start))
    }
}

fn flush(paragraph: &mut Vec<&str>, out: &mut Vec<String>) {
    let too_long = paragraph.iter().any(|line| line.chars().count() > COLUMNS);
    if !too_long {
        out.extend(paragraph.drain(..).map(str::to_owned));
        return;
    }
    let mark = Comment::of(paragraph[0]).expect("a paragraph holds comments").mark.to_owned();
    let words = paragraph.drain(..).filter_map(Comment::of).flat_map(|it| it.words.split(' '));
    let mut line = mark.clone();
    for word in words.filter(|word| !word.is_empty()) {
        let full = line.chars().count() + 1 + word.chars().count() > COLUMNS;
        if full && line.len() > mark.len() {
            out.push(std::mem::replace(&mut line, mark.clone()));
        }
        line.push(' ');
        line.push_str(word);
    }
    out.push(line);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_paragraphs_with_a_long_line_change() {
        let long =
            format!("//! {}\n//! and more.\n//!\n//! short\n//! lines\n", "word ".repeat(25));
        let wrapped = comments(&long);
        assert!(wrapped.lines().all(|line| line.chars().count() <= COLUMNS), "{wrapped}");
        assert!(wrapped.ends_with("//!\n//! short\n//! lines\n"), "{wrapped}");
        let before: Vec<&str> = long.split_whitespace().filter(|it| *it != "//!").collect();
        let after: Vec<&str> = wrapped.split_whitespace().filter(|it| *it != "//!").collect();
        assert_eq!(before, after);
        assert_eq!(comments(&wrapped), wrapped);
    }

    #[test]
    fn code_lists_and_tables_keep_their_lines() {
        let wide = "w ".repeat(60);
        for start in ["- ", "| ", "# ", "  indented "] {
            let text = format!("/// {start}{wide}\nfn a() {{}}\n");
            assert_eq!(comments(&text), text);
        }
        let fenced = format!("/// ```\n/// {wide}\n/// ```\nlet a = \"// {wide}\";\n");
        assert_eq!(comments(&fenced), fenced);
    }

    #[test]
    fn indentation_and_kind_of_comment_are_kept() {
        let text = format!("    /// {}\n    // other\n", "word ".repeat(25));
        let wrapped = comments(&text);
        let marks: Vec<&str> = wrapped.lines().map(|line| &line[..7]).collect();
        assert_eq!(marks, ["    ///", "    ///", "    // "]);
    }
}
