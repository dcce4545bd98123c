//! The room page, the console and what they load, from the binary.

use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use rust_embed::RustEmbed;

#[derive(RustEmbed)]
#[folder = "$OUT_DIR/web"]
struct Pages;

/// Nothing but the node's own scripts and styles; WebSockets and requests to other nodes of the mesh.
const POLICY: &str = "default-src 'self'; connect-src 'self' ws: wss: http: https:; img-src 'self' data: blob:; \
                      media-src 'self' blob: data:; frame-ancestors 'none'; base-uri 'none'; form-action 'self'";

/// A page or file by its path.
pub fn page(uri: &Uri) -> Response {
    match uri.path().trim_matches('/') {
        "console" => serve("console.html"),
        path => serve(path),
    }
}

/// A file of the built pages.
pub fn serve(name: &str) -> Response {
    let Some(file) = Pages::get(name) else {
        return (StatusCode::NOT_FOUND, "there is no such page\n").into_response();
    };
    let kind = mime_guess::from_path(name).first_or_octet_stream();
    let headers = [
        (header::CONTENT_TYPE, kind.as_ref().to_owned()),
        (header::CONTENT_SECURITY_POLICY, POLICY.to_owned()),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
        (header::REFERRER_POLICY, "no-referrer".to_owned()),
        // The files are small and change with the binary.
        (header::CACHE_CONTROL, "no-cache".to_owned()),
    ];
    (headers, file.data).into_response()
}
