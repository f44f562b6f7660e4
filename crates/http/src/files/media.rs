//! Media types, by the endings of names.

use smallvec::SmallVec;

/// What is known of a file by its name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct MediaType(&'static str);

impl MediaType {
    /// By the ending of the name; bytes that nothing is known of otherwise.
    pub(super) fn of(path: &[u8]) -> Self {
        let name = path.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
        let dot = name.iter().rposition(|&byte| byte == b'.');
        let ending = dot.and_then(|dot| std::str::from_utf8(&name[dot + 1..]).ok());
        let known = ending.and_then(|ending| mime_guess::from_ext(ending).first_raw());
        Self(known.unwrap_or("application/octet-stream"))
    }

    /// The value of `Content-Type`. Text is taken for UTF-8.
    pub(super) fn value(self) -> SmallVec<[u8; 64]> {
        let mut value = SmallVec::from_slice(self.0.as_bytes());
        if self.0.starts_with("text/") {
            value.extend_from_slice(b"; charset=utf-8");
        }
        value
    }

    /// Whether compressing it is worth while: it is not compressed already.
    pub(super) fn is_compressible(self) -> bool {
        let (kind, subtype) = self.0.split_once('/').unwrap_or((self.0, ""));
        let is_listed = matches!(
            subtype,
            "javascript"
                | "json"
                | "xml"
                | "wasm"
                | "x-ndjson"
                | "yaml"
                | "toml"
                | "rtf"
                | "sql"
                | "graphql"
                | "x-sh"
                | "vnd.ms-fontobject"
        );
        kind == "text"
            || subtype.ends_with("+json")
            || subtype.ends_with("+xml")
            || (kind == "application" && is_listed)
            || (kind == "font" && matches!(subtype, "ttf" | "otf"))
            || (kind == "image" && matches!(subtype, "bmp" | "x-icon"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endings_say_what_it_is() {
        for (path, value, is_compressible) in [
            ("index.html", "text/html; charset=utf-8", true),
            ("a/b.CSS", "text/css; charset=utf-8", true),
            ("a.js", "text/javascript; charset=utf-8", true),
            ("a.json", "application/json", true),
            ("a.svg", "image/svg+xml", true),
            ("a.wasm", "application/wasm", true),
            ("a.png", "image/png", false),
            ("a.woff2", "font/woff2", false),
            ("a.tar.gz", "application/gzip", false),
            ("a.html/b", "application/octet-stream", false),
            ("html", "application/octet-stream", false),
            ("a.", "application/octet-stream", false),
            ("a.no-such-thing", "application/octet-stream", false),
        ] {
            let media = MediaType::of(path.as_bytes());
            assert_eq!(
                (media.value().as_slice(), media.is_compressible()),
                (value.as_bytes(), is_compressible),
                "{path}"
            );
        }
        assert_eq!(MediaType::of(b"a.\xff").0, "application/octet-stream");
    }
}
