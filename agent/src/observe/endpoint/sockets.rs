//! The kernel's table of TCP connections (/proc/net/tcp and tcp6). Pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The kernel's number for it.
const ESTABLISHED: &str = "01";

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Socket {
    pub local: SocketAddr,
    pub remote: SocketAddr,
    pub user: u32,
    pub inode: u64,
}

/// Established connections to one of these; a line that cannot be read is none.
pub fn to(table: &str, targets: &[SocketAddr]) -> Vec<Socket> {
    table
        .lines()
        .skip(1)
        .filter_map(established)
        .filter(|socket| targets.contains(&socket.remote))
        // Served here, not dialled: the other side is the client.
        .filter(|socket| !targets.contains(&socket.local))
        .collect()
}

fn established(line: &str) -> Option<Socket> {
    let mut fields = line.split_ascii_whitespace();
    let (_, local, remote) = (fields.next()?, fields.next()?, fields.next()?);
    // Checked ahead of the rest: busy machines have many that are only being closed.
    if fields.next()? != ESTABLISHED {
        return None;
    }
    let (_, _, _, user) = (
        fields.next()?,
        fields.next()?,
        fields.next()?,
        fields.next()?,
    );
    let (_, inode) = (fields.next()?, fields.next()?);
    Some(Socket {
        local: address(local)?,
        remote: address(remote)?,
        user: user.parse().ok()?,
        inode: inode.parse().ok()?,
    })
}

/// Words of 32 bits in the machine's order, in hex; the port as it is read.
fn address(text: &str) -> Option<SocketAddr> {
    let (host, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let word = |at: usize| {
        let digits = host.get(at * 8..at * 8 + 8)?;
        Some(u32::from_str_radix(digits, 16).ok()?.to_ne_bytes())
    };
    let ip: IpAddr = match host.len() {
        8 => Ipv4Addr::from(word(0)?).into(),
        32 => {
            let words = [word(0)?, word(1)?, word(2)?, word(3)?];
            let mut octets = [0; 16];
            octets.copy_from_slice(words.as_flattened());
            // A socket for both families shows IPv4 inside IPv6.
            Ipv6Addr::from(octets).to_canonical()
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From a real machine of little endian, shortened behind the inode.
    #[cfg(target_endian = "little")]
    const TABLE: &str = "\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:192B 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 11 1
   1: 0B004D0A:9C40 32004D0A:192B 01 00000000:00000000 00:00000000 00000000     0        0 12 1
   2: 32004D0A:192B 0C004D0A:9C41 01 00000000:00000000 00:00000000 00000000     0        0 13 1
   3: 0B004D0A:9C42 32004D0A:192B 06 00000000:00000000 00:00000000 00000000     0        0 0 1
   4: 0B004D0A:9C43 33004D0A:192B 01 00000000:00000000 00:00000000 00000000   106        0 14 1
   5: 32004D0A:9C44 32004D0A:192B 01 00000000:00000000 00:00000000 00000000   106        0 15 1
   6: nonsense
";
    #[cfg(target_endian = "little")]
    const TABLE6: &str = "\
  sl  local_address                         remote_address                        st
   0: 0000000000000000FFFF00000B004D0A:A000 0000000000000000FFFF000032004D0A:192B 01 0:0 00:0 0 0 0 21
   1: 000000FD000000000000000011000000:A001 000000FD000000000000000001000000:192B 01 0:0 00:0 0 7 0 22
";

    #[cfg(target_endian = "little")]
    #[test]
    fn connections_to_an_endpoint() {
        let target = "10.77.0.50:6443".parse().unwrap();
        let found = to(TABLE, &[target]);
        let inodes: Vec<u64> = found.iter().map(|it| it.inode).collect();
        assert_eq!(inodes, [12, 15]);
        assert_eq!(found[0].local, "10.77.0.11:40000".parse().unwrap());
        assert_eq!(found[1].user, 106);

        let six = "[fd00::1]:6443".parse().unwrap();
        let found = to(TABLE6, &[target, six]);
        let seen: Vec<_> = found
            .iter()
            .map(|it| (it.inode, it.local.to_string()))
            .collect();
        let expected = [(21, "10.77.0.11:40960"), (22, "[fd00::11]:40961")];
        assert_eq!(
            seen,
            expected.map(|(inode, local)| (inode, local.to_owned()))
        );
    }
}
