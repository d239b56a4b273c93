//! Which steps this node has completed, each with the digest of what was asked. Reported with every observation, so that the
//! coordinator decides from what is on the nodes and not from its own memory.

use crate::host::files;
use crate::paths::Paths;
use quorate_proto::v1::{Marks, Problem};

pub fn load(paths: &Paths) -> Result<Marks, Problem> {
    let file = paths.marks();
    match files::read_optional(&file)? {
        None => Ok(Marks::default()),
        Some(bytes) => serde_json::from_slice(&bytes).map_err(|error| {
            Problem::new(
                "marks-unreadable",
                format!("cannot parse the node's marks: {error}"),
            )
            .at(file.display().to_string())
            .next("remove the file; finished steps are then run again, which is safe")
        }),
    }
}

/// Read, change, write durably.
pub fn update(paths: &Paths, change: impl FnOnce(&mut Marks)) -> Result<(), Problem> {
    let mut marks = load(paths)?;
    change(&mut marks);
    let bytes = serde_json::to_vec_pretty(&marks)
        .map_err(|error| Problem::new("marks-unwritable", error.to_string()))?;
    files::write_atomic(&paths.marks(), &bytes, 0o600)
}
