//! What etcd says no to. Told apart by text: between its versions the gRPC codes differ, the texts do not.

/// Why etcd refused a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EtcdRefusal {
    /// Too few members have started for the change.
    NotEnoughStarted,
    /// The serving member was not connected to all voters for etcd's health interval of 5 s.
    Unhealthy,
    TooManyLearners,
    /// The learner is behind; promotion is possible once it has caught up.
    LearnerNotReady,
    /// The member to promote is a voter.
    NotALearner,
    /// The serving member is a learner and answers next to nothing.
    LearnerCannotServe,
    PeerUrlExists,
    MemberExists,
    MemberNotFound,
    NotLeader,
    NoLeader,
    /// The call may have had its effect or not.
    OutcomeUnknown,
    NoSpace,
    Corrupt,
    Other,
}

/// A longer text stands before one that it contains.
const TEXTS: [(&str, EtcdRefusal); 19] = [
    (
        "re-configuration failed due to not enough started members",
        EtcdRefusal::NotEnoughStarted,
    ),
    ("unhealthy cluster", EtcdRefusal::Unhealthy),
    ("too many learner members", EtcdRefusal::TooManyLearners),
    (
        "can only promote a learner member which is in sync with leader",
        EtcdRefusal::LearnerNotReady,
    ),
    (
        "can only promote a learner member",
        EtcdRefusal::NotALearner,
    ),
    (
        "rpc not supported for learner",
        EtcdRefusal::LearnerCannotServe,
    ),
    ("Peer URLs already exists", EtcdRefusal::PeerUrlExists),
    ("peerURL exists", EtcdRefusal::PeerUrlExists),
    ("member ID already exist", EtcdRefusal::MemberExists),
    ("member not found", EtcdRefusal::MemberNotFound),
    ("bad leader transferee", EtcdRefusal::NotLeader),
    ("not leader", EtcdRefusal::NotLeader),
    ("leader changed", EtcdRefusal::OutcomeUnknown),
    ("request timed out", EtcdRefusal::OutcomeUnknown),
    ("server stopped", EtcdRefusal::OutcomeUnknown),
    ("no leader", EtcdRefusal::NoLeader),
    ("database space exceeded", EtcdRefusal::NoSpace),
    ("corrupt cluster", EtcdRefusal::Corrupt),
    ("etcdserver: ", EtcdRefusal::Other),
];

impl EtcdRefusal {
    /// `None`: not etcd's own words, but the transport's.
    pub fn classify(text: &str) -> Option<Self> {
        if !text.contains("etcdserver: ") && !text.contains("membership: ") {
            return None;
        }
        TEXTS
            .iter()
            .find(|(part, _)| text.contains(part))
            .map_or(Some(EtcdRefusal::Other), |(_, refusal)| Some(*refusal))
    }

    /// Whether the same call may succeed in a moment, with nothing done by anybody.
    pub fn passes(self) -> bool {
        match self {
            EtcdRefusal::NoLeader | EtcdRefusal::OutcomeUnknown | EtcdRefusal::NotLeader => true,
            EtcdRefusal::NotEnoughStarted
            | EtcdRefusal::Unhealthy
            | EtcdRefusal::TooManyLearners
            | EtcdRefusal::LearnerNotReady
            | EtcdRefusal::NotALearner
            | EtcdRefusal::LearnerCannotServe
            | EtcdRefusal::PeerUrlExists
            | EtcdRefusal::MemberExists
            | EtcdRefusal::MemberNotFound
            | EtcdRefusal::NoSpace
            | EtcdRefusal::Corrupt
            | EtcdRefusal::Other => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The texts of etcd's api/v3rpc/rpctypes/error.go.
    #[test]
    fn every_text_that_matters() {
        use EtcdRefusal as R;
        for (text, expected) in [
            (
                "etcdserver: re-configuration failed due to not enough started members",
                Some(R::NotEnoughStarted),
            ),
            ("etcdserver: unhealthy cluster", Some(R::Unhealthy)),
            (
                "etcdserver: too many learner members in cluster",
                Some(R::TooManyLearners),
            ),
            (
                "etcdserver: can only promote a learner member which is in sync with leader",
                Some(R::LearnerNotReady),
            ),
            (
                "etcdserver: can only promote a learner member",
                Some(R::NotALearner),
            ),
            (
                "etcdserver: rpc not supported for learner",
                Some(R::LearnerCannotServe),
            ),
            (
                "etcdserver: Peer URLs already exists",
                Some(R::PeerUrlExists),
            ),
            ("etcdserver: member ID already exist", Some(R::MemberExists)),
            ("etcdserver: member not found", Some(R::MemberNotFound)),
            ("etcdserver: not leader", Some(R::NotLeader)),
            ("etcdserver: bad leader transferee", Some(R::NotLeader)),
            ("etcdserver: no leader", Some(R::NoLeader)),
            ("etcdserver: leader changed", Some(R::OutcomeUnknown)),
            ("etcdserver: request timed out", Some(R::OutcomeUnknown)),
            (
                "etcdserver: request timed out, possibly due to previous leader failure",
                Some(R::OutcomeUnknown),
            ),
            ("etcdserver: server stopped", Some(R::OutcomeUnknown)),
            (
                "etcdserver: mvcc: database space exceeded",
                Some(R::NoSpace),
            ),
            ("etcdserver: corrupt cluster", Some(R::Corrupt)),
            ("etcdserver: something new", Some(R::Other)),
            ("membership: peerURL exists", Some(R::PeerUrlExists)),
            ("transport error", None),
            ("tcp connect error: no leader in sight", None),
            ("", None),
        ] {
            assert_eq!(R::classify(text), expected, "{text:?}");
        }
    }
}
