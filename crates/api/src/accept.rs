//! Which media type answers a request (RFC 9110 §12.5.1, GraphQL-over-HTTP "Body"). The header is read by
//! `mediatype`; which of two types is preferred is decided here, since of equals the first that the client names counts.

use mediatype::{
    MediaType as Named, MediaTypeList, Name, ReadParams,
    names::{_STAR, APPLICATION, CHARSET, JSON, Q},
};

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

    /// Without its parameters.
    fn essence(self) -> Named<'static> {
        const JSON_OF_GRAPHQL: Name<'static> = Name::new_unchecked("graphql-response");
        match self {
            MediaType::GraphqlResponse => Named::from_parts(APPLICATION, JSON_OF_GRAPHQL, Some(JSON), &[]),
            MediaType::Json => Named::new(APPLICATION, JSON),
        }
    }
}

/// One media range of an `Accept` header.
struct Range<'a> {
    named: Named<'a>,
    /// Thousandths.
    quality: u16,
}

impl<'a> Range<'a> {
    /// Nothing for what is no range, and for one of another charset.
    fn of(named: Named<'a>) -> Option<Self> {
        let quality: f32 = match named.get_param(Q) {
            Some(quality) => quality.as_str().parse().ok().filter(|quality| (0.0..=1.0).contains(quality))?,
            None => 1.0,
        };
        let utf8 = named.get_param(CHARSET).is_none_or(|charset| is_utf8(charset.as_str()));
        utf8.then_some(Self { named, quality: (quality * 1000.0) as u16 })
    }

    /// How closely it names the type: 3 in full, 2 for `application/*`, 1 for `*/*`.
    fn specificity(&self, media: MediaType) -> Option<u8> {
        let (known, Named { ty, subty, suffix, .. }) = (media.essence(), &self.named);
        if (*ty, *subty, *suffix) == (known.ty, known.subty, known.suffix) {
            Some(3)
        } else if (*ty, *subty) == (known.ty, _STAR) {
            Some(2)
        } else if (*ty, *subty) == (_STAR, _STAR) {
            Some(1)
        } else {
            None
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
    let ranges: Vec<_> = MediaTypeList::new(accept).filter_map(|named| Range::of(named.ok()?)).collect();
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
