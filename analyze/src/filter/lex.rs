//! A filter's words.

use super::FilterError;

/// A word of a filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) kind: TokenKind,
    /// The place of its first character, from 1.
    pub(super) at: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum TokenKind {
    /// A name, a number, an address, a time …: what it is, its place says.
    Word(String),
    Quoted(String),
    Symbol(&'static str),
    End,
}

/// The longer before those that they begin with.
const SYMBOLS: [&str; 11] = ["==", "!=", "<>", "<=", ">=", "=", "<", ">", "(", ")", ","];

impl Token {
    /// How it is called where it is not expected.
    pub(super) fn describe(&self) -> String {
        match &self.kind {
            TokenKind::Word(text) => format!("\"{text}\""),
            TokenKind::Quoted(text) => format!("the text '{text}'"),
            TokenKind::Symbol(symbol) => format!("\"{symbol}\""),
            TokenKind::End => "the end".to_owned(),
        }
    }

    /// Whether it is that keyword, in small letters or capitals.
    pub(super) fn is(&self, keyword: &str) -> bool {
        matches!(&self.kind, TokenKind::Word(word) if word.eq_ignore_ascii_case(keyword))
    }
}

/// The words of `text`, and the end.
pub(super) fn tokens(text: &str) -> Result<Vec<Token>, FilterError> {
    let mut tokens = Vec::new();
    let mut rest = text;
    // Places are told in characters.
    let mut at = 1;
    loop {
        let trimmed = rest.trim_start();
        at += characters(rest) - characters(trimmed);
        rest = trimmed;
        let (kind, length) = next(rest, at)?;
        let is_end = kind == TokenKind::End;
        tokens.push(Token { kind, at });
        if is_end {
            return Ok(tokens);
        }
        let (taken, left) = rest.split_at(length);
        at += characters(taken);
        rest = left;
    }
}

fn characters(text: &str) -> usize {
    text.chars().count()
}

/// The first token of `rest`, and how many bytes it takes.
fn next(rest: &str, at: usize) -> Result<(TokenKind, usize), FilterError> {
    let Some(first) = rest.chars().next() else {
        return Ok((TokenKind::End, 0));
    };
    if first == '\'' || first == '"' {
        return quoted(rest, first).ok_or(FilterError::OpenQuote { at });
    }
    if let Some(symbol) = SYMBOLS.into_iter().find(|symbol| rest.starts_with(symbol)) {
        return Ok((TokenKind::Symbol(symbol), symbol.len()));
    }
    let length = rest.find(|c: char| !is_word(c)).unwrap_or(rest.len());
    if length == 0 {
        return Err(FilterError::Unexpected {
            at,
            found: format!("\"{}\"", first.escape_debug()),
            expected: "a column, a value or an operator",
        });
    }
    let (word, _) = rest.split_at(length);
    Ok((TokenKind::Word(word.to_owned()), length))
}

/// Numbers with units, addresses, prefixes, times and flags are words without quotes.
fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || "_.:/+-µ".contains(c)
}

/// A text in quotes, in which the quote stands twice for itself.
fn quoted(rest: &str, quote: char) -> Option<(TokenKind, usize)> {
    let mut text = String::new();
    let mut characters = rest.char_indices().skip(1).peekable();
    while let Some((place, c)) = characters.next() {
        if c != quote {
            text.push(c);
        } else if characters.next_if(|&(_, next)| next == quote).is_some() {
            text.push(quote);
        } else {
            return Some((TokenKind::Quoted(text), place + 1));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_need_no_spaces_between() {
        let found = tokens("(port<=1e6)and exporter  in('a''b',2001:db8::/32)").expect("words");
        let kinds: Vec<String> = found.iter().map(Token::describe).collect();
        assert_eq!(
            kinds.join(" "),
            "\"(\" \"port\" \"<=\" \"1e6\" \")\" \"and\" \"exporter\" \"in\" \"(\" the text 'a'b' \",\" \
             \"2001:db8::/32\" \")\" the end"
        );
        let places: Vec<usize> = found.iter().map(|token| token.at).collect();
        assert_eq!(places, [1, 2, 6, 8, 11, 12, 16, 26, 28, 29, 35, 36, 49, 50]);
    }

    #[test]
    fn what_is_no_word_is_told_with_its_place() {
        let error = tokens("é").expect_err("no word");
        assert_eq!(
            error.to_string(),
            "\"é\" at character 1: a column, a value or an operator is expected there"
        );
        let error = tokens("text = 'µµ").expect_err("no end");
        assert_eq!(error, FilterError::OpenQuote { at: 8 });
        assert_eq!(
            tokens("'é' ;")
                .expect_err("no word")
                .to_string()
                .find("character 5"),
            Some(7)
        );
    }
}
