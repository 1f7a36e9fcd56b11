//! Origins whose pages may read what the API answers (RFC 6454, the CORS protocol of the Fetch standard).
//!
//! An answer never depends on cookies or other credentials of a browser, so none are allowed.
//!
//! Not by `actix-cors`: it answers a preflight with 200, that of a foreign page with 400, and leaves both out of the metrics. Here
//! every preflight is answered and counted alike, 204 with or without permission.

use std::str::FromStr;

use actix_web::http::Uri;

/// An origin as a browser writes it, or all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// `*`
    Any,
    /// Scheme, host and port.
    Exactly(String),
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "PM-API-004: `{0}` is no origin; write it as a browser does, e.g. https://wallet.example or http://localhost:3000, \
     or * for all"
)]
pub struct BadOrigin(String);

impl Origin {
    /// Whether this is the origin that a browser names.
    pub fn admits(&self, named: &[u8]) -> bool {
        match self {
            Self::Any => true,
            Self::Exactly(origin) => origin.as_bytes() == named,
        }
    }
}

impl FromStr for Origin {
    type Err = BadOrigin;

    fn from_str(text: &str) -> Result<Self, BadOrigin> {
        if text == "*" {
            return Ok(Self::Any);
        }
        let bad = || BadOrigin(text.to_owned());
        let uri: Uri = text.parse().map_err(|_| bad())?;
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else { return Err(bad()) };
        // A browser leaves the port out that the scheme implies, and writes the host in small letters.
        let implied = matches!((scheme, authority.port_u16()), ("https", Some(443)) | ("http", Some(80)));
        let origin = format!("{scheme}://{authority}");
        let canonical = origin == text && !implied && !authority.as_str().contains(['@', '*']);
        if canonical && !text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            Ok(Self::Exactly(origin))
        } else {
            Err(bad())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_written_as_a_browser_writes_it() {
        for text in
            ["https://wallet.example", "http://localhost:3000", "http://[::1]:8080", "https://a.b:8443"]
        {
            let origin: Origin = text.parse().unwrap();
            assert!(origin.admits(text.as_bytes()) && !origin.admits(b"https://other.example"), "{text}");
            assert!(!origin.admits(format!("{text}.evil.example").as_bytes()));
        }
        assert!("*".parse::<Origin>().unwrap().admits(b"https://other.example"));
        for text in [
            "",
            "null",
            "wallet.example",
            "https://",
            "https://wallet.example/",
            "https://wallet.example/path",
            "https://Wallet.example",
            "https://wallet.example:443",
            "http://wallet.example:80",
            "https://user@wallet.example",
            "https://*.example",
        ] {
            assert_eq!(text.parse::<Origin>(), Err(BadOrigin(text.to_owned())), "{text}");
        }
    }
}
