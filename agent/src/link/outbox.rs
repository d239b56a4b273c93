//! What waits to be sent. Filled by orders from any task, drained by the session.
//!
//! Nothing here has to survive: results are in the journal and are told again after each welcome.

use quorate_proto::limits::PROGRESS_QUEUE;
use quorate_proto::v1::agent_message::Message;
use quorate_proto::v1::{OrderAccepted, OrderDone, OrderProgress};
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// Answers to orders that wait for a slow link; a dropped result is told again from the journal.
const MAX_ANSWERS: usize = 256;

#[derive(Default)]
pub struct Outbox {
    waiting: Mutex<Waiting>,
    wake: Notify,
}

#[derive(Default)]
struct Waiting {
    open: bool,
    messages: VecDeque<Message>,
    progress: usize,
    report: bool,
}

impl Outbox {
    pub fn accepted(&self, id: &str) {
        self.answer(Message::Accepted(OrderAccepted { id: id.to_owned() }));
    }

    pub fn done(&self, done: OrderDone) {
        self.answer(Message::Done(done));
    }

    /// Kept while there is no session; the oldest lines give way, which their sequence numbers show.
    pub fn progress(&self, line: OrderProgress) {
        let mut waiting = self.lock();
        if waiting.progress >= PROGRESS_QUEUE {
            waiting.drop_oldest_progress();
        }
        waiting.progress += 1;
        waiting.messages.push_back(Message::Progress(line));
        drop(waiting);
        self.wake.notify_one();
    }

    /// Something has changed that the coordinator waits for: observe and report now.
    pub fn report_now(&self) {
        self.lock().report = true;
        self.wake.notify_one();
    }

    /// A session begins: answers of an earlier one are dropped, as the journal tells them again.
    pub fn open(&self) {
        let mut waiting = self.lock();
        waiting.open = true;
        waiting.drop_answers();
    }

    pub fn close(&self) {
        let mut waiting = self.lock();
        waiting.open = false;
        waiting.drop_answers();
    }

    /// Returns at once if something waits already.
    pub async fn changed(&self) {
        self.wake.notified().await;
    }

    /// Up to `room` messages in order, and whether a report is asked for.
    pub fn take(&self, room: usize) -> (Vec<Message>, bool) {
        let mut waiting = self.lock();
        let count = room.min(waiting.messages.len());
        let taken: Vec<Message> = waiting.messages.drain(..count).collect();
        waiting.progress -= taken.iter().filter(|m| is_progress(m)).count();
        let report = std::mem::take(&mut waiting.report);
        if !waiting.messages.is_empty() {
            self.wake.notify_one();
        }
        (taken, report)
    }

    fn answer(&self, message: Message) {
        let mut waiting = self.lock();
        if waiting.open && waiting.messages.len() - waiting.progress < MAX_ANSWERS {
            waiting.messages.push_back(message);
            drop(waiting);
            self.wake.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn drop_answers(&mut self) {
        self.messages.retain(is_progress);
    }

    fn drop_oldest_progress(&mut self) {
        if let Some(position) = self.messages.iter().position(is_progress) {
            self.messages.remove(position);
            self.progress -= 1;
        }
    }
}

fn is_progress(message: &Message) -> bool {
    matches!(message, Message::Progress(_))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(sequence: u64) -> OrderProgress {
        OrderProgress {
            id: "x".to_owned(),
            sequence,
            line: "text".to_owned(),
        }
    }

    #[test]
    fn the_oldest_lines_give_way() {
        let outbox = Outbox::default();
        outbox.open();
        outbox.accepted("x");
        let lines = PROGRESS_QUEUE as u64 + 10;
        (1..=lines).for_each(|sequence| outbox.progress(line(sequence)));
        let (taken, _) = outbox.take(usize::MAX);
        assert_eq!(taken.len(), PROGRESS_QUEUE + 1);
        assert!(matches!(taken[0], Message::Accepted(_)));
        assert_eq!(taken[1], Message::Progress(line(11)));
        assert_eq!(taken.last(), Some(&Message::Progress(line(lines))));
    }

    #[test]
    fn without_a_session_only_progress_is_kept() {
        let outbox = Outbox::default();
        outbox.accepted("x");
        outbox.progress(line(1));
        outbox.open();
        outbox.accepted("y");
        outbox.close();
        outbox.open();
        assert_eq!(outbox.take(9).0, [Message::Progress(line(1))]);
    }

    #[tokio::test]
    async fn what_did_not_fit_is_announced_again() {
        let outbox = Outbox::default();
        outbox.open();
        outbox.accepted("x");
        outbox.accepted("y");
        outbox.report_now();
        outbox.changed().await;
        assert_eq!(outbox.take(1).0.len(), 1);
        outbox.changed().await;
        let (taken, report) = outbox.take(1);
        assert_eq!((taken.len(), report), (1, false));
    }
}
