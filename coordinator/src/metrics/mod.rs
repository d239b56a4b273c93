//! What monitoring asks: metrics in Prometheus' text format, and whether the coordinator is well. Over plain HTTP, so on
//! the loopback unless somebody says otherwise; nothing of it is secret, and nothing can be changed through it.
//!
//! - `collect`: what there is to say; `render`: as text; `health`: whether commits are accepted;
//!   `listener`: bounded HTTP.

mod collect;
mod health;
mod listener;
mod render;

pub use listener::serve;
