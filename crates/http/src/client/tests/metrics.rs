//! What clients show in the metrics.

use sunstar_metrics::{Refusal, gather, prometheus};

use super::world::{echo_targets, get, scripted};
use crate::client::{Client, ClientOptions};

async fn lines() -> Vec<String> {
    prometheus::text(&gather().await).lines().map(str::to_owned).collect()
}

#[test]
fn what_a_client_does_shows_while_it_is_there() {
    scripted(ClientOptions::default(), echo_targets, |client| async move {
        client.publish("shop").unwrap();
        let other = Client::default();
        assert_eq!(other.publish("shop").unwrap_err().refusal, Refusal::Duplicate);
        other.publish("other").unwrap();
        for path in ["/a", "/b"] {
            get(&client, path).await.unwrap();
        }
        let shown = lines().await;
        for (figure, value) in [
            ("requests_total{client=\"shop\"", 2),
            ("responses_total{client=\"shop\"", 2),
            ("connected_total{client=\"shop\"", 1),
            ("reused_total{client=\"shop\"", 1),
            ("connections_ended_total{client=\"shop\",reason=\"broken_off\"", 0),
            ("connections_idle{client=\"shop\"", 1),
            ("response_seconds_count{client=\"shop\"", 2),
            ("requests_total{client=\"other\"", 0),
        ] {
            let line = format!("sunstar_http_client_{figure},shard=\"0\"}} {value}");
            assert!(shown.contains(&line), "{line} is not in {shown:#?}");
        }
        drop(other);
        assert!(!lines().await.iter().any(|line| line.contains("client=\"other\"")));
    });
}
