//! Writes the browser SDK's types.

fn main() -> std::io::Result<()> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../node/web/src/protocol.ts");
    std::fs::write(path, skein_proto::typescript::module())
}
