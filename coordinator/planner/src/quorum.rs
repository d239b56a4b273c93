//! The only arithmetic on voters in the whole project.

/// Voters that must agree.
pub fn quorum(voters: usize) -> usize {
    voters / 2 + 1
}

/// How many more voters may be lost before the cluster stops. Negative: it has stopped, and that many must come back.
pub fn tolerance(voters: usize, healthy: usize) -> i64 {
    healthy as i64 - quorum(voters) as i64
}

/// Whether the cluster keeps its quorum once a newcomer votes, if the newcomer is dead.
/// From one voter to two nothing can be assumed of the newcomer; there the promotion itself, which etcd refuses
/// unless the learner runs and is in sync, is the proof.
pub fn can_add(voters: usize, healthy: usize) -> bool {
    match voters {
        0 => false,
        1 => healthy == 1,
        _ => healthy >= quorum(voters + 1),
    }
}

/// Whether the others keep their quorum without this voter. `healthy_others` does not count it.
pub fn can_remove(voters: usize, healthy_others: usize) -> bool {
    voters > 1 && healthy_others >= quorum(voters - 1)
}

/// Whether they are fewer than half: the others may then take them for lost, and not themselves.
pub fn is_minority(some: usize, all: usize) -> bool {
    some < all.div_ceil(2)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replacement {
    JoinFirst,
    RemoveFirst,
}

/// Which half of a replacement goes first: the one that leaves more tolerance if the newcomer turns out to be dead. Where both leave
/// the same, a voter that serves stays until the other one does. `healthy_others` does not count the old one.
pub fn replacement(voters: usize, healthy_others: usize, old_healthy: bool) -> Replacement {
    if !can_remove(voters, healthy_others) {
        return Replacement::JoinFirst; // the only way there may be
    }
    let joined = tolerance(voters + 1, healthy_others + usize::from(old_healthy));
    let removed = tolerance(voters - 1, healthy_others);
    if joined >= removed {
        Replacement::JoinFirst
    } else {
        Replacement::RemoveFirst
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quorum_and_tolerance() {
        // voters, healthy, quorum, tolerance
        for (voters, healthy, want_quorum, want_tolerance) in [
            (1, 1, 1, 0),
            (2, 2, 2, 0),
            (3, 3, 2, 1),
            (3, 2, 2, 0),
            (3, 1, 2, -1),
            (4, 4, 3, 1),
            (5, 5, 3, 2),
            (5, 3, 3, 0),
            (7, 7, 4, 3),
        ] {
            assert_eq!(quorum(voters), want_quorum, "{voters} voters");
            assert_eq!(
                tolerance(voters, healthy),
                want_tolerance,
                "{voters} voters, {healthy} healthy"
            );
        }
    }

    #[test]
    fn adding() {
        // voters, healthy, allowed
        for (voters, healthy, allowed) in [
            (0, 0, false), // nothing to add to
            (1, 1, true),  // etcd promotes only a running learner in sync
            (1, 0, false),
            (2, 2, true),  // 3 voters need 2
            (2, 1, false), // one dead of two: no quorum now
            (3, 3, true),  // 4 voters need 3
            (3, 2, false), // a dead newcomer would leave 2 of 4
            (4, 4, true),
            (4, 3, true), // 5 voters need 3
            (5, 5, true),
            (5, 4, true), // 6 voters need 4
            (5, 3, false),
        ] {
            assert_eq!(
                can_add(voters, healthy),
                allowed,
                "{voters} voters, {healthy} healthy"
            );
        }
    }

    #[test]
    fn replacing() {
        use Replacement::{JoinFirst, RemoveFirst};
        // voters, healthy others, whether the old one is healthy, what goes first
        for (voters, healthy_others, old_healthy, first) in [
            (1, 0, true, JoinFirst), // the last one is never removed first
            (2, 1, true, JoinFirst),
            (2, 1, false, RemoveFirst), // 3 voters with the newcomer dead would have 1
            (3, 2, true, JoinFirst),
            (3, 2, false, RemoveFirst), // 4 voters with 1 dead and the newcomer dying: 2 of 4
            (3, 1, true, JoinFirst),    // removal would leave 1 of 2
            (4, 3, true, JoinFirst),
            (4, 3, false, RemoveFirst),
            (5, 4, true, JoinFirst),
            (5, 4, false, RemoveFirst),
            (5, 3, false, RemoveFirst),
            (7, 6, false, RemoveFirst),
        ] {
            assert_eq!(
                replacement(voters, healthy_others, old_healthy),
                first,
                "{voters} voters, {healthy_others} healthy others, old one healthy: {old_healthy}"
            );
        }
    }

    #[test]
    fn minorities() {
        for (some, all, minority) in [
            (0, 1, true),
            (1, 1, false),
            (1, 2, false),
            (1, 3, true),
            (2, 3, false),
            (2, 4, false),
            (2, 5, true),
            (0, 0, false),
        ] {
            assert_eq!(is_minority(some, all), minority, "{some} of {all}");
        }
    }

    #[test]
    fn removing() {
        // voters, healthy others, allowed
        for (voters, healthy_others, allowed) in [
            (1, 0, false), // never the last
            (2, 1, true),
            (2, 0, false),
            (3, 2, true),
            (3, 1, false),
            (4, 2, true),
            (5, 3, true),
            (5, 2, false),
        ] {
            assert_eq!(
                can_remove(voters, healthy_others),
                allowed,
                "{voters} voters, {healthy_others} healthy others"
            );
        }
    }
}
