mod enrolment;
mod upkeep;
mod users;

use super::*;
use quorate_pki::{KeyRequest, inspect_pem};
use quorate_proto::token::JoinToken;
use quorate_proto::v1::{CreateUserRequest, EnrollRequest};
use std::net::{IpAddr, Ipv4Addr};

const PEER: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

struct Bench {
    _folder: tempfile::TempDir,
    authority: Arc<Authority>,
    store: Arc<Store>,
}

fn bench() -> Bench {
    let folder = tempfile::tempdir().unwrap();
    Files::new(folder.path()).create_ca(clock::now()).unwrap();
    let store = Arc::new(Store::in_memory());
    let names = server_names(&["localhost".to_owned()], "host").unwrap();
    let authority = Authority::open(folder.path(), names, Arc::clone(&store)).unwrap();
    Bench {
        _folder: folder,
        authority: Arc::new(authority),
        store,
    }
}

impl Bench {
    async fn token(&self, node: &str) -> JoinToken {
        let made = self
            .authority
            .create_token("admin/root", node, None, &addresses("c:7444", "c:7443"))
            .await
            .unwrap();
        JoinToken::decode(&made.text).unwrap()
    }

    async fn enroll(&self, request: &EnrollRequest) -> Result<Enrolled, String> {
        self.authority
            .enroll(PEER, request)
            .await
            .map_err(|problem| problem.code)
    }

    fn audit(&self, what: &str) -> usize {
        let all = self.store.audit(usize::MAX).unwrap();
        all.iter().filter(|(_, line)| line.what == what).count()
    }
}

fn addresses(enroll: &str, session: &str) -> [quorate_proto::token::Address; 1] {
    [quorate_proto::token::Address {
        enroll: enroll.to_owned(),
        session: session.to_owned(),
    }]
}

fn request(token: &JoinToken, node: &str, machine: &str, key: &KeyRequest) -> EnrollRequest {
    EnrollRequest {
        token_id: token.id.clone(),
        token_secret: token.secret.to_string(),
        csr_pem: key.csr_pem.clone(),
        node_name: node.to_owned(),
        machine_id: machine.to_owned(),
    }
}

fn user(name: &str, role: &str) -> CreateUserRequest {
    CreateUserRequest {
        name: name.to_owned(),
        role: role.to_owned(),
        csr_pem: KeyRequest::generate().unwrap().csr_pem,
        validity_seconds: 0,
    }
}
