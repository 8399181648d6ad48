//! How text is taken apart into tokens.

use std::borrow::Cow;

/// Prefixes are not longer than this, so that a long word does not become a flood of them.
pub const PREFIX_CHARS_MAX: usize = 64;

/// How text is taken apart, in documents and in queries alike.
///
/// ```
/// use nearline::{TextOptions, Tokenizer, filter::tokenize};
///
/// let options = TextOptions::default();
/// assert_eq!(tokenize(&options, "The quick, brown fox"), ["the", "quick", "brown", "fox"]);
/// let options = TextOptions { tokenizer: Tokenizer::Prefix, min_token_len: Some(2), ..options };
/// assert_eq!(tokenize(&options, "Fox"), ["fo", "fox"]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TextOptions {
    /// Where tokens begin and end.
    pub tokenizer: Tokenizer,
    /// Whether tokens are put in lower case.
    pub lowercase: bool,
    /// Tokens with fewer characters are left out; of [`Tokenizer::Prefix`] the characters of the shortest prefix.
    pub min_token_len: Option<usize>,
    /// Tokens with more characters are left out; of [`Tokenizer::Prefix`] the characters of the longest prefix,
    /// which are never more than [`PREFIX_CHARS_MAX`].
    pub max_token_len: Option<usize>,
}

/// Where tokens begin and end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Tokenizer {
    /// Letters and digits in a row.
    #[default]
    Word,
    /// Whatever stands between spaces, with its punctuation.
    Whitespace,
    /// All beginnings of a word, so that half a word finds it.
    Prefix,
    /// As [`Tokenizer::Word`], but in scripts that write no spaces every character is a token: Chinese, Japanese,
    /// Thai, Lao, Burmese, Khmer.
    Multilingual,
}

impl Default for TextOptions {
    /// Words of any length in lower case.
    fn default() -> Self {
        Self { tokenizer: Tokenizer::Word, lowercase: true, min_token_len: None, max_token_len: None }
    }
}

/// The tokens of a text of a payload, in order, repeated as they are in the text.
pub fn tokenize(options: &TextOptions, text: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    each_token(options, text, |token| tokens.push(token.to_owned()));
    tokens
}

/// The tokens that a text of a query looks for: as [`tokenize`], but of each word only its longest prefix.
pub fn tokenize_query(options: &TextOptions, text: &str) -> Vec<String> {
    if options.tokenizer != Tokenizer::Prefix {
        return tokenize(options, text);
    }
    let words = words(options, text).into_iter();
    words.map(|word| word[..chars_end(&word, longest_prefix(options))].to_owned()).collect()
}

/// The words of a text, in order: what a phrase is made of. Of all tokenizers but [`Tokenizer::Prefix`] the tokens.
pub(crate) fn words(options: &TextOptions, text: &str) -> Vec<String> {
    let mut words = Vec::new();
    each_word(options, text, |word| words.push(word.to_owned()));
    words
}

/// Calls back for every token of a text, in order.
pub(crate) fn each_token(options: &TextOptions, text: &str, mut take: impl FnMut(&str)) {
    if options.tokenizer != Tokenizer::Prefix {
        return each_word(options, text, take);
    }
    let (shortest, longest) = (options.min_token_len.unwrap_or(1).max(1), longest_prefix(options));
    each_word(options, text, |word| {
        for chars in shortest..=longest {
            let end = chars_end(word, chars);
            take(&word[..end]);
            if end == word.len() {
                break;
            }
        }
    });
}

/// Characters of a prefix at most.
fn longest_prefix(options: &TextOptions) -> usize {
    options.max_token_len.map_or(PREFIX_CHARS_MAX, |max| max.min(PREFIX_CHARS_MAX))
}

/// Calls back for every word; of all tokenizers but the one by prefixes, for those of the right length.
fn each_word(options: &TextOptions, text: &str, mut take: impl FnMut(&str)) {
    let mut token = |word: &str| {
        let lower = if options.lowercase { Cow::Owned(word.to_lowercase()) } else { Cow::Borrowed(word) };
        if !word.is_empty() && has_length(options, &lower) {
            take(&lower);
        }
    };
    let alphanumeric = |text: &str, token: &mut dyn FnMut(&str)| {
        text.split(|c: char| !c.is_alphanumeric()).for_each(token);
    };
    match options.tokenizer {
        Tokenizer::Whitespace => text.split_whitespace().for_each(token),
        Tokenizer::Word | Tokenizer::Prefix => alphanumeric(text, &mut token),
        Tokenizer::Multilingual => {
            for piece in text.split_inclusive(without_spaces) {
                let last = piece.chars().next_back().filter(|&c| without_spaces(c)).map_or(0, char::len_utf8);
                let (before, single) = piece.split_at(piece.len() - last);
                alphanumeric(before, &mut token);
                token(single);
            }
        }
    }
}

fn has_length(options: &TextOptions, word: &str) -> bool {
    let (min, max) = (options.min_token_len, options.max_token_len);
    if options.tokenizer == Tokenizer::Prefix || (min.is_none() && max.is_none()) {
        return true;
    }
    (min.unwrap_or(0)..=max.unwrap_or(usize::MAX)).contains(&word.chars().count())
}

/// The bytes of the first characters of a word, or of the whole word.
fn chars_end(word: &str, chars: usize) -> usize {
    word.char_indices().nth(chars).map_or(word.len(), |(at, _)| at)
}

/// Letters of scripts that put no spaces between words.
fn without_spaces(c: char) -> bool {
    c.is_alphanumeric()
        && matches!(c,
            '\u{0e00}'..='\u{0eff}' // Thai, Lao
            | '\u{1000}'..='\u{109f}' // Burmese
            | '\u{1780}'..='\u{17ff}' // Khmer
            | '\u{3005}'..='\u{3007}' | '\u{3040}'..='\u{30ff}' | '\u{31f0}'..='\u{31ff}' // Japanese
            | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' // Chinese
            | '\u{20000}'..='\u{323af}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn options(tokenizer: Tokenizer, min: usize, max: usize) -> TextOptions {
        let length = |len| (len > 0).then_some(len);
        TextOptions { tokenizer, min_token_len: length(min), max_token_len: length(max), lowercase: true }
    }

    #[test]
    fn texts_are_taken_apart() {
        use Tokenizer::{Multilingual, Prefix, Whitespace, Word};
        let cases: [(TextOptions, &str, &[&str]); 14] = [
            (options(Word, 0, 0), "", &[]),
            (options(Word, 0, 0), " -- ", &[]),
            (options(Word, 0, 0), "Don't STOP, 2nd\tÉcole_x", &["don", "t", "stop", "2nd", "école", "x"]),
            (options(Word, 2, 4), "a bb cccc ddddd éé", &["bb", "cccc", "éé"]),
            (options(Whitespace, 0, 0), "Don't  STOP,\n2nd", &["don't", "stop,", "2nd"]),
            (options(Whitespace, 3, 0), "a,, bb ccc", &["a,,", "ccc"]),
            (options(Prefix, 0, 0), "Ab, Éc", &["a", "ab", "é", "éc"]),
            (options(Prefix, 2, 3), "abcd x yz", &["ab", "abc", "x", "yz"]),
            (options(Prefix, 5, 2), "abcd", &[]),
            (options(Multilingual, 0, 0), "東京Tower 2階", &["東", "京", "tower", "2", "階"]),
            (options(Multilingual, 0, 0), "ひらがな。カナ", &["ひ", "ら", "が", "な", "カ", "ナ"]),
            (options(Multilingual, 0, 0), "한국어 문장", &["한국어", "문장"]),
            (options(Multilingual, 2, 0), "東京 tower", &["tower"]),
            (TextOptions { lowercase: false, ..options(Word, 0, 0) }, "Ab aB", &["Ab", "aB"]),
        ];
        for (options, text, expected) in cases {
            assert_eq!(tokenize(&options, text), expected, "{options:?}: {text:?}");
        }
    }

    #[test]
    fn queries_look_for_the_longest_prefix() {
        let prefix = options(Tokenizer::Prefix, 2, 3);
        assert_eq!(tokenize_query(&prefix, "ABCD x yz"), ["abc", "x", "yz"]);
        assert_eq!(tokenize_query(&options(Tokenizer::Word, 2, 3), "ABC x"), ["abc"]);
    }

    proptest! {
        #[test]
        fn a_text_holds_what_a_query_of_the_same_words_looks_for(text in ".{0,30}", min in 0_usize..4, more in 0_usize..4) {
            for tokenizer in [Tokenizer::Word, Tokenizer::Whitespace, Tokenizer::Prefix, Tokenizer::Multilingual] {
                let options = options(tokenizer, min, min + more);
                let tokens = tokenize(&options, &text);
                for token in tokenize_query(&options, &text) {
                    prop_assert!(tokens.contains(&token), "{:?} in {:?}", token, tokens);
                }
            }
        }
    }
}
