//! The form of a backup:
//!
//! ```text
//!   quorate backup 1: holds private keys, keep it as safe as those     <- form and warning
//!   <checksum> {"made_unix_ms":..., "records":..., "place":{...}}       <- header
//!   <checksum> {"key":..., "revision":..., "value":...}                <- one line for each record
//!   sha256 <hex of everything before this line>
//! ```

use super::Place;
use crate::clock;
use crate::store::{Copy, Revision, line};
use quorate_proto::v1::Problem;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::io::{BufRead, Read, Write};

/// Another form gets another number; this version reads this one.
const FORM: u32 = 1;
const MAGIC: &str = "quorate backup ";
const WARNING: &str = ": holds private keys, keep it as safe as those\n";
const DIGEST: &str = "sha256 ";
/// Longest line that is read: a cluster file with all its attachments is below 4 MiB.
const MAX_LINE: u64 = 64 * 1024 * 1024;

#[derive(Serialize, Deserialize)]
struct Header {
    made_unix_ms: i64,
    /// Of the program that made it.
    version: String,
    host: String,
    revision: Revision,
    records: usize,
    place: Place,
}

#[derive(Debug)]
pub struct Backup {
    pub made_unix_ms: i64,
    pub version: String,
    /// The machine that it was made on.
    pub host: String,
    pub place: Place,
    pub records: Copy,
}

pub fn write(place: Place, copy: &Copy, to: impl Write) -> Result<(), Problem> {
    let mut out = Hashing {
        to,
        hash: Sha256::new(),
    };
    let fail = |error: std::io::Error| {
        Problem::new(
            "backup-unwritable",
            format!("cannot write a backup: {error}"),
        )
    };
    let header = Header {
        made_unix_ms: clock::unix_ms(),
        version: crate::serve::VERSION.to_owned(),
        host: crate::files::hostname(),
        revision: copy.revision(),
        records: copy.len(),
        place,
    };
    let header = line::encode(&header)
        .map_err(|error| Problem::new("backup-unwritable", error.to_string()))?;
    out.write_all(format!("{MAGIC}{FORM}{WARNING}").as_bytes())
        .map_err(fail)?;
    out.write_all(header.as_bytes()).map_err(fail)?;
    for line in copy.lines() {
        out.write_all(line?.as_bytes()).map_err(fail)?;
    }
    let digest = hex::encode(out.hash.finalize());
    out.to
        .write_all(format!("{DIGEST}{digest}\n").as_bytes())
        .and_then(|()| out.to.flush())
        .map_err(fail)
}

/// Nothing of it is used unless all of it is whole.
pub fn read(from: impl BufRead) -> Result<Backup, Problem> {
    let mut lines = Lines {
        from,
        hash: Sha256::new(),
        number: 0,
    };
    check_form(&lines.next()?)?;
    let first = lines.next()?;
    let header: Header = line::decode(&first).ok_or_else(|| lines.damaged())?;
    let mut records = Copy::at(header.revision);
    for _ in 0..header.records {
        let text = lines.next()?;
        if !records.add(&text) {
            return Err(lines.damaged());
        }
    }
    let expected = hex::encode(lines.hash.clone().finalize());
    let stated = lines.next()?;
    if stated != format!("{DIGEST}{expected}\n") || !lines.next()?.is_empty() {
        return Err(lines.damaged());
    }
    Ok(Backup {
        made_unix_ms: header.made_unix_ms,
        version: header.version,
        host: header.host,
        place: header.place,
        records,
    })
}

fn check_form(first: &str) -> Result<(), Problem> {
    let form = first
        .strip_prefix(MAGIC)
        .and_then(|rest| rest.strip_suffix(WARNING))
        .and_then(|form| form.parse::<u32>().ok());
    match form {
        Some(FORM) => Ok(()),
        Some(other) => Err(Problem::new(
            "backup-version",
            format!("this backup has form {other}, and this version of quorate reads form {FORM}"),
        )
        .because("it was made by another version")
        .next("install the version of quorate that has made it, restore, then upgrade")),
        None => Err(
            Problem::new("backup-unreadable", "this is no backup of a coordinator")
                .next("name a file that `quorate backup` has written"),
        ),
    }
}

struct Hashing<W> {
    to: W,
    hash: Sha256,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.to.write(bytes)?;
        self.hash.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.to.flush()
    }
}

struct Lines<R> {
    from: R,
    hash: Sha256,
    number: usize,
}

impl<R: BufRead> Lines<R> {
    /// Empty at the end; what is no text is as damaged as an empty line.
    fn next(&mut self) -> Result<String, Problem> {
        self.number += 1;
        let mut bytes = Vec::new();
        (&mut self.from)
            .take(MAX_LINE)
            .read_until(b'\n', &mut bytes)
            .map_err(|error| {
                Problem::new(
                    "backup-unreadable",
                    format!("cannot read the backup: {error}"),
                )
            })?;
        self.hash.update(&bytes);
        String::from_utf8(bytes).map_err(|_| self.damaged())
    }

    fn damaged(&self) -> Problem {
        Problem::new(
            "backup-damaged",
            format!("the backup is damaged or cut short at line {}", self.number),
        )
        .because("it was not copied whole, or changed on its way")
        .next("copy it again and compare `sha256sum` on both machines, or take an older backup; nothing was changed here")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serve::Config;
    use crate::store::{Key, Store, Transaction};

    async fn made() -> Vec<u8> {
        let store = Store::in_memory();
        for number in 0..5_u32 {
            let put = Transaction::new().put(Key::node(&format!("n{number}")), &number);
            store.commit(put).await.unwrap();
        }
        let config = "advertise: a:1\nlisten: 127.0.0.1:7443\nstate_dir: /x\n";
        let place = Place {
            config: Config::parse(config).unwrap(),
            ca_cert_pem: "cert".to_owned(),
            ca_key_pem: "key".to_owned(),
        };
        let mut bytes = Vec::new();
        write(place, &store.copy(), &mut bytes).unwrap();
        bytes
    }

    fn code(bytes: &[u8]) -> String {
        match read(bytes) {
            Ok(_) => "whole".to_owned(),
            Err(problem) => problem.code,
        }
    }

    #[tokio::test]
    async fn comes_back_whole_and_says_what_it_holds() {
        let bytes = made().await;
        assert!(bytes.starts_with(b"quorate backup 1: holds private keys"));
        let backup = read(bytes.as_slice()).unwrap();
        assert_eq!((backup.records.len(), backup.records.revision().0), (5, 5));
        assert_eq!(*backup.place.ca_key_pem(), "key");
        assert_eq!(backup.place.config.advertise, "a:1");
        assert!(!format!("{backup:?}").contains("ca_key"));
    }

    #[tokio::test]
    async fn what_is_cut_short_is_refused_wherever_it_ends() {
        let bytes = made().await;
        for end in 0..bytes.len() {
            assert_ne!(code(&bytes[..end]), "whole", "{end}");
        }
        let twice = [bytes.as_slice(), bytes.as_slice()].concat();
        assert_eq!(code(&twice), "backup-damaged");
    }

    #[tokio::test]
    async fn every_flipped_bit_is_noticed() {
        let bytes = made().await;
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut wrong = bytes.clone();
                wrong[at] ^= 1 << bit;
                assert_ne!(code(&wrong), "whole", "byte {at} bit {bit}");
            }
        }
    }

    #[tokio::test]
    async fn lines_that_are_whole_and_in_the_wrong_place_are_noticed() {
        let text = String::from_utf8(made().await).unwrap();
        let lines: Vec<&str> = text.split_inclusive('\n').collect();
        let mut gone = lines.clone();
        gone.remove(3);
        let mut doubled = lines.clone();
        doubled[3] = doubled[2];
        let mut exchanged = lines.clone();
        exchanged.swap(2, 3);
        for wrong in [gone, doubled, exchanged] {
            assert_eq!(code(wrong.concat().as_bytes()), "backup-damaged");
        }
    }

    #[tokio::test]
    async fn another_form_is_told_from_damage() {
        let text = String::from_utf8(made().await).unwrap();
        let later = text.replacen("backup 1:", "backup 2:", 1);
        assert_eq!(code(later.as_bytes()), "backup-version");
        assert_eq!(code(b"a: yaml file\n"), "backup-unreadable");
        assert_eq!(code(b"\xff\xfe\n"), "backup-damaged");
    }
}
