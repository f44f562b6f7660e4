//! Files over the simulated network.

use std::cell::Cell;
use std::future::Future;
use std::io::Read;
use std::net::Ipv4Addr;
use std::rc::Rc;
use std::time::Duration;

use sunstar_executor::Service;
use sunstar_executor::timer::{now, sleep};
use sunstar_http1::HeaderName;
use sunstar_net::{Address, ListenerOptions};
use sunstar_sim::{MemoryFiles, Random, Report, Sim, SimError, SimOptions, for_each_seed};

use super::client::{Answer, Client, Ending};
use super::site::{PORT, body};
use crate::compress::MAX_ENCODERS;
use crate::files::{Files, FilesOptions};
use crate::{Error, Exchange, Request, Server, ServerStats, Status};

/// What the server is told, and what it tells.
#[derive(Default)]
struct Told {
    stop: Cell<bool>,
    /// When it was asked to stop.
    stats: Cell<ServerStats>,
    /// How long stopping took.
    took: Cell<Duration>,
}

/// Lets a main function talk to a server of files, which stops in order after it; then no file is open any more.
fn visit<M>(
    sim: Sim,
    main: impl FnOnce(MemoryFiles, Rc<Told>) -> M + 'static,
) -> Result<(Report, ServerStats, Duration), SimError>
where
    M: Future<Output = ()> + 'static,
{
    let mut sim = sim;
    let files = MemoryFiles::default();
    let told = Rc::new(Told::default());
    let (tells, served) = (Rc::clone(&told), files.clone());
    sim.host("server", 1, move || async move {
        served.install();
        let files = Files::open("", FilesOptions::default()).await.unwrap();
        let server =
            Server::new(async move |request, exchange: &mut Exchange<'_>| answer(&files, request, exchange).await);
        let address = Address::Inet((Ipv4Addr::UNSPECIFIED, PORT).into());
        server.listen(address, ListenerOptions::default()).await.unwrap();
        while !tells.stop.get() {
            sleep(Duration::from_millis(1)).await;
        }
        let begun = now();
        tells.stats.set(server.stats());
        server.stop().await;
        tells.took.set(now() - begun);
        // Connections that were given up have their timeouts.
        sleep(Duration::from_secs(120)).await;
        assert_eq!(served.open_files(), 0);
    });
    let tells = Rc::clone(&told);
    sim.host("client", 1, move || async move {
        main(files, Rc::clone(&tells)).await;
        tells.stop.set(true);
    });
    let report = sim.run()?;
    Ok((report, told.stats.get(), told.took.get()))
}

fn quiet<M: Future<Output = ()> + 'static>(main: impl FnOnce(MemoryFiles) -> M + 'static) -> ServerStats {
    visit(Sim::new(1), |files, _| main(files)).unwrap().1
}

async fn answer(files: &Files, request: Request, exchange: &mut Exchange<'_>) -> Result<(), Error> {
    let Some(path) = request.path().strip_prefix(b"/file/") else {
        let mut encoder = exchange.encoder(&request);
        let mut response = exchange.respond(Status::OK)?;
        encoder.announce(&mut response);
        response.stream(None);
        for _ in 0..100 {
            encoder.send(exchange, &[b'x'; 1000]).await?;
        }
        encoder.flush(exchange).await?;
        encoder.send(exchange, b"the end").await?;
        return encoder.end(exchange).await;
    };
    files.serve(&request, path, exchange).await
}

impl Client {
    /// Prepares a request for a file.
    fn ask_file(&mut self, method: &str, path: &str, fields: &[(&str, &str)]) {
        let mut request = self.http.request(method, &format!("/file/{path}"), "server").unwrap();
        for (name, value) in fields {
            request.header(HeaderName::new(name).unwrap(), value).unwrap();
        }
        request.send("");
    }

    async fn file(&mut self, path: &str, fields: &[(&str, &str)]) -> Result<Answer, Ending> {
        self.ask_file("GET", path, fields);
        self.transmit().await.map_err(Ending::Net)?;
        self.answer().await
    }
}

impl Answer {
    fn field(&self, name: &str) -> Option<&str> {
        self.head.headers().get(name).map(|value| std::str::from_utf8(value).unwrap())
    }
}

/// Text that is not too easy to compress.
fn text(len_bytes: usize) -> Vec<u8> {
    let mut random = Random::stream(1, 1);
    let mut text = Vec::new();
    while text.len() < len_bytes {
        text.extend_from_slice(format!("{} ", random.below(100_000)).as_bytes());
    }
    text.truncate(len_bytes);
    text
}

fn decoded(answer: &Answer) -> Vec<u8> {
    let (mut decoded, body) = (Vec::new(), answer.body.as_slice());
    match answer.field("content-encoding") {
        Some("gzip") => flate2::read::GzDecoder::new(body).read_to_end(&mut decoded).map(drop).unwrap(),
        Some("br") => brotli::Decompressor::new(body, 4096).read_to_end(&mut decoded).map(drop).unwrap(),
        Some("zstd") => decoded = zstd::decode_all(body).unwrap(),
        None => decoded.extend_from_slice(body),
        Some(other) => panic!("{other}"),
    }
    decoded
}

#[test]
fn files_are_served() {
    quiet(|files| async move {
        files.write("dir/index.html", "<p>");
        files.write("a b.txt", "small");
        files.write("empty", "");
        files.write("large.bin", body(1_000_000));
        for (latency, is_known) in [(0, true), (0, false), (1, true)] {
            files.set_latency(Duration::from_millis(latency));
            files.set_known_to_network(is_known);
            let mut client = Client::connect().await.unwrap();
            let small = client.file("a%20b.txt", &[]).await.unwrap();
            assert_eq!((small.status(), small.body.as_slice()), (200, &b"small"[..]));
            assert_eq!(small.field("content-type"), Some("text/plain; charset=utf-8"));
            assert_eq!(small.field("x-content-type-options"), Some("nosniff"));
            assert_eq!(client.file("empty", &[]).await.unwrap().body, b"");
            assert_eq!(client.file("large.bin", &[]).await.unwrap().body, body(1_000_000));
            assert_eq!(client.file("dir/", &[]).await.unwrap().body, b"<p>");
            let moved = client.file("dir?a=b", &[]).await.unwrap();
            assert_eq!((moved.status(), moved.field("location")), (301, Some("./dir/?a=b")));
            for (path, status) in
                [("", 404), ("none", 404), ("a%20b.txt/", 404), ("..", 404), ("%2e%2e/x", 404), ("%", 400)]
            {
                assert_eq!(client.file(path, &[]).await.unwrap().status(), status, "{path}");
            }
            for path in ["large.bin", "a%20b.txt", "empty"] {
                client.ask_file("HEAD", path, &[("Range", "bytes=0-1")]);
                client.ask_file("GET", path, &[]);
                client.transmit().await.unwrap();
                let (head, whole) = (client.answer().await.unwrap(), client.answer().await.unwrap());
                assert_eq!((head.status(), head.body.len()), (200, 0));
                for name in ["content-length", "etag", "last-modified", "content-type", "accept-ranges"] {
                    assert!(head.field(name).is_some() && head.field(name) == whole.field(name), "{name}");
                }
            }
            for (method, status) in [("POST", 405), ("OPTIONS", 204)] {
                client.ask_file(method, "large.bin", &[]);
                client.transmit().await.unwrap();
                let told = client.answer().await.unwrap();
                assert_eq!((told.status(), told.field("allow")), (status, Some("GET, HEAD, OPTIONS")));
            }
        }
    });
}

#[test]
fn what_the_client_has_is_not_sent() {
    quiet(|files| async move {
        files.write("page", "content");
        sleep(Duration::from_secs(2)).await;
        let mut client = Client::connect().await.unwrap();
        let first = client.file("page", &[]).await.unwrap();
        let (tag, date) = (first.field("etag").unwrap(), first.field("last-modified").unwrap());
        for field in [("If-None-Match", tag), ("If-Modified-Since", date)] {
            let again = client.file("page", &[field]).await.unwrap();
            assert_eq!((again.status(), again.field("etag"), again.field("content-length")), (304, Some(tag), None));
        }
        assert_eq!(client.file("page", &[("If-Match", "\"x\"")]).await.unwrap().status(), 412);
        let part = [("Range", "bytes=1-2"), ("If-Range", tag)];
        assert_eq!(client.file("page", &part).await.unwrap().body, b"on");
        files.write("page", "CONTENT");
        assert_eq!(client.file("page", &[("If-None-Match", tag)]).await.unwrap().status(), 200);
        let other = client.file("page", &part).await.unwrap();
        assert_eq!((other.status(), other.body.as_slice()), (200, &b"CONTENT"[..]));
    });
}

#[test]
fn parts_of_files_are_served() {
    quiet(|files| async move {
        files.write("large.bin", body(1_000_000));
        files.write("empty", "");
        for is_known in [true, false] {
            files.set_known_to_network(is_known);
            let mut client = Client::connect().await.unwrap();
            for (range, part) in
                [("0-0", 0..1), ("-3", 999_997..1_000_000), ("5000-", 5000..1_000_000), ("1-3,2-9", 1..10)]
            {
                let answer = client.file("large.bin", &[("Range", &format!("bytes={range}"))]).await.unwrap();
                assert_eq!((answer.status(), answer.body.as_slice()), (206, &body(1_000_000)[part.clone()]));
                let said = format!("bytes {}-{}/1000000", part.start, part.end - 1);
                assert_eq!(answer.field("content-range"), Some(said.as_str()));
            }
            let none = client.file("large.bin", &[("Range", "bytes=1000000-")]).await.unwrap();
            assert_eq!((none.status(), none.field("content-range")), (416, Some("bytes */1000000")));
            assert_eq!(client.file("large.bin", &[("Range", "lines=1-")]).await.unwrap().status(), 200);
            assert_eq!(client.file("empty", &[("Range", "bytes=0-")]).await.unwrap().status(), 200);
            let several =
                client.file("large.bin", &[("Range", "bytes=900000-, 0-99999, 500000-500001")]).await.unwrap();
            assert_eq!(several.status(), 206);
            let boundary =
                several.field("content-type").unwrap().strip_prefix("multipart/byteranges; boundary=").unwrap();
            let mut wanted = Vec::new();
            for part in [900_000..1_000_000, 0..100_000, 500_000..500_002] {
                let (first, last) = (part.start, part.end - 1);
                let head = format!(
                    "\r\n--{boundary}\r\nContent-Type: application/octet-stream\r\nContent-Range: bytes {first}-{last}/1000000\r\n\r\n"
                );
                wanted.extend_from_slice(head.as_bytes());
                wanted.extend_from_slice(&body(1_000_000)[part]);
            }
            wanted.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
            assert_eq!(several.body, wanted);
        }
    });
}

#[test]
fn files_are_compressed_as_the_client_likes_it() {
    quiet(|files| async move {
        let page = text(300_000);
        files.write("page.txt", page.clone());
        files.write("small.txt", "small");
        files.write("image.png", page.clone());
        let mut client = Client::connect().await.unwrap();
        let plain = client.file("page.txt", &[]).await.unwrap();
        for coding in ["gzip", "br", "zstd"] {
            let accept = ("Accept-Encoding", coding);
            let answer = client.file("page.txt", &[accept, ("Range", "bytes=0-9")]).await.unwrap();
            assert_eq!((answer.status(), answer.field("content-encoding")), (200, Some(coding)));
            assert!(answer.body.len() < page.len() * 6 / 10, "{coding}: {}", answer.body.len());
            assert!(decoded(&answer) == page);
            assert_eq!((answer.field("vary"), answer.field("accept-ranges")), (Some("Accept-Encoding"), None));
            let tag = answer.field("etag").unwrap();
            assert_eq!(tag, format!("W/{}", plain.field("etag").unwrap()));
            assert_eq!(client.file("page.txt", &[accept, ("If-None-Match", tag)]).await.unwrap().status(), 304);
            for path in ["small.txt", "image.png"] {
                assert_eq!(client.file(path, &[accept]).await.unwrap().field("content-encoding"), None);
            }
            client.ask_file("HEAD", "page.txt", &[accept]);
            client.transmit().await.unwrap();
            let head = client.answer().await.unwrap();
            assert_eq!(
                (head.field("content-encoding"), head.field("content-length"), head.body.len()),
                (Some(coding), None, 0)
            );
        }
        assert_eq!(plain.field("vary"), Some("Accept-Encoding"));
        let forbidden = |value| [("Accept-Encoding", value)];
        assert_eq!(client.file("image.png", &forbidden("identity;q=0")).await.unwrap().status(), 406);
        let image = client.file("image.png", &forbidden("gzip, identity;q=0")).await.unwrap();
        assert!(image.field("content-encoding") == Some("gzip") && decoded(&image) == page);
        // To a client of HTTP/1.0 it ends with the connection.
        let mut old = Client::connect().await.unwrap();
        old.raw("GET /file/page.txt HTTP/1.0\r\nAccept-Encoding: gzip\r\n\r\n").await.unwrap();
        let mut all = Vec::new();
        while let Ok(bytes) = old.stream.read().await
            && !bytes.is_empty()
        {
            all.extend_from_slice(&bytes);
        }
        let at = all.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
        let mut body = Vec::new();
        flate2::read::GzDecoder::new(&all[at..]).read_to_end(&mut body).unwrap();
        assert!(body == page);
    });
}

#[test]
fn what_was_compressed_before_is_sent_unless_it_is_older() {
    quiet(|files| async move {
        files.write("page.txt", text(10_000));
        files.write("page.txt.gz", "not really gzip");
        files.write("page.txt.br", "not really brotli");
        let mut client = Client::connect().await.unwrap();
        let get = async |client: &mut Client, accepted, range| {
            client.file("page.txt", &[("Accept-Encoding", accepted), ("Range", range)]).await.unwrap()
        };
        let answer = get(&mut client, "gzip", "bytes=0-2").await;
        assert_eq!(
            (answer.status(), answer.body.as_slice(), answer.field("content-encoding")),
            (206, &b"not"[..], Some("gzip"))
        );
        assert_eq!(
            (answer.field("content-type"), answer.field("content-range")),
            (Some("text/plain; charset=utf-8"), Some("bytes 0-2/15"))
        );
        assert_eq!(get(&mut client, "gzip, br", "").await.body, b"not really brotli");
        assert_eq!(get(&mut client, "gzip;q=0.1, br;q=0", "").await.body, b"not really gzip");
        assert_eq!(get(&mut client, "identity", "").await.body, text(10_000));
        sleep(Duration::from_secs(2)).await;
        files.write("page.txt", text(20_000));
        assert!(decoded(&get(&mut client, "gzip", "").await) == text(20_000));
    });
}

#[test]
fn other_handlers_compress_on_request() {
    quiet(|_| async move {
        let whole = [vec![b'x'; 100_000].as_slice(), b"the end"].concat();
        let mut client = Client::connect().await.unwrap();
        for coding in ["gzip", "br", "zstd", "identity"] {
            let mut request = client.http.request("GET", "/", "server").unwrap();
            request.header(HeaderName::new("Accept-Encoding").unwrap(), coding).unwrap();
            request.send("");
            client.transmit().await.unwrap();
            let answer = client.answer().await.unwrap();
            assert!(decoded(&answer) == whole && (answer.body.len() < 1000) == (coding != "identity"), "{coding}");
        }
    });
}

#[test]
fn encoders_are_bounded_and_further_files_go_as_they_are() {
    let stats = quiet(|files| async move {
        let page = text(1_500_000);
        files.write("page.txt", page.clone());
        let mut stuck = Vec::new();
        for _ in 0..MAX_ENCODERS {
            let mut client = Client::connect().await.unwrap();
            client.ask_file("GET", "page.txt", &[("Accept-Encoding", "gzip")]);
            client.transmit().await.unwrap();
            stuck.push(client);
        }
        sleep(Duration::from_secs(1)).await;
        let mut client = Client::connect().await.unwrap();
        let answer = client.file("page.txt", &[("Accept-Encoding", "gzip")]).await.unwrap();
        assert_eq!((answer.field("content-encoding"), answer.body.len()), (None, page.len()));
        assert!(!answer.field("etag").unwrap().starts_with('W'));
        drop(stuck);
        sleep(Duration::from_secs(1)).await;
        let answer = client.file("page.txt", &[("Accept-Encoding", "gzip")]).await.unwrap();
        assert!(answer.field("content-encoding") == Some("gzip") && decoded(&answer) == page);
    });
    assert_eq!(stats.uncompressed, 1);
}

#[test]
fn a_file_that_becomes_shorter_ends_the_connection_within_its_response() {
    let stats = quiet(|files| async move {
        let page = text(1_500_000);
        let parts = ("Range", "bytes=0-699999,800000-");
        let (plain, gzip) = (("Accept-Encoding", "identity"), ("Accept-Encoding", "gzip"));
        for (is_known, field) in [(true, parts), (false, parts), (false, plain), (true, gzip)] {
            files.set_known_to_network(is_known);
            files.write("page.txt", page.clone());
            let mut client = Client::connect().await.unwrap();
            client.ask_file("GET", "page.txt", &[field]);
            client.transmit().await.unwrap();
            // The client does not read, so not all of it is sent.
            sleep(Duration::from_millis(100)).await;
            files.write("page.txt", page[..100_000].to_vec());
            let (answers, ending) = client.answers().await;
            assert!(
                answers.is_empty() && matches!(ending, Ending::BrokenOff | Ending::Net(_)),
                "{field:?}: {ending:?}"
            );
        }
    });
    assert_eq!(stats.failed, 4, "{stats:?}");
}

#[test]
fn a_file_without_name_is_sent_to_its_end() {
    quiet(|files| async move {
        files.write("page", body(1_000_000));
        let mut client = Client::connect().await.unwrap();
        client.ask_file("GET", "page", &[]);
        client.transmit().await.unwrap();
        sleep(Duration::from_millis(100)).await;
        files.remove("page");
        assert_eq!(client.answer().await.unwrap().body, body(1_000_000));
        assert_eq!(client.file("page", &[]).await.unwrap().status(), 404);
    });
}

#[test]
fn downloads_that_are_given_up_leave_nothing_open() {
    let stats = quiet(|files| async move {
        files.write("page.txt", text(500_000));
        for number in 0..48_u32 {
            files.set_known_to_network(number % 2 == 0);
            let mut client = Client::connect().await.unwrap();
            let coding = ["identity", "gzip", "zstd", "br"][number as usize % 4];
            client.ask_file("GET", "page.txt", &[("Accept-Encoding", coding)]);
            client.transmit().await.unwrap();
            match number % 3 {
                0 => {}
                1 => sleep(Duration::from_millis(1)).await,
                _ => drop(client.stream.read().await),
            }
            if number % 5 == 0 { drop(client) } else { client.stream.abort() }
        }
        sleep(Duration::from_secs(60)).await;
        assert_eq!(files.open_files(), 0);
    });
    assert_eq!(stats.live, 0);
}

#[test]
fn whoever_does_not_take_a_file_puts_the_stop_off_for_the_grace_only() {
    for coding in ["identity", "gzip"] {
        let (_, _, took) = visit(Sim::new(1), move |files, told| async move {
            files.write("page.txt", text(4_000_000));
            let mut client = Client::connect().await.unwrap();
            client.ask_file("GET", "page.txt", &[("Accept-Encoding", coding)]);
            client.transmit().await.unwrap();
            sleep(Duration::from_millis(100)).await;
            told.stop.set(true);
            sleep(Duration::from_secs(30)).await;
        })
        .unwrap();
        assert!((4..8).contains(&took.as_secs()), "{took:?}");
    }
}

/// Clients of all kinds, on networks of all kinds, at files that change: what is said to be whole is of one state.
#[test]
fn sim_sweep_files() {
    for_each_seed(0..30, |seed| {
        let sim = Sim::with_options(seed, SimOptions::drawn(seed));
        let (report, ..) = visit(sim, move |files, _| async move {
            let mut random = Random::stream(seed, 3000);
            files.set_latency(Duration::from_micros(random.below(300)));
            for _ in 0..random.between(1, 15) {
                files.set_known_to_network(random.below(2) == 0);
                let len = usize::try_from(random.below(200_000)).unwrap();
                files.write("page.txt", text(len));
                let Ok(mut client) = Client::connect().await else { continue };
                let (first, last) = (random.below(200_000), random.below(200_000));
                let range = format!("bytes={}-{}", first.min(last), first.max(last));
                let accepted = ["", "gzip", "br", "zstd", "*;q=0.1"][usize::try_from(random.below(5)).unwrap()];
                let asked =
                    if random.below(2) == 0 { ("Range", range.as_str()) } else { ("Accept-Encoding", accepted) };
                let asked = [asked];
                let get = client.file("page.txt", &asked);
                if random.below(4) == 0 {
                    let patience = Duration::from_micros(random.below(3000));
                    drop(sunstar_executor::combine::with_timeout(patience, get).await);
                    continue;
                }
                let Ok(answer) = get.await else { continue };
                match answer.status() {
                    200 => assert!(decoded(&answer) == text(len)),
                    206 => {
                        let [first, last] = [first.min(last), first.max(last)].map(|at| usize::try_from(at).unwrap());
                        assert!(answer.body == text(len)[first..len.min(last + 1)]);
                    }
                    status => assert_eq!(status, 416),
                }
            }
        })?;
        Ok(report)
    });
}
