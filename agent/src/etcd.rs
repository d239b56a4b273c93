//! Client of etcd: membership and maintenance calls with bounded time, errors by name.
