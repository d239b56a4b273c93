//! A value that is replaced while others read it.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;

/// Holds a TLS configuration (or anything else) that is swapped as a whole on reload.
///
/// Readers take the current value once per connection and keep it; a swap never disturbs them.
pub struct Hot<T>(ArcSwap<T>);

impl<T> Hot<T> {
    /// Starts with `value`.
    pub fn new(value: T) -> Self {
        Self(ArcSwap::from_pointee(value))
    }

    /// The current value.
    pub fn load(&self) -> Arc<T> {
        self.0.load_full()
    }

    /// Puts `value` in place and returns the one before.
    pub fn swap(&self, value: T) -> Arc<T> {
        self.0.swap(Arc::new(value))
    }
}

impl<T> fmt::Debug for Hot<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The value may hold keys, and its Debug is not ours to trust.
        f.debug_struct("Hot").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_keeps_what_it_took() {
        let hot = Hot::new(1);
        let before = hot.load();
        assert_eq!(*hot.swap(2), 1);
        assert_eq!((*before, *hot.load()), (1, 2));
    }
}
