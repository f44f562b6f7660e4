//! Programs that others use, which `cargo xtask test tools` provides.

use std::fs;
use std::process::Command;

use super::files::{content, root, serve};
use super::server::{Httpd, served, with_each, with_each_backend};

/// Runs a program to its good end; answers what it printed.
fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap_or_else(|error| panic!("{program}: {error}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program}: {errors}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The number in the line of a report that begins with these words.
fn figure(report: &str, words: &str) -> u64 {
    let line =
        report.lines().map(str::trim).find_map(|line| line.strip_prefix(words)).unwrap_or_else(|| panic!("{report}"));
    line.split_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or_else(|| panic!("{line}"))
}

#[test]
#[ignore = "needs programs: cargo xtask test tools"]
fn curl() {
    with_each(|setup| {
        let httpd = Httpd::start(setup);
        let (page, shard) = (httpd.url("/"), httpd.url("/shard"));
        // Two pages on one connection.
        let report = run("curl", &["-sS", "-w", "%{num_connects},", &page, &page]);
        assert_eq!(report, "Hello world\n1,Hello world\n0,");
        assert_eq!(run("curl", &["-sS", "--http1.0", &page]), "Hello world\n");
        let head = run("curl", &["-sS", "-I", &page]);
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && head.contains("Content-Length: 12\r\n"), "{head}");
        assert!(run("curl", &["-sS", &shard]).trim_end().parse::<usize>().unwrap() < setup.shards);
        let upload = ["-sS", "-H", "Expect: 100-continue", "-d", &"x".repeat(100_000), "-o", "/dev/null"];
        assert_eq!(run("curl", &[&upload[..], &["-w", "%{http_code}", &httpd.url("/none")]].concat()), "404");
        httpd.stop();
    });
}

#[test]
#[ignore = "needs programs: cargo xtask test tools"]
fn curl_downloads() {
    let root = root("curl");
    let folder = root.parent().expect("it has one").to_owned();
    let at = |name: &str| folder.join(name).to_string_lossy().into_owned();
    with_each_backend(|setup| {
        let httpd = serve(setup, &root);
        let (large, page) = (httpd.url("/file/large"), httpd.url("/file/page.txt"));
        let text = "Hello world\n".repeat(10_000);
        // In two parts, the second one asked for as the rest of the first.
        let (out, tag) = (at("out"), at("tag"));
        drop(fs::remove_file(&out));
        run("curl", &["-sS", "-r", "0-1234567", "-o", &out, &large]);
        run("curl", &["-sS", "-C", "-", "-o", &out, &large]);
        assert!(fs::read(&out).unwrap() == content(3_000_000));
        let parts = run("curl", &["-sS", "-r", "0-4,12-16,-6", "-w", "%{http_code}", &page]);
        assert!(parts.matches("Content-Range: bytes ").count() == 3 && parts.ends_with("--\r\n206"), "{parts}");
        assert!(run("curl", &["-sS", "--compressed", &page]) == text);
        for coding in ["gzip", "br", "zstd"] {
            let accept = format!("Accept-Encoding: {coding}");
            let report = run(
                "curl",
                &["-sS", "-H", &accept, "-o", &out, "-w", "%header{content-encoding} %{size_download}", &page],
            );
            let (got, len_bytes) = report.split_once(' ').unwrap();
            assert!(got == coding && len_bytes.parse::<usize>().unwrap() < text.len() / 20, "{report}");
        }
        for save in [["--etag-save", tag.as_str()], ["--etag-compare", tag.as_str()]] {
            let code = run(
                "curl",
                &[&["-sS", "-o", "/dev/null", "-w", "%{http_code}"], &save[..], &[large.as_str()]].concat(),
            );
            assert_eq!(code, if save[0] == "--etag-save" { "200" } else { "304" });
        }
        let newer = run(
            "curl",
            &["-sS", "-z", &root.join("large").to_string_lossy(), "-o", "/dev/null", "-w", "%{http_code}", &large],
        );
        assert_eq!(newer, "304");
        let followed = run("curl", &["-sSL", "-w", "%{num_redirects}", &httpd.url("/file/sub")]);
        assert_eq!(followed, "<p>1");
        assert_eq!(
            run(
                "curl",
                &["-sS", "--path-as-is", "-w", "%{http_code}", "-o", "/dev/null", &httpd.url("/file/../secret")]
            ),
            "404"
        );
        httpd.stop();
    });
}

#[test]
#[ignore = "needs programs: cargo xtask test tools"]
fn ab() {
    with_each(|setup| {
        let httpd = Httpd::start(setup);
        for mode in ["-k", "-d"] {
            let report = run("ab", &["-q", mode, "-n", "4000", "-c", "64", &httpd.url("/")]);
            assert_eq!((figure(&report, "Complete requests:"), figure(&report, "Failed requests:")), (4000, 0));
            if mode == "-k" {
                assert_eq!(figure(&report, "Keep-Alive requests:"), 4000);
            }
        }
        let log = httpd.stop();
        assert_eq!(served(&log).iter().map(|(requests, _)| requests).sum::<u64>(), 8000, "{log}");
    });
}

#[test]
#[ignore = "needs programs: cargo xtask test tools"]
fn wrk() {
    with_each(|setup| {
        let httpd = Httpd::start(setup);
        let report = run("wrk", &["-t", "1", "-c", "64", "-d", "1s", &httpd.url("/")]);
        assert!(!report.contains("Socket errors") && !report.contains("Non-2xx"), "{report}");
        let log = httpd.stop();
        println!("{report}{log}");
        let connections: Vec<u64> = served(&log).iter().map(|(_, connections)| *connections).collect();
        assert!(connections.iter().max().unwrap() - connections.iter().min().unwrap() <= 1, "{log}");
    });
}

#[test]
#[ignore = "needs programs: cargo xtask test tools"]
fn chromium() {
    with_each(|setup| {
        let httpd = Httpd::start(setup);
        let profile = format!("--user-data-dir={}/chromium", env!("CARGO_TARGET_TMPDIR"));
        let page =
            run("chromium", &["--headless", "--no-sandbox", "--disable-gpu", &profile, "--dump-dom", &httpd.url("/")]);
        assert!(page.contains("Hello world"), "{page}");
        httpd.stop();
    });
}
