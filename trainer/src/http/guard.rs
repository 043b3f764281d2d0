//! Who may ask. The server listens on this machine alone, unless a token is set; and a page of another server can't make a browser
//! ask for it: requests name this server as host, and as origin where they name one.

use std::net::SocketAddr;

use axum::http::header::{AUTHORIZATION, COOKIE, HOST, ORIGIN};
use axum::http::{HeaderMap, HeaderName};

use super::refusal::Refusal;

/// The cookie that holds the token.
pub(crate) const COOKIE_NAME: &str = "med2e3-token";

/// What requests are checked against.
pub(crate) struct Guard {
    /// Hosts that a browser may call the server by; empty where any name will do, since a token is asked for.
    hosts: Vec<String>,
    /// Hash of the token, so that how long a comparison takes tells nothing of it.
    token: Option<blake3::Hash>,
}

impl Guard {
    /// Of a server at this address.
    pub(crate) fn new(address: SocketAddr, token: Option<&str>) -> Guard {
        let port = address.port();
        let names =
            [address.to_string(), format!("localhost:{port}"), format!("127.0.0.1:{port}"), format!("[::1]:{port}")];
        let hosts = if token.is_some() { Vec::new() } else { names.to_vec() };
        Guard { hosts, token: token.map(|token| blake3::hash(token.as_bytes())) }
    }

    /// Whether a request comes from a person's own browser, or from a program on the machine.
    ///
    /// # Errors
    /// It names another host or origin, or comes from a page of another site.
    pub(crate) fn check_origin(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let text = |name: HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
        let host = text(HOST).unwrap_or("");
        if !self.hosts.is_empty() && !self.hosts.iter().any(|own| own.eq_ignore_ascii_case(host)) {
            return Err(Refusal::Forbidden("the request names another host"));
        }
        let is_own = |origin: &str| {
            ["http://", "https://"]
                .iter()
                .any(|scheme| origin.strip_prefix(scheme).is_some_and(|of| of.eq_ignore_ascii_case(host)))
        };
        if text(ORIGIN).is_some_and(|origin| !is_own(origin)) {
            return Err(Refusal::Forbidden("the request comes from a page of another origin"));
        }
        let site = text(HeaderName::from_static("sec-fetch-site"));
        if site.is_some_and(|site| !["same-origin", "none"].contains(&site)) {
            return Err(Refusal::Forbidden("the request comes from a page of another site"));
        }
        Ok(())
    }

    /// Whether a request has the token, where one is set: as cookie or as `Authorization: Bearer`.
    ///
    /// # Errors
    /// It has not.
    pub(crate) fn check_token(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let bearer = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
        let cookies = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
        let mut cookie = cookies.flat_map(|all| all.split(';')).filter_map(|pair| pair.trim().split_once('='));
        let cookie = cookie.find_map(|(name, value)| (name == COOKIE_NAME).then_some(value));
        match [bearer, cookie].into_iter().flatten().any(|given| self.is_token(given)) || self.token.is_none() {
            true => Ok(()),
            false => {
                Err(Refusal::Forbidden("the token is missing or another one: open the address that the server printed"))
            }
        }
    }

    /// Whether this is the token.
    pub(crate) fn is_token(&self, given: &str) -> bool {
        // `blake3::Hash` compares in constant time.
        self.token.is_some_and(|token| token == blake3::hash(given.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap())).collect()
    }

    #[test]
    fn other_hosts_origins_and_sites_are_refused() {
        let guard = Guard::new("127.0.0.1:8080".parse().unwrap(), None);
        let is_fine = |pairs: &[(&'static str, &str)]| guard.check_origin(&headers(pairs)).is_ok();
        assert!(is_fine(&[("host", "127.0.0.1:8080")]) && is_fine(&[("host", "LOCALHOST:8080")]));
        assert!(is_fine(&[("host", "[::1]:8080"), ("origin", "http://[::1]:8080"), ("sec-fetch-site", "same-origin")]));
        for pairs in [
            &[][..],
            &[("host", "127.0.0.1")],
            &[("host", "127.0.0.1:8081")],
            &[("host", "evil.example:8080")],
            &[("host", "localhost:8080"), ("origin", "null")],
            &[("host", "localhost:8080"), ("origin", "http://127.0.0.1:8080")],
            &[("host", "localhost:8080"), ("origin", "http://evil.example")],
            &[("host", "localhost:8080"), ("sec-fetch-site", "cross-site")],
            &[("host", "localhost:8080"), ("sec-fetch-site", "same-site")],
        ] {
            assert!(!is_fine(pairs), "{pairs:?}");
        }
        assert!(guard.check_token(&headers(&[])).is_ok() && !guard.is_token(""));
    }

    #[test]
    fn with_a_token_any_name_will_do_and_nothing_without_it() {
        let guard = Guard::new("0.0.0.0:8080".parse().unwrap(), Some("secret"));
        assert!(guard.check_origin(&headers(&[("host", "gpu7:8080"), ("origin", "https://gpu7:8080")])).is_ok());
        assert!(guard.check_origin(&headers(&[("host", "gpu7:8080"), ("origin", "http://evil.example")])).is_err());
        let has = |pairs: &[(&'static str, &str)]| guard.check_token(&headers(pairs)).is_ok();
        assert!(has(&[("authorization", "Bearer secret")]) && has(&[("cookie", "a=b; med2e3-token=secret")]));
        for pairs in [
            &[][..],
            &[("authorization", "Bearer secre")],
            &[("authorization", "secret")],
            &[("cookie", "token=secret")],
            &[("cookie", "med2e3-token=")],
        ] {
            assert!(!has(pairs), "{pairs:?}");
        }
    }
}
