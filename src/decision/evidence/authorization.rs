//! `Authorization` (RFC 9110, 11.6.2), and the scheme that people write before a key elsewhere.
//!
//! Envoy joins several lines of this header by a comma before any filter sees them. Other schemes
//! have commas of their own. One rule tells whether a line is one credential or several.

/// The credentials in a line. A new one begins at a comma outside quotes if a scheme, a blank and
/// another byte than `=` follow. Other text belongs to the credential before it. So `Digest` and
/// `AWS4-HMAC-SHA256`, whose parameters have commas, are one credential each.
pub(super) fn credentials(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let (mut quoted, mut escaped, mut at) = (false, false, 0_usize);
    let begins = move |byte: &u8| {
        at = at.saturating_add(1);
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = quoted,
            b'"' => quoted = !quoted,
            b',' => return !quoted && begins_credential(line.get(at..).unwrap_or_default()),
            _ => {}
        }
        false
    };
    line.split(begins).map(<[u8]>::trim_ascii).filter(|credential| !credential.is_empty())
}

/// Whether this is blanks, a token, at least one blank, and then neither a blank nor `=`.
fn begins_credential(text: &[u8]) -> bool {
    let text = without_blanks(text);
    let end = text.iter().position(|b| !is_token(*b)).unwrap_or(text.len());
    let rest = text.get(end..).unwrap_or_default();
    let after = without_blanks(rest);
    end > 0 && after.len() < rest.len() && after.first().is_some_and(|b| *b != b'=')
}

/// The token behind `Bearer` and a blank. The scheme is in any case (RFC 9110 11.1, RFC 6750 2.1).
pub(super) fn bearer(credential: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = credential.split_at_checked(6)?;
    let token = rest.trim_ascii_start();
    (scheme.eq_ignore_ascii_case(b"bearer") && token.len() < rest.len() && !token.is_empty())
        .then_some(token)
}

fn without_blanks(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = text {
        text = rest;
    }
    text
}

/// RFC 9110 5.6.2
pub(super) fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_one_credential_or_several() {
        let digest = r#"Digest username="a", realm="b, Bearer c", nonce="d", qop=auth"#;
        let aws = "AWS4-HMAC-SHA256 Credential=a/b, SignedHeaders=host;x, Signature=ff";
        for (line, expected) in [
            ("Bearer a", &["Bearer a"][..]),
            ("Bearer a,Bearer b", &["Bearer a", "Bearer b"]),
            ("Bearer a , \tbasic b==", &["Bearer a", "basic b=="]),
            ("Bearer abc,def", &["Bearer abc,def"]),
            ("Bearer a,b ", &["Bearer a,b"]),
            ("Bearer a,Bearer", &["Bearer a,Bearer"]),
            ("Bearer a,Bearer =b", &["Bearer a,Bearer =b"]),
            ("Bearer a,,Bearer b", &["Bearer a,", "Bearer b"]),
            ("a,Bearer b", &["a", "Bearer b"]),
            (digest, &[digest]),
            (aws, &[aws]),
            (r#"Digest a="b\", Bearer c", d = e"#, &[r#"Digest a="b\", Bearer c", d = e"#]),
            (r#"Digest a="b, Bearer c"#, &[r#"Digest a="b, Bearer c"#]),
            (r#"Digest a="b",Bearer c"#, &[r#"Digest a="b""#, "Bearer c"]),
            (",", &[","]),
            ("", &[]),
        ] {
            let found: Vec<&[u8]> = credentials(line.as_bytes()).collect();
            assert_eq!(
                found,
                expected.iter().map(|text| text.as_bytes()).collect::<Vec<_>>(),
                "{line}"
            );
        }
    }

    #[test]
    fn a_scheme_is_no_part_of_a_key() {
        for (value, expected) in [
            ("Bearer a", Some("a")),
            ("bEARER \t a b", Some("a b")),
            ("Bearer", None),
            ("Bearera", None),
            ("Basic a", None),
            ("", None),
        ] {
            assert_eq!(bearer(value.as_bytes()), expected.map(str::as_bytes), "{value}");
        }
    }
}
