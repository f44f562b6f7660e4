//! Programs that others use, which `cargo xtask test tools` provides.

use std::fs;
use std::io::Write;
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::files::{content, root, serve};
use super::server::{Httpd, PATIENCE, command, served, with_each, with_each_backend};

/// Runs a program to its good end; answers what it printed.
pub(super) fn run(program: &str, arguments: &[&str]) -> String {
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

/// What Chromium makes of a page.
pub(super) fn browse(url: &str) -> String {
    // Tests may run at the same time, and a profile is one browser's.
    let profile = tempfile::tempdir().expect("a folder");
    let profile = format!("--user-data-dir={}", profile.path().display());
    run("chromium", &["--headless", "--no-sandbox", "--disable-gpu", &profile, "--dump-dom", url])
}

#[test]
#[ignore = "needs programs: cargo xtask test tools"]
fn chromium() {
    with_each(|setup| {
        let httpd = Httpd::start(setup);
        let page = browse(&httpd.url("/"));
        assert!(page.contains("Hello world"), "{page}");
        httpd.stop();
    });
}

#[test]
#[ignore = "needs programs: cargo xtask test tools"]
fn promtool() {
    with_each(|setup| {
        let httpd = Httpd::start(setup);
        let text = run("curl", &["-sS", &httpd.url("/"), &httpd.url("/none"), &httpd.url("/metrics")]);
        let (_, text) = text.split_once("# HELP").expect("metrics");
        let mut check = Command::new("promtool");
        check.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = check.spawn().expect("it can be started");
        write!(child.stdin.take().expect("it is piped"), "# HELP{text}").expect("it reads");
        let output = child.wait_with_output().expect("it ends");
        let told = [output.stdout, output.stderr].concat();
        assert!(output.status.success() && told.is_empty(), "{}", String::from_utf8_lossy(&told));
        httpd.stop();
    });
}

/// A program that is killed in the end.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts collectd, which keeps what it is told at a port in a folder.
fn collectd(folder: &Path, port: u16) -> Killed {
    let _ = fs::remove_dir_all(folder);
    fs::create_dir_all(folder).expect("a folder");
    let path = folder.display();
    let configuration = format!(
        "Hostname \"collector\"\nBaseDir \"{path}\"\nPIDFile \"{path}/pid\"\nInterval 1\n\
         TypesDB \"/usr/share/collectd/types.db\"\nLoadPlugin csv\nLoadPlugin network\n\
         <Plugin csv>\nDataDir \"{path}/csv\"\nStoreRates false\n</Plugin>\n\
         <Plugin network>\nListen \"127.0.0.1\" \"{port}\"\n</Plugin>\n"
    );
    let file = folder.join("collectd.conf");
    fs::write(&file, configuration).expect("a file");
    let started = Command::new("/usr/sbin/collectd").args(["-f", "-C"]).arg(file).spawn();
    Killed(started.expect("collectd can be started"))
}

/// The values that collectd has written for a shard of a host, of the series whose file begins with this; none yet.
fn written(folder: &Path, plugin: &str, series: &str) -> Vec<(f64, f64)> {
    let Ok(files) = fs::read_dir(folder.join("csv/under-test").join(plugin)) else { return Vec::new() };
    let is_it = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(series));
    let paths = files.filter_map(|file| Some(file.ok()?.path())).filter(is_it);
    let text: String = paths.map(|path| fs::read_to_string(path).expect("it can be read")).collect();
    // The last line may not be complete yet.
    let complete = text.rfind('\n').map_or("", |end| &text[..end]);
    let numbers = |line: &str| {
        let (time, value) = line.split_once(',')?;
        Some((time.parse().ok()?, value.parse().ok()?))
    };
    complete.lines().filter_map(numbers).collect()
}

#[test]
#[ignore = "needs programs: cargo xtask test tools"]
fn collectd_writes_what_httpd_tells() {
    with_each(|setup| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("collectd");
        let port = UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port").port();
        let _collectd = collectd(&folder, port);
        let mut httpd = command(setup);
        httpd.args(["--collectd", &format!("127.0.0.1:{port}"), "--collectd-poll-period-ms", "200"]);
        let httpd = Httpd::run(httpd.args(["--collectd-hostname", "under-test"]));
        for _ in 0..7 {
            run("curl", &["-sS", &httpd.url("/")]);
        }
        let last = |plugin: &str, series: &str| written(&folder, plugin, series).last().map(|(_, value)| *value);
        let shards: Vec<String> = (0..setup.shards).map(|shard| format!("sunstar-{shard}")).collect();
        let deadline = Instant::now() + PATIENCE;
        loop {
            let counts = shards.iter().filter_map(|shard| last(shard, "derive-http_requests_total-httpd"));
            if counts.sum::<f64>() == 7.0 && written(&folder, "sunstar-all", "derive-log_written_total").len() >= 3 {
                break;
            }
            assert!(Instant::now() < deadline, "collectd has not written it to {}", folder.display());
            thread::sleep(Duration::from_millis(50));
        }
        for shard in &shards {
            assert_eq!(last(shard, "gauge-group_shares-main"), Some(200.0));
            assert!(last(shard, "gauge-reactor_asleep_seconds_total").is_some_and(|seconds| seconds > 0.0));
        }
        let times = written(&folder, "sunstar-0", "gauge-timers_armed");
        assert!(times.is_sorted_by(|(one, _), (other, _)| one < other), "{times:?}");
        httpd.stop();
    });
}
