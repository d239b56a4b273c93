//! Storage is asked ahead of each part of a removal that takes the node down, unless the operator's word goes without.

use super::*;

fn departs(facts: &Facts, wish: &Intent) -> (Vec<StepKind>, bool) {
    let departure = next(facts, wish, NOW);
    let kinds = departure.steps.iter().map(SideStep::kind).collect();
    (kinds, departure.removes)
}

#[test]
fn before_the_lead_is_handed_over_and_before_the_member_is_removed() {
    let (mut leads, mut wish) = scene(Distribution::Etcd, &["n1", "n2"]);
    word(&mut wish).drained = true;
    for member in listed(&mut leads) {
        if let Observed::Known(health) = &mut member.health {
            health.leader = 3;
        }
    }
    let (mut down, mut stopped) = scene(Distribution::Kubeadm, &["n1", "n2"]);
    (word(&mut stopped).drained, word(&mut stopped).stopped) = (true, true);
    at(&mut down, "n3").api_ready = Observed::Known(false);
    let unasked = [
        (&leads, &mut wish, (vec![StepKind::HandOver; 3], false)),
        (&down, &mut stopped, (vec![], true)),
    ];
    for (facts, wish, goes_on) in unasked {
        assert_eq!(departs(facts, wish), goes_on);
        wish.storage = true;
        let asks = (vec![StepKind::CheckStorage], false);
        assert_eq!(departs(facts, wish), asks);
        word(wish).without_storage = true;
        assert_eq!(departs(facts, wish), goes_on);
    }
}
