//! Messages that carry secrets are printed without them.

use crate::v1::snapshot_part::Part;
use crate::v1::{
    CreateTokenResponse, Delivery, EnrollRequest, FileChunk, JoinMaterial, OrderDone, SnapshotPart,
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

impl fmt::Debug for FileChunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FileChunk({} bytes, redacted)", self.data.len())
    }
}

impl fmt::Debug for SnapshotPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SnapshotPart({:?})", self.part)
    }
}

impl fmt::Debug for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Part::Transfer(id) => write!(f, "Transfer({id})"),
            Part::Data(data) => write!(f, "Data({} bytes, redacted)", data.len()),
        }
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
