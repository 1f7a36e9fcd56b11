//! GraphiQL from our own files: nothing is loaded from another host, and the policy forbids it.

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{self, EntityTag, IfNoneMatch},
    web,
};
use rust_embed::RustEmbed;

#[derive(RustEmbed)]
#[folder = "../../web/graphiql"]
struct Files;

/// Scripts only from here and none inline. CodeMirror places its lines by style attributes, hence inline styles.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
                      font-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'";

pub async fn index(request: HttpRequest) -> HttpResponse {
    respond("index.html", &request)
}

pub async fn file(path: web::Path<String>, request: HttpRequest) -> HttpResponse {
    respond(&path, &request)
}

fn respond(path: &str, request: &HttpRequest) -> HttpResponse {
    let Some(file) = Files::get(path) else {
        return HttpResponse::NotFound().content_type("text/plain").body("there is no such file\n");
    };
    let tag = EntityTag::new_strong(hex::encode(file.metadata.sha256_hash()));
    let known = match header::Header::parse(request) {
        Ok(IfNoneMatch::Any) => true,
        Ok(IfNoneMatch::Items(tags)) => tags.iter().any(|known| known.weak_eq(&tag)),
        Err(_) => false,
    };
    let mut response = if known { HttpResponse::NotModified() } else { HttpResponse::Ok() };
    response
        .insert_header(header::ETag(tag))
        .insert_header((header::CACHE_CONTROL, "no-cache"))
        .insert_header((header::CONTENT_SECURITY_POLICY, POLICY))
        .insert_header((header::X_FRAME_OPTIONS, "DENY"));
    if known {
        return response.finish();
    }
    let kind = mime_guess::from_path(path).first_or_octet_stream();
    response.content_type(kind.as_ref()).body(file.data.into_owned())
}
