//! Which media type answers a request (RFC 9110 §12.5.1, GraphQL-over-HTTP "Body").

/// A media type that the API can answer in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MediaType {
    /// `application/graphql-response+json`: the status code tells whether the request was executed.
    GraphqlResponse,
    /// `application/json`: every answer to a well-formed request has status 200.
    Json,
}

impl MediaType {
    pub fn content_type(self) -> &'static str {
        match self {
            MediaType::GraphqlResponse => "application/graphql-response+json; charset=utf-8",
            MediaType::Json => "application/json; charset=utf-8",
        }
    }

    fn subtype(self) -> &'static str {
        match self {
            MediaType::GraphqlResponse => "graphql-response+json",
            MediaType::Json => "json",
        }
    }
}

/// One media range of an `Accept` header.
struct Range<'a> {
    kind: &'a str,
    subtype: &'a str,
    /// Thousandths.
    quality: u16,
    utf8: bool,
}

impl<'a> Range<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let mut parts = text.split(';').map(str::trim);
        let (kind, subtype) = parts.next()?.split_once('/')?;
        let mut range = Range { kind, subtype, quality: 1000, utf8: true };
        for parameter in parts {
            let (name, value) = parameter.split_once('=')?;
            if name.eq_ignore_ascii_case("q") {
                let quality: f32 = value.parse().ok().filter(|q| (0.0..=1.0).contains(q))?;
                range.quality = (quality * 1000.0) as u16;
            } else if name.eq_ignore_ascii_case("charset") {
                range.utf8 = is_utf8(value);
            }
        }
        Some(range)
    }

    /// How closely it names the type: 3 in full, 2 for `application/*`, 1 for `*/*`.
    fn specificity(&self, media: MediaType) -> Option<u8> {
        let application = self.kind.eq_ignore_ascii_case("application");
        match (application, self.subtype) {
            _ if !self.utf8 => None,
            (true, subtype) if subtype.eq_ignore_ascii_case(media.subtype()) => Some(3),
            (true, "*") => Some(2),
            (false, "*") if self.kind == "*" => Some(1),
            _ => None,
        }
    }
}

/// Whether a charset parameter means UTF-8.
pub fn is_utf8(charset: &str) -> bool {
    let charset = charset.trim_matches('"');
    charset.eq_ignore_ascii_case("utf-8") || charset.eq_ignore_ascii_case("utf8")
}

/// The media type for an `Accept` header (several lines joined with commas), or nothing if it allows none of ours.
/// Without a header: `application/graphql-response+json`, as the specification says since 2025.
pub fn negotiate(accept: Option<&str>) -> Option<MediaType> {
    let Some(accept) = accept.map(str::trim).filter(|accept| !accept.is_empty()) else {
        return Some(MediaType::GraphqlResponse);
    };
    let ranges: Vec<_> = accept.split(',').filter_map(|text| Range::parse(text.trim())).collect();
    let best = |media: MediaType| {
        let matching = ranges.iter().enumerate().filter_map(|(place, range)| {
            range.specificity(media).map(|specificity| (specificity, place, range.quality))
        });
        let (_, place, quality) =
            matching.max_by_key(|(specificity, place, _)| (*specificity, usize::MAX - place))?;
        (quality > 0).then_some((quality, usize::MAX - place, media))
    };
    let candidates = [best(MediaType::Json), best(MediaType::GraphqlResponse)];
    // `max_by_key` keeps the last of equals: graphql-response where one wildcard matched both.
    candidates.into_iter().flatten().max_by_key(|(quality, order, _)| (*quality, *order)).map(|best| best.2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_client_gets_the_type_that_it_asked_for() {
        use MediaType::{GraphqlResponse, Json};
        for (accept, expected) in [
            (None, Some(GraphqlResponse)),
            (Some(""), Some(GraphqlResponse)),
            (Some("*/*"), Some(GraphqlResponse)),
            (Some("application/*"), Some(GraphqlResponse)),
            (Some("application/json"), Some(Json)),
            (Some("APPLICATION/JSON; charset=\"UTF-8\""), Some(Json)),
            (Some("application/graphql-response+json"), Some(GraphqlResponse)),
            (
                Some("application/graphql-response+json; charset=utf-8, application/json; charset=utf-8"),
                Some(GraphqlResponse),
            ),
            (Some("application/json, application/graphql-response+json"), Some(Json)),
            (Some("application/json;q=0.5, application/graphql-response+json"), Some(GraphqlResponse)),
            (Some("application/json, */*;q=0.1"), Some(Json)),
            (Some("application/graphql-response+json;q=0, */*"), Some(Json)),
            (Some("text/html, application/xhtml+xml, */*;q=0.8"), Some(GraphqlResponse)),
            (Some("text/html"), None),
            (Some("application/json;q=0"), None),
            (Some("application/json; charset=latin1"), None),
            (Some("nonsense"), None),
            (Some("application/json;q=2"), None),
        ] {
            assert_eq!(negotiate(accept), expected, "{accept:?}");
        }
    }
}
