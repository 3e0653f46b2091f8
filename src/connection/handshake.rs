//! How a WebSocket begins (RFC 6455, 4.2), the same at every path.
//! Hands over the way to the socket. It must never begin one that was not asked for.

use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::upgrade::OnUpgrade;
use hyper::{Response, StatusCode};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

/// The head of the answer, and the socket that comes with it; or the head of a refusal, which says
/// what would be understood.
///
/// # Errors
/// This is not asked for, or in another version.
pub fn shake(
    headers: &HeaderMap,
    upgrade: Option<OnUpgrade>,
) -> Result<(Response<()>, OnUpgrade), Response<()>> {
    let value = |name: &str| headers.get(name).map(HeaderValue::as_bytes);
    let key = value("sec-websocket-key").map(derive_accept_key);
    let asked = has(headers, "upgrade", "websocket");
    let (Some(upgrade), Some(key), true) = (upgrade, key, asked) else {
        return Err(head(
            StatusCode::UPGRADE_REQUIRED,
            [("upgrade", "websocket")],
        ));
    };
    if value("sec-websocket-version") != Some(b"13") {
        let known = ("sec-websocket-version", "13");
        return Err(head(StatusCode::BAD_REQUEST, [known]));
    }
    let begun = [
        ("connection", "upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-accept", &key),
    ];
    Ok((head(StatusCode::SWITCHING_PROTOCOLS, begun), upgrade))
}

/// Whether a word is in one of the lists under this name.
#[must_use]
pub fn has(headers: &HeaderMap, name: &str, word: &str) -> bool {
    words(headers, name).any(|one| one.eq_ignore_ascii_case(word))
}

/// The words of all lists under this name. One that is no text says nothing, and hides none beside it:
/// of some lists clients write the first words, and proxies of ours the last.
pub fn words<'a>(headers: &'a HeaderMap, name: &str) -> impl Iterator<Item = &'a str> + use<'a> {
    let lists = headers.get_all(name).into_iter();
    let words = lists.flat_map(|list| list.as_bytes().split(|byte| *byte == b','));
    words.map(|word| std::str::from_utf8(word).unwrap_or_default().trim())
}

/// A body under a head from here.
#[must_use]
pub fn under<B>(head: Response<()>, mut answer: Response<B>) -> Response<B> {
    *answer.status_mut() = head.status();
    answer.headers_mut().extend(head.into_parts().0.headers);
    answer
}

fn head<const N: usize>(status: StatusCode, headers: [(&'static str, &str); N]) -> Response<()> {
    let mut head = Response::new(());
    *head.status_mut() = status;
    for (name, value) in headers {
        if let Ok(value) = HeaderValue::from_str(value) {
            head.headers_mut()
                .insert(HeaderName::from_static(name), value);
        }
    }
    head
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::Request;

    #[test]
    fn only_what_asks_for_a_websocket_begins_one() {
        let key = ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
        let version = ("sec-websocket-version", "13");
        for (sent, expected, says) in [
            (
                vec![
                    ("upgrade", "h2c"),
                    ("upgrade", "foo, WebSocket"),
                    key,
                    version,
                ],
                101,
                ("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
            ),
            (vec![key, version], 426, ("upgrade", "websocket")),
            (
                vec![("upgrade", "websockets"), key, version],
                426,
                ("upgrade", "websocket"),
            ),
            (
                vec![("upgrade", "websocket"), version],
                426,
                ("upgrade", "websocket"),
            ),
            (
                vec![
                    ("upgrade", "websocket"),
                    key,
                    ("sec-websocket-version", "8"),
                ],
                400,
                ("sec-websocket-version", "13"),
            ),
        ] {
            let mut request = Request::new(());
            for (name, value) in &sent {
                let value = HeaderValue::from_static(value);
                request.headers_mut().append(*name, value);
            }
            let upgrade = hyper::upgrade::on(Request::new(()));
            let shaken = shake(request.headers(), Some(upgrade));
            let head = shaken.map_or_else(|refused| refused, |(head, _)| head);
            assert_eq!(head.status().as_u16(), expected, "{sent:?}");
            assert_eq!(head.headers()[says.0], says.1, "{sent:?}");
            // Of a connection that can't be upgraded.
            let refused = shake(request.headers(), None).map(|_| ()).unwrap_err();
            assert_eq!(refused.status(), StatusCode::UPGRADE_REQUIRED);
        }
    }
}
