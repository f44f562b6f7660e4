//! The client at a real server, over each of the kernel's drivers: `cargo xtask test tools` provides nginx.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use sunstar_executor::spawn;
use sunstar_executor::timer::sleep;
use sunstar_http::client::{Client, ClientError, ClientOptions};
use sunstar_reactor::{Backend, Config, run};

/// nginx, until it is dropped.
struct Nginx {
    child: Child,
    folder: PathBuf,
    port: u16,
}

impl Nginx {
    fn start(name: &str) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _absent = fs::remove_dir_all(&folder);
        fs::create_dir_all(folder.join("www/dav")).expect("a folder");
        let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port();
        fs::write(folder.join("nginx.conf"), configuration(&folder, port)).expect("a file");
        fs::write(folder.join("www/hello"), "hello").expect("a file");
        fs::write(folder.join("www/big"), body(16 << 20)).expect("a file");
        fs::write(folder.join("www/pieces.shtml"), "a<!--#echo var=\"none\" default=\"b\" -->c").expect("a file");
        let child = Command::new("nginx")
            .arg("-c")
            .arg(folder.join("nginx.conf"))
            .stderr(Stdio::null())
            .spawn()
            .expect("nginx can be started");
        let nginx = Self { child, folder, port };
        for _ in 0..500 {
            if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return nginx;
            }
            thread::sleep(Duration::from_millis(20));
        }
        panic!("nginx does not listen: {}", fs::read_to_string(nginx.folder.join("log")).unwrap_or_default());
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _gone = self.child.wait();
    }
}

fn configuration(folder: &Path, port: u16) -> String {
    let folder = folder.display();
    let user = if fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0) {
        "user root;"
    } else {
        ""
    };
    format!(
        "daemon off; master_process off; {user} pid {folder}/pid; error_log {folder}/log;
         events {{ worker_connections 256; }}
         http {{
             access_log off; client_max_body_size 0;
             client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
             uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
             server {{
                 listen 127.0.0.1:{port};
                 root {folder}/www;
                 location /dav/ {{ dav_methods PUT DELETE; }}
                 location /pieces.shtml {{ ssi on; default_type text/html; }}
                 location /last/ {{ alias {folder}/www/; keepalive_timeout 0; }}
                 location /few/ {{ alias {folder}/www/; keepalive_requests 3; }}
                 location /short/ {{ alias {folder}/www/; keepalive_timeout 200ms; }}
                 location /moved {{ return 302 /hello; }}
             }}
         }}"
    )
}

/// A body of so many bytes.
fn body(len_bytes: usize) -> Vec<u8> {
    (0..len_bytes).map(|at| (at % 251).to_le_bytes()[0]).collect()
}

/// Runs a main function of one shard over each driver, beside an nginx.
fn with_each<M: Future<Output = ()> + 'static>(name: &str, main: fn(Client, String) -> M) {
    let nginx = Nginx::start(name);
    for backend in [Backend::Epoll, Backend::IoUring] {
        println!("{backend:?}");
        let config = Config {
            smp: Some(1),
            overprovisioned: true,
            reactor_backend: Some(backend),
            blocked_reactor_notify: Duration::ZERO,
            ..Config::default()
        };
        let base = format!("http://localhost:{}", nginx.port);
        run(config, move || main(Client::default(), base)).expect("it runs");
    }
}

async fn get(client: &Client, uri: &str) -> Result<Vec<u8>, ClientError> {
    let mut response = client.get(uri).send().await?;
    assert_eq!(response.status().code(), 200, "{uri}");
    Ok(response.collect(64 << 20).await?.to_vec())
}

#[test]
#[ignore = "needs nginx: cargo xtask test tools"]
fn connections_are_kept_and_renewed() {
    with_each("kept", |client, base| async move {
        for _ in 0..1000 {
            assert_eq!(get(&client, &format!("{base}/hello")).await.unwrap(), b"hello");
        }
        // nginx ends a connection after 1,000 requests.
        let stats = client.stats();
        assert!(stats.connected <= 2 && stats.reused >= 998, "{stats:?}");
        for path in ["last", "few", "moved"] {
            for _ in 0..10 {
                let response = client.get(&format!("{base}/{path}/hello")).send().await.unwrap();
                assert!([200, 302].contains(&response.status().code()));
            }
        }
        for _ in 0..3 {
            assert_eq!(get(&client, &format!("{base}/short/hello")).await.unwrap(), b"hello");
            sleep(Duration::from_millis(600)).await;
            assert_eq!(client.stats().open, 0, "nginx has closed it, and that was noticed");
        }
        assert_eq!(client.stats().unasked, 0);
    });
}

#[test]
#[ignore = "needs nginx: cargo xtask test tools"]
fn bodies_of_all_forms_and_sizes_come_through() {
    with_each("bodies", |client, base| async move {
        let big = body(16 << 20);
        assert!(get(&client, &format!("{base}/big")).await.unwrap() == big);
        let chunked = client.get(&format!("{base}/pieces.shtml")).send().await.unwrap();
        assert_eq!(chunked.headers().get("transfer-encoding"), Some(&b"chunked"[..]));
        drop(chunked);
        assert_eq!(get(&client, &format!("{base}/pieces.shtml")).await.unwrap(), b"abc");
        let head = client.request("HEAD", &format!("{base}/big")).send().await.unwrap();
        assert_eq!(head.headers().get("content-length"), Some(&b"16777216"[..]));

        let uri = format!("{base}/dav/file");
        let put = client.request("PUT", &uri).body(big.clone()).send().await.unwrap();
        assert!([201, 204].contains(&put.status().code()));
        assert!(get(&client, &uri).await.unwrap() == big);
        for expects in [false, true] {
            let request = client.request("PUT", &uri);
            let request = if expects { request.expect_continue() } else { request };
            let mut upload = request.stream(if expects { Some(10_000_000) } else { None }).await.unwrap();
            for part in big[..10_000_000].chunks(12_345) {
                upload.send_body(part.to_vec()).await.unwrap();
            }
            assert_eq!(upload.finish().await.unwrap().status().code(), 204);
            assert!(get(&client, &uri).await.unwrap() == big[..10_000_000]);
        }
        let deleted = client.request("DELETE", &uri).send().await.unwrap();
        assert_eq!(deleted.status().code(), 204);
        drop(deleted);
        assert_eq!(client.get(&uri).send().await.unwrap().status().code(), 404);
        let stats = client.stats();
        assert!(stats.connected <= 3, "{stats:?}");
    });
}

#[test]
#[ignore = "needs nginx: cargo xtask test tools"]
fn many_requests_share_few_connections_and_may_be_dropped() {
    with_each("many", |_, base| async move {
        let client = Client::new(ClientOptions { connections_per_host: 4, ..ClientOptions::default() });
        let tasks: Vec<_> = (0..100)
            .map(|number| {
                let (client, base) = (client.clone(), base.clone());
                spawn(async move {
                    match number % 4 {
                        0 => drop(client.get(&format!("{base}/big")).send().await.unwrap()),
                        1 => drop(client.get(&format!("{base}/hello")).send().await.unwrap()),
                        _ => assert_eq!(get(&client, &format!("{base}/hello")).await.unwrap(), b"hello"),
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        sleep(Duration::from_millis(50)).await;
        let stats = client.stats();
        assert_eq!(
            (stats.responses, stats.broken_off, stats.open, stats.waiting),
            (100, 25, stats.idle, 0),
            "{stats:?}"
        );
        assert!(stats.reused >= 70, "{stats:?}");
    });
}

#[test]
#[ignore = "needs nginx: cargo xtask test tools"]
fn a_server_that_is_gone_is_told() {
    with_each("gone", |client, base| async move {
        get(&client, &format!("{base}/hello")).await.unwrap();
        let port: u16 = base.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port");
        // Nobody listens there: whoever bound it has let it go.
        let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port();
        assert_ne!(port, free);
        let refused = client.post(&format!("http://127.0.0.1:{free}/")).send().await;
        assert_eq!(refused.err(), Some(ClientError::Connect(sunstar_net::Error::ConnectionRefused)));
        assert_eq!(client.stats().retried, 2);
    });
}
