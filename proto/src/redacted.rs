//! Messages that carry secrets are printed without them.

use crate::v1::{
    BackupChunk, CreateTokenResponse, Delivery, EnrollRequest, JoinMaterial, OrderDone,
};
use std::fmt;

impl fmt::Debug for JoinMaterial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JoinMaterial({} files, redacted)", self.files.len())
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = self.order.as_ref().map(|order| order.id.as_str());
        write!(f, "Delivery({id:?}, sealed {} bytes)", self.sealed.len())
    }
}

impl fmt::Debug for OrderDone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = self.result.as_ref().map(|result| result.id.as_str());
        write!(f, "OrderDone({id:?}, sealed {} bytes)", self.sealed.len())
    }
}

impl fmt::Debug for BackupChunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BackupChunk({} bytes, redacted)", self.data.len())
    }
}

impl fmt::Debug for EnrollRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EnrollRequest(token {}, redacted)", self.token_id)
    }
}

impl fmt::Debug for CreateTokenResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CreateTokenResponse(token {}, redacted)", self.id)
    }
}
