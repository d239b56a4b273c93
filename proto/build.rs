//! Generates the wire types with protox, so that a builder needs no protoc.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=quorate");
    println!("cargo:rerun-if-changed=etcd");

    let ours = protox::compile(
        [
            "quorate/v1/common.proto",
            "quorate/v1/order.proto",
            "quorate/v1/agent.proto",
            "quorate/v1/operator.proto",
        ],
        ["."],
    )?;
    // The descriptor lets a test walk every method against the authorization table.
    let out = std::path::PathBuf::from(std::env::var("OUT_DIR")?);
    let bytes = prost::Message::encode_to_vec(&ours);
    std::fs::write(out.join("descriptor.bin"), bytes)?;

    tonic_prost_build::configure()
        // BTreeMap keeps encodings, and so digests, the same from run to run.
        .btree_map(".")
        .type_attribute(".", "#[derive(serde::Serialize, serde::Deserialize)]")
        // A node's marks outlive the agent that wrote them.
        .field_attribute("quorate.v1.Marks.stopped", "#[serde(default)]")
        .skip_debug([
            "quorate.v1.JoinMaterial",
            "quorate.v1.Delivery",
            "quorate.v1.OrderDone",
            "quorate.v1.EnrollRequest",
            "quorate.v1.CreateTokenResponse",
            "quorate.v1.FileChunk",
            "quorate.v1.SnapshotPart",
            "quorate.v1.SnapshotPart.part",
        ])
        .compile_fds(ours)?;

    let etcd = protox::compile(["etcd/rpc.proto"], ["."])?;
    tonic_prost_build::configure()
        .build_server(false)
        .compile_fds(etcd)?;
    Ok(())
}
