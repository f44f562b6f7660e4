//! What is no pattern, and what stands in another's way.

use crate::{Error, Exchange, Method, Request, RouteRule, Router};

async fn nothing(_: Request, _: &mut Exchange<'_>) -> Result<(), Error> {
    Ok(())
}

#[test]
fn malformed_patterns_are_refused_and_named() {
    let many = "/{a}/{b}/{c}/{d}/{e}/{f}/{g}/{h}/{i}";
    let long = "/a".repeat(crate::MAX_SEGMENTS + 1);
    let mut router = Router::new();
    for (pattern, rule) in [
        ("", RouteRule::Slash),
        ("users", RouteRule::Slash),
        ("*", RouteRule::Slash),
        ("/a b", RouteRule::Character(' ')),
        ("/a?b", RouteRule::Character('?')),
        ("/a#b", RouteRule::Character('#')),
        ("/café", RouteRule::Character('é')),
        ("/a\r\n", RouteRule::Character('\r')),
        ("/100%", RouteRule::Encoding),
        ("/%zz", RouteRule::Encoding),
        ("/a{b}", RouteRule::Braces),
        ("/{a}b", RouteRule::Braces),
        ("/{a", RouteRule::Braces),
        ("/a}", RouteRule::Braces),
        ("/{{a}}", RouteRule::Braces),
        ("/{}", RouteRule::Name("".into())),
        ("/{...}", RouteRule::Name("...".into())),
        ("/{1a}", RouteRule::Name("1a".into())),
        ("/{a-b}", RouteRule::Name("a-b".into())),
        ("/{a}/{a}", RouteRule::TwiceNamed("a".into())),
        ("/{a...}/b", RouteRule::AfterRemainder),
        ("/{a...}/", RouteRule::AfterRemainder),
        (many, RouteRule::TooLong),
        (&long, RouteRule::TooLong),
    ] {
        let error = router.get(pattern, nothing).unwrap_err();
        assert_eq!((error.pattern(), error.rule()), (pattern, &rule), "{error}");
    }
    assert!(format!("{router:?}") == "{}", "nothing was added");
    let error = router.get("/a b", nothing).unwrap_err();
    assert_eq!(error.to_string(), "the pattern /a b: the character ' ' stands in no path; write it percent-encoded");
    let error = router.get("/{1}", nothing).unwrap_err();
    let text = "the pattern /{1}: {1} has no name of letters, digits and underscores that begins with no digit";
    assert_eq!(error.to_string(), text);
}

#[test]
fn patterns_that_fit_the_same_paths_are_in_each_others_way() {
    let mut router = Router::new();
    router.get("/users/{id}", nothing).unwrap().post("/users/{id}", nothing).unwrap();
    let rule = |result: Result<&mut Router, crate::RouteError>| result.unwrap_err().rule().clone();
    assert_eq!(rule(router.get("/users/{id}", nothing)), RouteRule::Twice("GET"));
    assert_eq!(rule(router.get("/%75sers/{id}", nothing)), RouteRule::Twice("GET"));
    assert_eq!(rule(router.put("/users/{name}", nothing)), RouteRule::OtherNames("/users/{id}".into()));
    router.any("/users/{id}", nothing).unwrap();
    assert_eq!(rule(router.any("/users/{id}", nothing)), RouteRule::Twice("a handler of any method"));
    assert_eq!(rule(router.route(Method::Other, "/x", nothing)), RouteRule::Method);
    assert!(router.find("/x").is_none());
    // These go beside it.
    for pattern in ["/users/{name}/posts", "/users/{rest...}", "/users/", "/users", "/users/me", "/{users}/{id}"] {
        router.get(pattern, nothing).unwrap();
    }
}
