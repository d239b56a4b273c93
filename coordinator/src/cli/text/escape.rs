//! Text from elsewhere is shown, never obeyed: a host name with an escape sequence must not move the cursor,
//! and one with a right-to-left mark must not read as another name.

use std::borrow::Cow;

/// Characters that act on a terminal, or that change how their neighbours read.
pub fn is_hostile(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{180e}' // soft hyphen, joiner, separator: nothing to see
            | '\u{61c}'               // Arabic letter mark, a direction mark too
            | '\u{115f}' | '\u{1160}' | '\u{3164}' | '\u{ffa0}' // fillers
            | '\u{200b}'..='\u{200f}' // zero width, direction marks
            | '\u{2028}'..='\u{202e}' // separators, embeddings, overrides
            | '\u{2060}'..='\u{206f}' // invisible operators, isolates
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}' // annotations
            | '\u{e0000}'..='\u{e0fff}') // tags, selectors
}

/// One line without hostile characters; each is replaced by its escape.
pub fn clean(text: &str) -> Cow<'_, str> {
    if !text.contains(is_hostile) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if is_hostile(c) {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

/// Several lines as one, for a row of a table or of a log.
pub fn flat(text: &str) -> String {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let lines: Vec<Cow<'_, str>> = lines.map(clean).collect();
    lines.join("; ")
}

/// Several lines: line ends stay, everything else is as in [`clean`].
pub fn clean_lines(text: &str) -> Vec<Cow<'_, str>> {
    text.lines().map(clean).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_characters_become_visible() {
        for (text, want) in [
            ("plain – text ✓", "plain – text ✓"),
            ("a\x1b[2Jb", "a\\u{1b}[2Jb"),
            ("a\nb\tc\r", "a\\nb\\tc\\r"),
            ("\u{9b}31m", "\\u{9b}31m"),
            ("\u{7f}", "\\u{7f}"),
            ("cp1\u{202e}2pc", "cp1\\u{202e}2pc"),
            ("a\u{200b}b", "a\\u{200b}b"),
            ("a\u{61c}b\u{ad}c", "a\\u{61c}b\\u{ad}c"),
            ("a\u{3164}b\u{e0100}", "a\\u{3164}b\\u{e0100}"),
        ] {
            assert_eq!(clean(text), want);
        }
    }

    #[test]
    fn a_problem_fits_one_line() {
        assert_eq!(
            flat("it failed (n1)\n  cause: no\x07 disk\n\n  next:  get one\n"),
            "it failed (n1); cause: no\\u{7} disk; next:  get one"
        );
        assert_eq!(flat("plain"), "plain");
    }

    #[test]
    fn lines_stay_lines() {
        assert_eq!(clean_lines("one\ntwo\x07\r\n"), ["one", "two\\u{7}"]);
    }
}
