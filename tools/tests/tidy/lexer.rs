//! As much of Rust's grammar as the rules need: what is code, what is a comment, what is a string; where functions
//! and test-only items begin and end.

use std::ops::Range;

/// A source with its strings and comments taken apart.
#[derive(Debug)]
pub(crate) struct Source {
    /// The code: every byte of a comment or literal is a space, so offsets and lines stay.
    pub(crate) code: String,
    /// Comments with the offset of their first byte, in order.
    pub(crate) comments: Vec<(usize, String)>,
}

/// A function with a body.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Function {
    pub(crate) name: String,
    /// From the `f` of `fn` up to the closing brace.
    pub(crate) bytes: Range<usize>,
}

impl Source {
    /// Takes a text apart. Whatever is never closed goes on to the end.
    pub(crate) fn new(text: &str) -> Self {
        let mut masked = text.as_bytes().to_vec();
        let mut comments = Vec::new();
        let mut at = 0;
        while at < text.len() {
            let (end, kind) = piece(text, at);
            match kind {
                Piece::Code => {}
                Piece::Comment => {
                    comments.push((at, text[at..end].to_owned()));
                    blank(&mut masked[at..end]);
                }
                Piece::Literal => blank(&mut masked[at..end]),
            }
            at = end;
        }
        Self { code: String::from_utf8_lossy(&masked).into_owned(), comments }
    }

    /// The identifiers and keywords of the code, with their offsets.
    pub(crate) fn identifiers(&self) -> impl Iterator<Item = (usize, &str)> {
        let code = &self.code;
        let mut at = 0;
        std::iter::from_fn(move || {
            while at < code.len() {
                let start = at;
                while at < code.len() && is_word(code.as_bytes()[at]) {
                    at += 1;
                }
                if at > start {
                    return Some((start, &code[start..at]));
                }
                at += 1;
                while at < code.len() && !code.is_char_boundary(at) {
                    at += 1;
                }
            }
            None
        })
    }

    /// What follows an offset, without leading spaces.
    pub(crate) fn after(&self, offset: usize) -> &str {
        self.code[offset..].trim_start()
    }

    /// Every function that has a body, methods and nested ones included.
    pub(crate) fn functions(&self) -> Vec<Function> {
        let starts = self.identifiers().filter(|&(_, word)| word == "fn");
        starts.filter_map(|(start, _)| self.function(start)).collect()
    }

    fn function(&self, start: usize) -> Option<Function> {
        let name = self.after(start + 2);
        let end = name.bytes().position(|byte| !is_word(byte)).unwrap_or(name.len());
        // `fn(u32) -> u32` is a type.
        (end > 0).then_some(())?;
        let open = self.body(start)?;
        let close = self.closing(open);
        Some(Function { name: name[..end].to_owned(), bytes: start..close })
    }

    /// The opening brace of the item that begins at `start`, unless a semicolon ends it first.
    fn body(&self, start: usize) -> Option<usize> {
        let mut depth = 0_usize;
        for (at, byte) in self.code.bytes().enumerate().skip(start) {
            match byte {
                b'(' | b'[' => depth += 1,
                b')' | b']' => depth = depth.saturating_sub(1),
                b'{' if depth == 0 => return Some(at),
                b';' if depth == 0 => return None,
                _ => {}
            }
        }
        None
    }

    /// The offset behind the brace that closes the one at `open`.
    fn closing(&self, open: usize) -> usize {
        let mut depth = 0_usize;
        for (at, byte) in self.code.bytes().enumerate().skip(open) {
            match byte {
                b'{' => depth += 1,
                b'}' if depth == 1 => return at + 1,
                b'}' => depth -= 1,
                _ => {}
            }
        }
        self.code.len()
    }

    /// The items that only tests see: those under `#[cfg(test)]`, attribute included.
    pub(crate) fn test_items(&self) -> Vec<Range<usize>> {
        let mut items: Vec<Range<usize>> = Vec::new();
        for marker in ["#[cfg(test)]", "#[cfg(all(test,"] {
            for (start, _) in self.code.match_indices(marker) {
                let after = start + self.code[start..].find(']').map_or(0, |end| end + 1);
                let end = match self.body(after) {
                    Some(open) => self.closing(open),
                    None => after + self.code[after..].find(';').map_or(0, |end| end + 1),
                };
                items.push(start..end);
            }
        }
        items
    }

    /// The line an offset lies on, from 1.
    pub(crate) fn line(&self, offset: usize) -> usize {
        1 + self.code[..offset].bytes().filter(|&byte| byte == b'\n').count()
    }

    /// The lines a range of bytes touches.
    pub(crate) fn lines_in(&self, bytes: &Range<usize>) -> usize {
        1 + self.line(bytes.end) - self.line(bytes.start)
    }
}

enum Piece {
    Code,
    Comment,
    Literal,
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

fn blank(bytes: &mut [u8]) {
    bytes.iter_mut().filter(|byte| **byte != b'\n').for_each(|byte| *byte = b' ');
}

/// The piece that begins at `at`: its end and what it is.
fn piece(text: &str, at: usize) -> (usize, Piece) {
    let rest = &text[at..];
    if rest.starts_with("//") {
        return (at + rest.find('\n').unwrap_or(rest.len()), Piece::Comment);
    }
    if rest.starts_with("/*") {
        return (at + block_comment(rest), Piece::Comment);
    }
    if let Some(end) = raw_string(text, at) {
        return (end, Piece::Literal);
    }
    if rest.starts_with('"') {
        return (at + quoted(rest, '"'), Piece::Literal);
    }
    if rest.starts_with('\'') && is_char(rest) {
        return (at + quoted(rest, '\''), Piece::Literal);
    }
    (at + rest.chars().next().map_or(1, char::len_utf8), Piece::Code)
}

/// Bytes of a block comment; they nest.
fn block_comment(rest: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < rest.len() {
        match rest.as_bytes().get(at..at + 2) {
            Some(b"/*") => (depth, at) = (depth + 1, at + 2),
            Some(b"*/") if depth == 1 => return at + 2,
            Some(b"*/") => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
    }
    rest.len()
}

/// The end of a raw string that begins at `at` with its `r`.
fn raw_string(text: &str, at: usize) -> Option<usize> {
    let before = text.as_bytes()[..at].last().copied().unwrap_or(b' ');
    let starts_word = !is_word(before) || matches!(before, b'b' | b'c');
    let hashed = text[at..].strip_prefix('r').filter(|_| starts_word)?;
    let body = hashed.trim_start_matches('#');
    let hashes = hashed.len() - body.len();
    let body = body.strip_prefix('"')?;
    let start = text.len() - body.len();
    let close = format!("\"{}", "#".repeat(hashes));
    Some(body.find(&close).map_or(text.len(), |end| start + end + close.len()))
}

/// Bytes of a literal between two quotes.
fn quoted(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// Whether an apostrophe begins a character and no lifetime.
fn is_char(rest: &str) -> bool {
    let mut chars = rest.chars().skip(1);
    matches!((chars.next(), chars.next()), (Some('\\'), _) | (Some(_), Some('\'')))
}

#[cfg(test)]
mod planted {
    use super::*;

    fn code(text: &str) -> String {
        Source::new(text).code
    }

    #[test]
    fn strings_and_comments_are_no_code() {
        for (text, expected) in [
            ("a \"b { \\\" c\" d", "a d"),
            ("a // { b\nc", "a c"),
            ("a /* { /* } */ { */ b", "a b"),
            ("r#\"{ \" }\"# x", "x"),
            ("br\"{\" x", "b x"),
            ("b'{' '{' '\\'' '\u{fc}' x", "b x"),
            ("\"\u{fc}", ""),
        ] {
            assert_eq!(code(text).len(), text.len());
            assert_eq!(code(text).split_whitespace().collect::<Vec<_>>().join(" "), expected, "{text}");
        }
    }

    #[test]
    fn lifetimes_and_raw_identifiers_are_code() {
        for text in ["fn f<'a>(x: &'a str) -> &'static str { x }", "let r#type = for_r; 'outer: loop {}"] {
            assert_eq!(code(text), text);
        }
    }

    #[test]
    fn comments_are_kept() {
        let source = Source::new("/// One.\nfn f() {} // two");
        let texts: Vec<&str> = source.comments.iter().map(|(_, text)| text.as_str()).collect();
        assert_eq!(texts, ["/// One.", "// two"]);
    }

    #[test]
    fn functions_end_at_their_own_brace() {
        let text = "fn a(f: fn(u8), x: [u8; 2]) {\n  let s = \"}\"; // }\n  match x { _ => {} }\n}\nfn b();\nfn c() {}";
        let source = Source::new(text);
        let found: Vec<_> =
            source.functions().into_iter().map(|f| (f.name, source.lines_in(&f.bytes))).collect();
        assert_eq!(found, [("a".to_owned(), 4), ("c".to_owned(), 1)]);
    }

    #[test]
    fn test_items_are_found_with_and_without_a_body() {
        let source =
            Source::new("fn a() {}\n#[cfg(test)]\nmod tests {\n fn b() {}\n}\n#[cfg(test)]\nuse x;\n");
        let lines: Vec<_> = source.test_items().iter().map(|item| source.lines_in(item)).collect();
        assert_eq!(lines, [4, 2]);
        assert!(Source::new("#[cfg(any(test, feature = \"sim\"))]\nmod sim;").test_items().is_empty());
    }

    #[test]
    fn what_is_never_closed_goes_on_to_the_end() {
        for text in ["\"abc", "/* abc", "r##\"abc\"#", "fn f() { {", "'\\"] {
            let source = Source::new(text);
            assert!(source.code.len() == text.len() && source.functions().len() <= 1, "{text}");
        }
    }
}
