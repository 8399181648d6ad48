//! Writing SVG: elements that are always closed, text that is always escaped.

use std::fmt::{self, Display, Write};

/// Attributes of an element: names and values.
pub(crate) type Attributes<'a> = &'a [(&'static str, &'a dyn Display)];

/// A document as it grows.
#[derive(Default)]
pub(crate) struct Svg {
    text: String,
    open: Vec<&'static str>,
}

impl Svg {
    /// Begins an element; what follows lies inside until [`Svg::close`].
    pub(crate) fn open(&mut self, tag: &'static str, attributes: Attributes) {
        self.start(tag, attributes, ">\n");
        self.open.push(tag);
    }

    /// Ends the element begun last.
    pub(crate) fn close(&mut self) {
        if let Some(tag) = self.open.pop() {
            self.indent();
            self.put(format_args!("</{tag}>\n"));
        }
    }

    /// An element with nothing inside.
    pub(crate) fn empty(&mut self, tag: &'static str, attributes: Attributes) {
        self.start(tag, attributes, "/>\n");
    }

    /// An element with words inside.
    pub(crate) fn words(&mut self, tag: &'static str, attributes: Attributes, words: &str) {
        self.start(tag, attributes, ">");
        self.escaped(words);
        self.put(format_args!("</{tag}>\n"));
    }

    /// The document, all elements closed.
    pub(crate) fn finish(mut self) -> String {
        while !self.open.is_empty() {
            self.close();
        }
        self.text
    }

    fn start(&mut self, tag: &str, attributes: Attributes, end: &str) {
        self.indent();
        self.put(format_args!("<{tag}"));
        for (name, value) in attributes {
            self.put(format_args!(" {name}=\""));
            self.escaped(&value.to_string());
            self.text.push('"');
        }
        self.text.push_str(end);
    }

    fn indent(&mut self) {
        self.text.extend(std::iter::repeat_n(' ', self.open.len()));
    }

    fn escaped(&mut self, words: &str) {
        for char in words.chars() {
            match char {
                '&' => self.text.push_str("&amp;"),
                '<' => self.text.push_str("&lt;"),
                '>' => self.text.push_str("&gt;"),
                '"' => self.text.push_str("&quot;"),
                // XML has no way to write these
                '\u{fffe}' | '\u{ffff}' => self.text.push(char::REPLACEMENT_CHARACTER),
                control if control.is_control() => self.text.push(char::REPLACEMENT_CHARACTER),
                other => self.text.push(other),
            }
        }
    }

    fn put(&mut self, text: fmt::Arguments) {
        let _ = self.text.write_fmt(text); // a String takes everything
    }
}

/// A length or position, with as many digits as an eye can see.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Px(pub(crate) f64);

impl Display for Px {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", (self.0 * 10.0).round() / 10.0)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Fails unless every element is closed, in order, and every text is escaped. Returns the names of all elements.
    #[track_caller]
    pub(crate) fn well_formed(svg: &str) -> Vec<String> {
        let (mut open, mut names, mut rest) = (Vec::new(), Vec::new(), svg);
        while let Some(start) = rest.find('<') {
            assert!(!rest[..start].contains('>'), "{}", &rest[..start]);
            let end = start + rest[start..].find('>').expect("an end of the tag");
            let tag = &rest[start + 1..end];
            assert!(!tag.contains('<') && tag.matches('"').count() % 2 == 0, "{tag}");
            let name: String =
                tag.trim_start_matches('/').chars().take_while(|c| c.is_alphanumeric()).collect();
            match (tag.starts_with('/'), tag.ends_with('/')) {
                (true, _) => assert_eq!(open.pop(), Some(name), "{tag}"),
                (false, true) => names.push(name),
                (false, false) => {
                    names.push(name.clone());
                    open.push(name);
                }
            }
            rest = &rest[end + 1..];
        }
        assert!(open.is_empty() && !rest.contains('>'), "{open:?} {rest}");
        for (at, _) in svg.match_indices('&') {
            assert!(["&amp;", "&lt;", "&gt;", "&quot;"].iter().any(|known| svg[at..].starts_with(known)));
        }
        names
    }

    #[test]
    fn elements_are_closed_and_text_escaped() {
        let mut svg = Svg::default();
        svg.open("svg", &[("width", &Px(10.04)), ("aria-label", &"a \"b\" & <c>\u{1}")]);
        svg.open("g", &[]);
        svg.empty("rect", &[("x", &Px(-0.26))]);
        svg.words("text", &[], "1 < 2 && 3 > 2");
        let text = svg.finish();
        assert_eq!(well_formed(&text), ["svg", "g", "rect", "text"]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "<svg width=\"10\" aria-label=\"a &quot;b&quot; &amp; &lt;c&gt;\u{fffd}\">");
        assert_eq!(lines[2], "  <rect x=\"-0.3\"/>");
        assert_eq!(lines[3], "  <text>1 &lt; 2 &amp;&amp; 3 &gt; 2</text>");
        assert_eq!(lines[4..], [" </g>", "</svg>"]);
    }
}
