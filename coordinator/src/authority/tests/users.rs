//! People.

use super::*;

#[tokio::test]
async fn users_hold_one_role() {
    let bench = bench();
    let authority = &bench.authority;
    let serial = |pem: &str| inspect_pem(pem).unwrap()[0].serial.clone();
    let first = authority
        .create_user("admin/root", &user("eve", "operator"))
        .await
        .unwrap();
    let second = authority
        .create_user("admin/root", &user("eve", "operator"))
        .await
        .unwrap();
    let operator = Identity::new(Role::Operator, "eve").unwrap();
    assert!(!authority.is_denied(&operator, &serial(&first.certificate_pem)));
    let third = authority
        .create_user("admin/root", &user("eve", "viewer"))
        .await
        .unwrap();
    for old in [&first, &second] {
        assert!(authority.is_denied(&operator, &serial(&old.certificate_pem)));
    }
    let viewer = Identity::new(Role::Viewer, "eve").unwrap();
    assert!(!authority.is_denied(&viewer, &serial(&third.certificate_pem)));
    authority.revoke_user("admin/root", "eve").await.unwrap();
    assert!(authority.is_denied(&viewer, &serial(&third.certificate_pem)));

    for wrong in [
        user("eve", "agent"),
        user("eve", "coordinator"),
        user("eve", "root"),
        user("E/e", "viewer"),
    ] {
        assert!(authority.create_user("admin/root", &wrong).await.is_err());
    }
    authority
        .create_user("admin/init", &user("root", "admin"))
        .await
        .unwrap();
    let own = authority
        .create_user("admin/root", &user("root", "viewer"))
        .await
        .unwrap_err();
    assert_eq!(own.code, "refused-own-user");
    assert!(authority.revoke_user("admin/root", "root").await.is_err());
}

/// People read the trail.
#[tokio::test]
async fn the_audit_trail_has_a_readable_end() {
    let bench = bench();
    let made = bench
        .authority
        .create_user("admin/root", &user("eve", "viewer"))
        .await
        .unwrap();
    let ends = inspect_pem(&made.certificate_pem).unwrap()[0].not_after;
    let ends = crate::clock::rfc3339(crate::clock::to_unix(ends) * 1000);
    let line = &bench.authority.store.audit(1).unwrap()[0].1;
    assert_eq!(line.detail, format!("viewer/eve until {ends}"));
    assert!(ends.starts_with("20") && ends.ends_with('Z'), "{ends}");
}
