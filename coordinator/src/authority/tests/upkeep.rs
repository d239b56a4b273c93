//! What lasts and what is forgotten.

use super::*;

#[tokio::test]
async fn what_is_over_is_forgotten() {
    let bench = bench();
    let key = KeyRequest::generate().unwrap();
    bench
        .enroll(&request(&bench.token("").await, "n1", "m1", &key))
        .await
        .unwrap();
    bench
        .enroll(&request(&bench.token("").await, "n2", "m2", &key))
        .await
        .unwrap();
    bench
        .authority
        .revoke_node("admin/root", "n1")
        .await
        .unwrap();
    let count = || {
        let authority = &bench.authority;
        (
            authority.certificates().unwrap().len(),
            authority.tokens().unwrap().len(),
            authority.nodes().unwrap().len(),
        )
    };
    let day = 24 * 3600;
    bench.authority.forget(clock::unix()).await.unwrap();
    assert_eq!(count(), (2, 2, 2));
    bench
        .authority
        .forget(clock::unix() + 3 * day)
        .await
        .unwrap();
    assert_eq!(count(), (0, 2, 2));
    bench
        .authority
        .forget(clock::unix() + 31 * day)
        .await
        .unwrap();
    assert_eq!(count(), (0, 0, 1));
}

#[tokio::test]
async fn revocations_survive_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    Files::new(folder.path()).create_ca(clock::now()).unwrap();
    let store = Arc::new(Store::in_memory());
    let names = server_names(&["localhost".to_owned()], "host").unwrap();
    let open = || Authority::open(folder.path(), names.clone(), Arc::clone(&store)).unwrap();
    let authority = open();
    let made = authority
        .create_user("admin/root", &user("eve", "viewer"))
        .await
        .unwrap();
    authority.revoke_user("admin/root", "eve").await.unwrap();
    let viewer = Identity::new(Role::Viewer, "eve").unwrap();
    let serial = &inspect_pem(&made.certificate_pem).unwrap()[0].serial;
    assert!(open().is_denied(&viewer, serial));
}
