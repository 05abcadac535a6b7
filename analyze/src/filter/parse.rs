//! A filter's form: what is joined to what. What columns and values mean is told by their binding.
//!
//! ```text
//! any        = all { "or" all }
//! all        = condition { "and" condition }
//! condition  = "not" condition | "(" any ")" | test
//! test       = COLUMN ( comparison VALUE | ["not"] "in" values | "has" VALUE | "is" ["not"] "null" )
//! comparison = "=" | "==" | "!=" | "<>" | "<" | "<=" | ">" | ">="
//! values     = VALUE | "(" VALUE { "," VALUE } ")"
//! ```

use super::FilterError;
use super::lex::{Token, TokenKind, tokens};

/// How deep conditions may stand in each other: each level takes stack.
const DEPTH_MAX: usize = 64;

/// A condition as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Condition {
    All(Vec<Self>),
    Any(Vec<Self>),
    Not(Box<Self>),
    Test {
        column: Word,
        operator: Operator,
        /// Where the operator stands.
        at: usize,
        values: Vec<Word>,
    },
}

/// A column's name or a value, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Word {
    pub(super) text: String,
    pub(super) at: usize,
}

/// What is asked of a column. The negations of these are [`Condition::Not`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    Equal,
    Below,
    AtMost,
    Above,
    AtLeast,
    In,
    Has,
    IsNull,
}

impl Operator {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::Below => "<",
            Self::AtMost => "<=",
            Self::Above => ">",
            Self::AtLeast => ">=",
            Self::In => "in",
            Self::Has => "has",
            Self::IsNull => "is null",
        }
    }
}

pub(super) fn parse(text: &str) -> Result<Condition, FilterError> {
    let tokens = tokens(text)?;
    let mut parser = Parser {
        tokens: &tokens,
        depth: 0,
    };
    let condition = parser.any()?;
    match parser.peek() {
        Token {
            kind: TokenKind::End,
            ..
        } => Ok(condition),
        other => Err(unexpected(other, "\"and\", \"or\" or the end")),
    }
}

struct Parser<'t> {
    /// Those that are left; the last is the end, which is not taken.
    tokens: &'t [Token],
    depth: usize,
}

const KEYWORDS: [&str; 7] = ["and", "or", "not", "in", "has", "is", "null"];

impl<'t> Parser<'t> {
    fn peek(&self) -> &'t Token {
        self.tokens.first().expect("the end is never taken")
    }

    fn take(&mut self) -> &'t Token {
        let token = self.peek();
        if let [_, rest @ ..] = self.tokens
            && !rest.is_empty()
        {
            self.tokens = rest;
        }
        token
    }

    fn take_if(&mut self, is_meant: impl Fn(&Token) -> bool) -> Option<&'t Token> {
        is_meant(self.peek()).then(|| self.take())
    }

    fn any(&mut self) -> Result<Condition, FilterError> {
        let mut conditions = vec![self.all()?];
        while self.take_if(|token| token.is("or")).is_some() {
            conditions.push(self.all()?);
        }
        Ok(one_or(conditions, Condition::Any))
    }

    fn all(&mut self) -> Result<Condition, FilterError> {
        let mut conditions = vec![self.condition()?];
        while self.take_if(|token| token.is("and")).is_some() {
            conditions.push(self.condition()?);
        }
        Ok(one_or(conditions, Condition::All))
    }

    fn condition(&mut self) -> Result<Condition, FilterError> {
        let token = self.peek();
        let is_not = token.is("not");
        if !is_not && token.kind != TokenKind::Symbol("(") {
            return self.test();
        }
        self.take();
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            let (at, most) = (token.at, DEPTH_MAX);
            return Err(FilterError::TooDeep { at, most });
        }
        let condition = if is_not {
            Condition::Not(Box::new(self.condition()?))
        } else {
            let inner = self.any()?;
            self.symbol(")", "\"and\", \"or\" or \")\"")?;
            inner
        };
        self.depth -= 1;
        Ok(condition)
    }

    fn symbol(&mut self, symbol: &'static str, expected: &'static str) -> Result<(), FilterError> {
        match self.take_if(|token| token.kind == TokenKind::Symbol(symbol)) {
            Some(_) => Ok(()),
            None => Err(unexpected(self.peek(), expected)),
        }
    }

    fn test(&mut self) -> Result<Condition, FilterError> {
        let column = self.column()?;
        let token = self.take();
        let at = token.at;
        let (operator, negated) = match &token.kind {
            TokenKind::Symbol("=" | "==") => (Operator::Equal, false),
            TokenKind::Symbol("!=" | "<>") => (Operator::Equal, true),
            TokenKind::Symbol("<") => (Operator::Below, false),
            TokenKind::Symbol("<=") => (Operator::AtMost, false),
            TokenKind::Symbol(">") => (Operator::Above, false),
            TokenKind::Symbol(">=") => (Operator::AtLeast, false),
            TokenKind::Word(_) if token.is("in") => (Operator::In, false),
            TokenKind::Word(_) if token.is("has") => (Operator::Has, false),
            TokenKind::Word(_) if token.is("not") && self.peek().is("in") => {
                self.take();
                (Operator::In, true)
            }
            TokenKind::Word(_) if token.is("is") => {
                let negated = self.take_if(|token| token.is("not")).is_some();
                if self.take_if(|token| token.is("null")).is_none() {
                    return Err(unexpected(self.peek(), "\"null\""));
                }
                (Operator::IsNull, negated)
            }
            _ => {
                return Err(unexpected(
                    token,
                    "an operator (=, !=, <, <=, >, >=, in, has, is null)",
                ));
            }
        };
        let values = match operator {
            Operator::IsNull => Vec::new(),
            Operator::In => self.values()?,
            _ => vec![self.value()?],
        };
        let test = Condition::Test {
            column,
            operator,
            at,
            values,
        };
        Ok(if negated {
            Condition::Not(Box::new(test))
        } else {
            test
        })
    }

    fn column(&mut self) -> Result<Word, FilterError> {
        let expected = "a column, \"not\" or \"(\"";
        let token = self.take();
        match &token.kind {
            TokenKind::Word(text) if !KEYWORDS.iter().any(|keyword| token.is(keyword)) => {
                Ok(Word {
                    text: text.clone(),
                    at: token.at,
                })
            }
            _ => Err(unexpected(token, expected)),
        }
    }

    fn value(&mut self) -> Result<Word, FilterError> {
        let token = self.take();
        match &token.kind {
            TokenKind::Quoted(text) => Ok(Word {
                text: text.clone(),
                at: token.at,
            }),
            TokenKind::Word(text) if !KEYWORDS.iter().any(|keyword| token.is(keyword)) => {
                Ok(Word {
                    text: text.clone(),
                    at: token.at,
                })
            }
            _ => Err(unexpected(token, "a value")),
        }
    }

    fn values(&mut self) -> Result<Vec<Word>, FilterError> {
        let open = |token: &Token| token.kind == TokenKind::Symbol("(");
        if self.take_if(open).is_none() {
            return Ok(vec![self.value()?]);
        }
        let mut values = vec![self.value()?];
        let comma = |token: &Token| token.kind == TokenKind::Symbol(",");
        while self.take_if(comma).is_some() {
            values.push(self.value()?);
        }
        self.symbol(")", "\",\" or \")\"")?;
        Ok(values)
    }
}

fn one_or(
    mut conditions: Vec<Condition>,
    join: impl FnOnce(Vec<Condition>) -> Condition,
) -> Condition {
    match conditions.len() {
        1 => conditions.remove(0),
        _ => join(conditions),
    }
}

fn unexpected(token: &Token, expected: &'static str) -> FilterError {
    FilterError::Unexpected {
        at: token.at,
        found: token.describe(),
        expected,
    }
}
