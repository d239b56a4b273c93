//! What happened, in order. Its hash tells two runs apart; its lines are kept only where somebody wants to read them.

const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x0000_0100_0000_01b3;

pub struct Trace {
    hash: u64,
    events: u64,
    lines: Option<Vec<String>>,
}

impl Trace {
    pub fn new(keep: bool) -> Self {
        Trace {
            hash: OFFSET,
            events: 0,
            lines: keep.then(Vec::new),
        }
    }

    pub fn add(&mut self, now_ms: u64, line: &str) {
        self.events += 1;
        // FNV-1a.
        for byte in now_ms.to_be_bytes().into_iter().chain(line.bytes()) {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(PRIME);
        }
        if let Some(lines) = &mut self.lines {
            lines.push(format!("{:>9.3}  {line}", now_ms as f64 / 1_000.0));
        }
    }

    pub fn hash(&self) -> u64 {
        self.hash
    }

    pub fn events(&self) -> u64 {
        self.events
    }

    pub fn take_lines(&mut self) -> Vec<String> {
        self.lines.take().unwrap_or_default()
    }
}
