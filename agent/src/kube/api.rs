//! The API server of this host, called as the administrator that kubeadm made (`admin.conf`).

use super::http::{Answer, CLOSED, Call, Connection, Content, Target};
use super::kubeconfig::{self, Kubeconfig};
use crate::paths::Paths;
use hyper::Method;
use quorate_pki::plain_https_client_config;
use quorate_proto::v1::Problem;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

/// A healthy API server of this very host answers within milliseconds; under the load of a start, within seconds.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// Keeps its connection from call to call, and makes a new one when it was lost.
pub struct Api {
    target: Target,
    connection: Option<Connection>,
}

/// Where this host's API server listens: the components beside it are always pointed at it, whatever the endpoint is.
pub fn local_endpoint(paths: &Paths) -> Result<(String, u16), Problem> {
    let file = paths.kubernetes().join("controller-manager.conf");
    kubeconfig::server_of(&file)?.ok_or_else(|| {
        Problem::new("no-api-server", "this node has no API server of its own")
            .at(file.display().to_string())
            .because("it is not a control plane, or it is not prepared yet")
    })
}

/// With the administrator's certificate from `admin.conf`.
pub fn target(paths: &Paths) -> Result<Target, Problem> {
    let admin = Kubeconfig::read(&paths.kubernetes().join("admin.conf"))?;
    let (host, port) = local_endpoint(paths)?;
    let pair = Some((admin.certificate_pem.as_str(), admin.key_pem.as_str()));
    let config = plain_https_client_config(&admin.authority_pem, pair)
        .map_err(|error| Problem::new("kubeconfig", error.to_string()).at("admin.conf"))?;
    Ok(Target {
        host,
        port,
        tls: Arc::new(config),
    })
}

impl Api {
    pub fn new(paths: &Paths) -> Result<Self, Problem> {
        Ok(Api {
            target: target(paths)?,
            connection: None,
        })
    }

    async fn call(&mut self, call: Call<'_>) -> Result<Answer, Problem> {
        if let Some(connection) = self.connection.as_mut() {
            match connection.call(call.clone(), CALL_TIMEOUT).await {
                Err(problem) if problem.code == CLOSED => {}
                Err(problem) => {
                    self.connection = None;
                    return Err(problem);
                }
                answered => return answered,
            }
        }
        self.connection = None;
        let mut fresh = Connection::open(&self.target, CALL_TIMEOUT).await?;
        let answer = fresh.call(call, CALL_TIMEOUT).await?;
        self.connection = Some(fresh);
        Ok(answer)
    }

    /// The object, or nothing if there is none.
    pub async fn get(&mut self, path: &str) -> Result<Option<Value>, Problem> {
        let answer = self.call(Call::get(path)).await?;
        match answer.status {
            404 => Ok(None),
            _ => object(path, answer).map(Some),
        }
    }

    /// Ok(None): there is one of that name already.
    pub async fn create(&mut self, path: &str, body: &Value) -> Result<Option<Value>, Problem> {
        let answer = self.send(Method::POST, path, Content::Json, body).await?;
        match answer.status {
            409 => Ok(None),
            _ => object(path, answer).map(Some),
        }
    }

    /// Ok(None): it was changed meanwhile; read it anew.
    pub async fn merge(&mut self, path: &str, patch: &Value) -> Result<Option<Value>, Problem> {
        let answer = self
            .send(Method::PATCH, path, Content::MergePatch, patch)
            .await?;
        match answer.status {
            409 => Ok(None),
            _ => object(path, answer).map(Some),
        }
    }

    /// Returns whether it was there.
    pub async fn delete(&mut self, path: &str) -> Result<bool, Problem> {
        let call = Call {
            method: Method::DELETE,
            ..Call::get(path)
        };
        let answer = self.call(call).await?;
        match answer.status {
            404 => Ok(false),
            _ => object(path, answer).map(|_| true),
        }
    }

    /// With options in the body; Ok(false): it was not there, or the options were for another object of this name.
    pub async fn delete_as(&mut self, path: &str, options: &Value) -> Result<bool, Problem> {
        let answer = self
            .send(Method::DELETE, path, Content::Json, options)
            .await?;
        match answer.status {
            404 | 409 => Ok(false),
            _ => object(path, answer).map(|_| true),
        }
    }

    async fn send(
        &mut self,
        method: Method,
        path: &str,
        content: Content,
        body: &Value,
    ) -> Result<Answer, Problem> {
        let bytes = serde_json::to_vec(body)
            .map_err(|error| Problem::new("api-refused", error.to_string()).at(path))?;
        let call = Call {
            method,
            body: Some((content, bytes.into())),
            ..Call::get(path)
        };
        self.call(call).await
    }
}

fn object(path: &str, answer: Answer) -> Result<Value, Problem> {
    let value: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    if answer.success() {
        return Ok(value);
    }
    // A Status object; its message names objects, never their content.
    let message = value["message"].as_str().unwrap_or("no reason given");
    Err(Problem::new(
        "api-refused",
        format!("the API server answered {}: {message}", answer.status),
    )
    .at(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &'static str) -> Answer {
        Answer {
            status,
            body: body.into(),
        }
    }

    #[test]
    fn tells_why_it_was_refused() {
        let problem =
            object("/api", answer(403, r#"{"message":"nodes is forbidden"}"#)).unwrap_err();
        assert_eq!(
            problem.what,
            "the API server answered 403: nodes is forbidden"
        );
        let problem = object("/api", answer(502, "<html>")).unwrap_err();
        assert_eq!(problem.what, "the API server answered 502: no reason given");
        assert_eq!(object("/api", answer(200, r#"{"a":1}"#)).unwrap()["a"], 1);
    }
}
