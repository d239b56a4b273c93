//! Building and printing [`Problem`]: what, where, likely cause, next command.

use crate::v1::Problem;
use std::fmt;

impl Problem {
    pub fn new(code: &str, what: impl Into<String>) -> Self {
        Problem {
            code: code.to_owned(),
            what: what.into(),
            ..Problem::default()
        }
    }

    pub fn at(mut self, place: impl Into<String>) -> Self {
        self.r#where = place.into();
        self
    }

    pub fn because(mut self, cause: impl Into<String>) -> Self {
        self.cause = cause.into();
        self
    }

    pub fn next(mut self, next: impl Into<String>) -> Self {
        self.next = next.into();
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.what)?;
        if !self.r#where.is_empty() {
            write!(f, " ({})", self.r#where)?;
        }
        if !self.cause.is_empty() {
            write!(f, "\n  cause: {}", self.cause)?;
        }
        if !self.next.is_empty() {
            write!(f, "\n  next:  {}", self.next)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problem {}
