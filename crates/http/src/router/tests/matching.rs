//! Which pattern fits which path.

use proptest::prelude::*;
use proptest::sample::select;

use super::naive;
use crate::{Error, Exchange, Params, Request, Router};

async fn nothing(_: Request, _: &mut Exchange<'_>) -> Result<(), Error> {
    Ok(())
}

fn router(patterns: &[&str]) -> Router {
    let mut router = Router::new();
    for pattern in patterns {
        router.get(pattern, nothing).unwrap();
    }
    router
}

/// The pattern that fits, and its values as they came.
fn shown(router: &Router, path: &str) -> String {
    let Some(params) = router.find(path.as_bytes().to_vec()) else { return "none".to_owned() };
    let values = params.iter().map(|(name, value)| format!(" {name}={}", value.escape_ascii()));
    values.fold(params.pattern().to_owned(), |all, value| all + &value)
}

#[test]
fn the_more_exact_pattern_wins_in_any_order() {
    let patterns =
        ["/{rest...}", "/a/{rest...}", "/a/{x}", "/a/b", "/{x}/b", "/{x}/{y}", "/a/{x}/c", "/a/b/{rest...}", "/"];
    for patterns in [patterns.to_vec(), patterns.iter().rev().copied().collect()] {
        let router = router(&patterns);
        for (path, expected) in [
            ("/", "/"),
            ("/a", "/{rest...} rest=a"),
            ("/a/", "/a/{rest...} rest="),
            ("/a/b", "/a/b"),
            ("/a/x", "/a/{x} x=x"),
            ("/x/b", "/{x}/b x=x"),
            ("/x/y", "/{x}/{y} x=x y=y"),
            ("/x/y/z", "/{rest...} rest=x/y/z"),
            // What was begun as `/a/b` goes on as `/a/b/…`, which is more exact than `/a/{x}/c`.
            ("/a/b/c", "/a/b/{rest...} rest=c"),
            ("/a/x/c", "/a/{x}/c x=x"),
            ("/a/x/d", "/a/{rest...} rest=x/d"),
        ] {
            assert_eq!(shown(&router, path), expected, "{path}");
        }
    }
}

#[test]
fn nothing_is_made_the_same_but_encodings() {
    let router = router(&["/users", "/a%20b", "/c%2Fd", "/100%25", "/users/{id}", "/files/{path...}"]);
    for (path, expected) in [
        ("/%75sers", "/users"),
        ("/%75%73%65%72%73", "/users"),
        ("/a%20b", "/a%20b"),
        ("/%61%20b", "/a%20b"),
        ("/c%2fd", "/c%2Fd"),
        ("/c/d", "none"),
        ("/100%25", "/100%25"),
        ("/100%", "none"),
        ("/users%", "none"),
        ("/Users", "none"),
        ("//users", "none"),
        ("/users/", "none"),
        ("/./users", "none"),
        ("/x/../users", "none"),
        ("/users//", "none"),
        ("/users/a%2Fb", "/users/{id} id=a%2Fb"),
        ("/users/..", "/users/{id} id=.."),
        ("/files", "none"),
        ("/files/", "/files/{path...} path="),
        ("/files//etc/../%2e%2e/x/", "/files/{path...} path=/etc/../%2e%2e/x/"),
        ("users", "none"),
        ("", "none"),
        ("*", "none"),
    ] {
        assert_eq!(shown(&router, path), expected, "{path}");
    }
}

fn params(path: &str) -> Params {
    router(&["/{first}/{second}/{rest...}"]).find(path.as_bytes().to_vec()).unwrap()
}

#[test]
fn values_are_decoded_when_they_are_asked_for() {
    use crate::ParamError;
    use std::borrow::Cow;

    let params = params("/plain/a%2Fb%20%e2%82%ac/%ff/%00");
    assert!(matches!(params.get("first"), Ok(Cow::Borrowed("plain"))));
    assert_eq!(params.get("second").unwrap(), "a/b €");
    assert_eq!(params.get("rest"), Err(ParamError::NotText));
    assert_eq!(params.bytes("rest").unwrap(), &b"\xff/\0"[..]);
    assert_eq!(params.raw("rest").unwrap(), b"%ff/%00");
    assert_eq!((params.get("other"), params.bytes("other")), (Err(ParamError::Unknown), None));
    assert_eq!(
        format!("{params:?}"),
        r#"/{first}/{second}/{rest...} {"first": "plain", "second": "a%2Fb%20%e2%82%ac", "rest": "%ff/%00"}"#
    );
}

#[test]
fn a_long_path_is_looked_at_as_far_as_patterns_go() {
    let router = router(&["/a/{x}", "/{rest...}"]);
    let path = format!("/a{}", "/b".repeat(32_000));
    assert_eq!(router.find(path.clone().into_bytes()).unwrap().raw("rest").unwrap().len(), path.len() - 1);
    assert!(router.find(vec![b'/'; 65_536]).is_none(), "no head is so long");
}

#[test]
fn a_router_shows_its_routes() {
    let mut router = router(&["/", "/a/{x}"]);
    router.post("/a/{x}", nothing).unwrap();
    assert_eq!(format!("{router:?}"), r#"{"/": "GET, HEAD, OPTIONS", "/a/{x}": "GET, HEAD, POST, OPTIONS"}"#);
}

fn path(segments: &'static [&'static str]) -> impl Strategy<Value = String> {
    prop::collection::vec(select(segments), 1..5).prop_map(|segments| format!("/{}", segments.join("/")))
}

proptest! {
    #[test]
    fn property_router_finds_what_trying_all_patterns_finds(
        patterns in prop::collection::vec(
            path(&["a", "b", "%61", "", "{x}", "{y}", "{z}", "c%2Fd", "{r...}", "a%", "{x", "é"]),
            0..8,
        ),
        path in path(&["a", "b", "a", "%61", "", "c%2fd", "%zz", "..", "other"]),
    ) {
        naive::check(format!("{}\n{path}", patterns.join("\n")).as_bytes());
    }
}
