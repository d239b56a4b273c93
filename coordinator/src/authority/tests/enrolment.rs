//! Nodes: tokens, names, replacement, revocation.

use super::*;

#[tokio::test]
async fn a_lost_reply_is_repeated_and_a_replay_is_refused() {
    let bench = bench();
    let token = bench.token("").await;
    let key = KeyRequest::generate().unwrap();
    let first = bench
        .enroll(&request(&token, "n1", "m1", &key))
        .await
        .unwrap()
        .response;
    let again = bench
        .enroll(&request(&token, "n1", "m1", &key))
        .await
        .unwrap()
        .response;
    assert_eq!(first, again);
    let info = &inspect_pem(&first.certificate_pem).unwrap()[0];
    assert_eq!(
        info.uris,
        [format!("spiffe://quorate/agent/{}", first.node_id)]
    );
    assert!(!info.is_ca && info.names.is_empty());

    let other = KeyRequest::generate().unwrap();
    let replay = bench.enroll(&request(&token, "n1", "m1", &other)).await;
    assert_eq!(replay.err().as_deref(), Some("denied-token-used"));
    assert_eq!(bench.audit("enroll-refused"), 1);
    assert_eq!(bench.audit("enroll"), 1);
    let nodes = bench.authority.nodes().unwrap();
    assert_eq!(
        (nodes.len(), bench.authority.certificates().unwrap().len()),
        (1, 1)
    );
}

#[tokio::test]
async fn of_many_machines_with_one_token_one_gets_in() {
    let bench = bench();
    let token = bench.token("").await;
    let mut tasks = tokio::task::JoinSet::new();
    for at in 0..20 {
        let authority = Arc::clone(&bench.authority);
        let key = KeyRequest::generate().unwrap();
        let request = request(&token, &format!("n{at}"), &format!("m{at}"), &key);
        // Each from an address of its own, so that the limit of tries is not what decides.
        let peer = IpAddr::V4(Ipv4Addr::from(at));
        tasks.spawn(async move { authority.enroll(peer, &request).await.is_ok() });
    }
    let won = tasks
        .join_all()
        .await
        .into_iter()
        .filter(|won| *won)
        .count();
    assert_eq!((won, bench.authority.nodes().unwrap().len()), (1, 1));
}

#[tokio::test]
async fn guessing_ends_after_ten_tries() {
    let bench = bench();
    let token = bench.token("").await;
    let key = KeyRequest::generate().unwrap();
    let mut wrong = request(&token, "n1", "m1", &key);
    wrong.token_secret = "x".repeat(43);
    for _ in 0..10 {
        assert_eq!(
            bench.enroll(&wrong).await.err().as_deref(),
            Some("denied-token")
        );
    }
    let right = request(&token, "n1", "m1", &key);
    assert_eq!(
        bench.enroll(&right).await.err().as_deref(),
        Some("exhausted-tries")
    );
    let elsewhere = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
    assert!(bench.authority.enroll(elsewhere, &right).await.is_ok());
}

#[tokio::test]
async fn a_machine_that_comes_back_replaces_itself() {
    let bench = bench();
    let key = KeyRequest::generate().unwrap();
    let first = bench
        .enroll(&request(&bench.token("").await, "n1", "m1", &key))
        .await
        .unwrap()
        .response;
    let taken = bench
        .enroll(&request(&bench.token("").await, "n1", "m2", &key))
        .await;
    assert_eq!(taken.err().as_deref(), Some("denied-name-taken"));

    let old = agent_identity(&first.node_id).unwrap();
    let serial = inspect_pem(&first.certificate_pem).unwrap()[0]
        .serial
        .clone();
    assert!(!bench.authority.is_denied(&old, &serial));
    let second = bench
        .enroll(&request(&bench.token("").await, "n1", "m1", &key))
        .await
        .unwrap();
    assert_eq!(second.replaced.unwrap().id, first.node_id);
    assert_ne!(second.response.node_id, first.node_id);
    assert!(bench.authority.is_denied(&old, &serial));
    assert!(bench.authority.node(&first.node_id).unwrap().is_none());
    assert!(
        bench
            .authority
            .renew(&first.node_id, &key.csr_pem)
            .await
            .is_err()
    );

    let named = bench
        .enroll(&request(&bench.token("n1").await, "", "m3", &key))
        .await
        .unwrap();
    assert_eq!(named.replaced.unwrap().id, second.response.node_id);
    let id: String = bench.store.read(&Key::node_name("n1")).unwrap().unwrap();
    assert_eq!(id, named.response.node_id);
}

#[tokio::test]
async fn a_revoked_node_stays_out_until_it_enrols_anew() {
    let bench = bench();
    let key = KeyRequest::generate().unwrap();
    let node = bench
        .enroll(&request(&bench.token("").await, "n1", "m1", &key))
        .await
        .unwrap()
        .response;
    let renewed = bench
        .authority
        .renew(&node.node_id, &key.csr_pem)
        .await
        .unwrap();
    assert_eq!(bench.authority.certificates().unwrap().len(), 2);

    let before = bench.authority.mutual_config();
    let ended = bench
        .authority
        .revoke_node("admin/root", "n1")
        .await
        .unwrap();
    assert_eq!(ended.id, node.node_id);
    assert!(!Arc::ptr_eq(&before, &bench.authority.mutual_config()));
    let identity = agent_identity(&node.node_id).unwrap();
    for pem in [&node.certificate_pem, &renewed.certificate_pem] {
        let serial = &inspect_pem(pem).unwrap()[0].serial;
        let record: CertificateRecord = bench
            .store
            .read(&Key::certificate(serial))
            .unwrap()
            .unwrap();
        assert!(record.revoked_unix.is_some() && bench.authority.is_denied(&identity, serial));
    }
    let missing = bench
        .authority
        .revoke_node("admin/root", "n1")
        .await
        .unwrap_err();
    assert_eq!(missing.code, "missing-node");
    // The name is free again, for any machine.
    assert!(
        bench
            .enroll(&request(&bench.token("").await, "n1", "m2", &key))
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn tokens_can_be_taken_back_and_do_not_show_their_secret() {
    let bench = bench();
    let token = bench.token("").await;
    bench
        .authority
        .revoke_token("admin/root", &token.id)
        .await
        .unwrap();
    let key = KeyRequest::generate().unwrap();
    let refused = bench.enroll(&request(&token, "n1", "m1", &key)).await;
    assert_eq!(refused.err().as_deref(), Some("denied-token-revoked"));
    let kept = serde_json::to_string(&bench.authority.tokens().unwrap()).unwrap();
    assert!(!kept.contains(token.secret.as_str()));
    let missing = bench
        .authority
        .revoke_token("a", "nothing")
        .await
        .unwrap_err();
    assert_eq!(missing.code, "missing-token");
    let long = Some(Duration::from_secs(8 * 24 * 3600));
    assert!(
        bench
            .authority
            .create_token("a", "", long, &addresses("c:1", "c:2"))
            .await
            .is_err()
    );
    assert!(
        bench
            .authority
            .create_token("a", "Not/A/Name", None, &addresses("c:1", "c:2"))
            .await
            .is_err()
    );
}

#[tokio::test]
async fn names_and_machines_are_checked() {
    let bench = bench();
    let key = KeyRequest::generate().unwrap();
    for (name, machine) in [
        ("", "m1"),
        ("../x", "m1"),
        ("UPPER", "m1"),
        ("n1", ""),
        ("n1", "a b"),
    ] {
        let token = bench.token("").await;
        let refused = bench.enroll(&request(&token, name, machine, &key)).await;
        assert!(
            refused.err().unwrap().starts_with("invalid-"),
            "{name:?} {machine:?}"
        );
    }
    let mut no_request = request(&bench.token("").await, "n1", "m1", &key);
    no_request.csr_pem = "none".to_owned();
    assert_eq!(
        bench.enroll(&no_request).await.err().as_deref(),
        Some("invalid-request")
    );
}
