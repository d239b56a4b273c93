//! What a crash at each point leaves, and that nothing grows for ever.

use super::*;
use quorate_proto::v1::order::Action;
use quorate_proto::v1::{Check, ExportJoinMaterial, OrderStatus};

const HOUR_MS: i64 = 3600 * 1000;

struct Place {
    _folder: tempfile::TempDir,
    paths: Paths,
}

fn place() -> Place {
    let folder = tempfile::tempdir().expect("folder");
    let paths = Paths::under(folder.path());
    Place {
        _folder: folder,
        paths,
    }
}

fn id(number: u32) -> String {
    format!("01JD{number:022}")
}

fn order(number: u32) -> Order {
    Order {
        id: id(number),
        epoch: u64::from(number),
        action: Some(Action::Check(Check {})),
        ..Order::default()
    }
}

fn result(number: u32) -> OrderResult {
    OrderResult {
        id: id(number),
        status: OrderStatus::Succeeded as i32,
        ..OrderResult::default()
    }
}

impl Place {
    fn open(&self) -> Opened {
        Journal::open(&self.paths).expect("opened")
    }

    fn file(&self, number: u32) -> PathBuf {
        path_of(&self.paths.journal(), &id(number))
    }

    fn set_aside(&self) -> usize {
        let names = fs::read_dir(self.paths.journal()).expect("listing");
        names
            .flatten()
            .filter(|file| file.file_name().to_string_lossy().contains("damaged"))
            .count()
    }

    /// Finished and acknowledged this long ago.
    fn aged(&self, number: u32, hours: i64) {
        let mut entry = read(&self.paths, &id(number))
            .expect("read")
            .expect("there");
        entry.acknowledged = Some(now_ms() - hours * HOUR_MS);
        write(&self.paths.journal(), &entry).expect("written");
    }
}

#[test]
fn each_state_survives_a_restart() {
    let place = place();
    let mut journal = place.open().journal;
    for number in 1..=4 {
        journal
            .accept(order(number), number == 2)
            .expect("accepted");
    }
    journal.set_running(&id(2), "u").expect("running");
    for number in [3, 4] {
        journal.finish(result(number)).expect("finished");
    }
    journal.acknowledge(&id(4)).expect("acknowledged");

    let opened = place.open();
    let mut journal = opened.journal;
    assert_eq!(opened.fence.epoch, 4);
    assert!(opened.problems.is_empty());
    assert_eq!(journal.unfinished(), [id(1), id(2)]);
    assert_eq!(journal.unacknowledged(), [id(3)]);
    let running = journal.get(&id(2)).expect("read").expect("there");
    assert_eq!((running.sealed, running.attempts), (true, 1));
    assert_eq!(journal.result(&id(4)), Some(result(4)));
    assert_eq!(journal.result(&id(1)), None);
    assert_eq!(unfinished(&place.paths).expect("listed"), [id(1), id(2)]);
}

#[test]
fn what_the_executor_wrote_is_seen() {
    let place = place();
    let mut journal = place.open().journal;
    journal.accept(order(1), false).expect("accepted");
    let entry = journal.set_running(&id(1), "u").expect("running");
    write_result(&place.paths, &entry, result(1)).expect("written");
    journal.finish(result(1)).expect("the same result");
    assert_eq!(journal.unacknowledged(), [id(1)]);
    let opened = place.open();
    assert_eq!(opened.journal.unacknowledged(), [id(1)]);
}

#[test]
fn damaged_files_are_set_aside_and_reported() {
    for damage in [&b""[..], b"{", b"\0\0\0\0", b"{\"order\":{}}", b"[]"] {
        let place = place();
        let mut journal = place.open().journal;
        journal.accept(order(1), false).expect("accepted");
        journal.accept(order(2), false).expect("accepted");
        fs::write(place.file(1), damage).expect("damaged");
        let opened = place.open();
        assert_eq!(opened.problems.len(), 1, "{damage:?}");
        assert_eq!(opened.journal.unfinished(), [id(2)]);
        assert_eq!(place.set_aside(), 1);
        assert!(!place.file(1).exists());
    }
}

#[test]
fn a_file_damaged_later_is_no_longer_known() {
    let place = place();
    let mut journal = place.open().journal;
    journal.accept(order(1), false).expect("accepted");
    fs::write(place.file(1), b"{").expect("damaged");
    assert_eq!(journal.get(&id(1)).expect("no failure"), None);
    assert!(journal.unfinished().is_empty());
    assert_eq!(place.set_aside(), 1);
    journal.accept(order(1), false).expect("accepted again");
    assert_eq!(journal.unfinished(), [id(1)]);
}

#[test]
fn another_orders_content_is_not_believed() {
    let place = place();
    let mut journal = place.open().journal;
    journal.accept(order(1), false).expect("accepted");
    fs::rename(place.file(1), place.file(2)).expect("renamed");
    let opened = place.open();
    assert_eq!(opened.problems.len(), 1);
    assert!(opened.journal.unfinished().is_empty());
}

#[test]
fn a_write_that_was_cut_leaves_no_trace() {
    let place = place();
    let mut journal = place.open().journal;
    journal.accept(order(1), false).expect("accepted");
    let rest = place.paths.journal().join(".quorate-x1y2");
    fs::write(&rest, b"{\"ord").expect("written");
    let opened = place.open();
    assert!(opened.problems.is_empty());
    assert_eq!(opened.journal.unfinished(), [id(1)]);
    assert!(!rest.exists());
}

#[test]
fn kept_for_a_week_after_the_acknowledgement() {
    let place = place();
    let mut journal = place.open().journal;
    for number in 1..=3 {
        journal.accept(order(number), false).expect("accepted");
        journal.finish(result(number)).expect("finished");
    }
    place.aged(1, 7 * 24 + 1);
    place.aged(2, 7 * 24 - 1);
    let mut journal = place.open().journal;
    assert_eq!(journal.result(&id(1)), None);
    assert_eq!(journal.result(&id(2)), Some(result(2)));
    assert_eq!(journal.result(&id(3)), Some(result(3)));
}

#[test]
fn bounded_and_never_at_the_cost_of_an_untold_result() {
    let place = place();
    let mut journal = place.open().journal;
    let limit = u32::try_from(MAX_ENTRIES).expect("small");
    for number in 1..=limit {
        journal.accept(order(number), false).expect("accepted");
        journal.finish(result(number)).expect("finished");
    }
    let problem = journal.accept(order(limit + 1), false).expect_err("full");
    assert_eq!(problem.code, "journal-full");
    journal.acknowledge(&id(7)).expect("acknowledged");
    journal.accept(order(limit + 1), false).expect("room again");
    assert_eq!(journal.result(&id(7)), None);
    assert_eq!(journal.unacknowledged().len(), MAX_ENTRIES - 1);
}

#[test]
fn a_sealed_result_is_not_told_again() {
    let place = place();
    let mut journal = place.open().journal;
    let mut export = order(1);
    export.action = Some(Action::ExportJoinMaterial(ExportJoinMaterial::default()));
    journal.accept(export, false).expect("accepted");
    journal.finish(result(1)).expect("finished");
    assert!(journal.unacknowledged().is_empty());
    assert!(place.open().journal.unacknowledged().is_empty());
}

#[test]
fn a_result_that_the_disk_refused_is_still_told_and_kept_later() {
    let place = place();
    let mut journal = place.open().journal;
    journal.accept(order(1), false).expect("accepted");
    let mut finished = journal.get(&id(1)).expect("read").expect("there");
    finished.state = State::Finished {
        result: Box::new(result(1)),
    };
    journal.hold(&finished, result(1));
    assert_eq!(place.open().journal.unfinished(), [id(1)]);
    assert_eq!(journal.unacknowledged(), [id(1)]);
    assert_eq!(journal.result(&id(1)), Some(result(1)));
    journal.acknowledge(&id(1)).expect("now it is written");
    assert_eq!(place.open().journal.result(&id(1)), Some(result(1)));
}

#[test]
fn what_cannot_be_read_now_is_not_damaged() {
    let place = place();
    let mut journal = place.open().journal;
    journal.accept(order(1), false).expect("accepted");
    // Reading fails, whoever runs the test, and says nothing of the record.
    fs::rename(place.file(1), place.paths.state().join("kept")).expect("moved");
    fs::create_dir(place.file(1)).expect("folder");
    assert!(journal.get(&id(1)).is_err());
    assert!(Journal::open(&place.paths).is_err());
    fs::remove_dir(place.file(1)).expect("removed");
    fs::rename(place.paths.state().join("kept"), place.file(1)).expect("back");
    assert!(journal.get(&id(1)).expect("read").is_some());
    assert_eq!(place.set_aside(), 0);
}

#[test]
fn ids_that_are_no_ids_reach_no_file() {
    let place = place();
    assert!(read(&place.paths, "../../marks").is_err());
}
