//! Watches that stay open.

use super::call::Caller;
use http::Response;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use std::sync::Arc;
use std::time::Duration;

/// A watch that cannot be opened again is not tried without end and without pause.
const PAUSE: Duration = Duration::from_millis(200);

/// Reads for ever; each end is counted, and the watch opened again, as clients do.
pub async fn hold(caller: Arc<Caller>, first: Response<Incoming>) {
    let through = caller.target().to_string();
    let mut open = Some(first);
    loop {
        if let Some(response) = open.take() {
            let why = end_of(response.into_body()).await;
            caller.tally().watch_ended(&through, &why);
        }
        match caller.watch().await {
            Ok(response) => open = Some(response),
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

async fn end_of(mut body: Incoming) -> String {
    loop {
        match body.frame().await {
            Some(Ok(frame)) if frame.is_trailers() => {
                return format!("ended by the server: {:?}", frame.into_trailers());
            }
            Some(Ok(_)) => {}
            Some(Err(error)) => return format!("{:#}", anyhow::Error::from(error)),
            None => return "ended".to_owned(),
        }
    }
}
