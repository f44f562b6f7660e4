//! Settings of the network namespace in which a script runs.

use std::path::PathBuf;
use std::{env, fs};

use sunstar_sockets::Settings;
use sunstar_tcpip::tcp::connection::PathProbing;
use sunstar_tcpip::tcp::fast_open::FastOpenKeys;

/// Where they are.
const DIRECTORY: &str = "/proc/sys/net/ipv4";

/// Names the file that grows whenever a script flushes what is remembered of other hosts (`ip tcp_metrics flush`).
const METRICS: &str = "SUNSTAR_TCP_METRICS";

/// What is known of such flushes.
#[derive(Debug)]
pub(crate) struct Metrics {
    file: Option<PathBuf>,
    len: u64,
}

impl Metrics {
    pub(crate) fn from_environment() -> Self {
        Self { file: env::var_os(METRICS).map(PathBuf::from), len: 0 }
    }

    /// Whether there was one since the last time.
    pub(crate) fn were_flushed(&mut self) -> bool {
        let len = self.file.as_ref().and_then(|file| fs::metadata(file).ok()).map_or(0, |metadata| metadata.len());
        core::mem::replace(&mut self.len, len) != len
    }
}

/// What the namespace has set; what it does not have stays as it is.
pub(crate) fn read_into(settings: &mut Settings) {
    read_from(|name| fs::read_to_string(format!("{DIRECTORY}/{name}")).ok(), settings);
}

fn read_from(read: impl Fn(&str) -> Option<String>, settings: &mut Settings) {
    let numbers = |name: &str| -> Vec<u64> {
        let text = read(name).unwrap_or_default();
        text.split_whitespace().filter_map(|word| word.parse().ok()).collect()
    };
    let number = |name| numbers(name).first().copied();
    let clamp = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
    let flag = |name, usual| number(name).map_or(usual, |value| value != 0);
    if let [_, usual, most] = numbers("tcp_rmem")[..] {
        settings.rmem = [clamp(usual), clamp(most)];
    }
    if let [_, usual, most] = numbers("tcp_wmem")[..] {
        settings.wmem = [clamp(usual), clamp(most)];
    }
    settings.timestamps = flag("tcp_timestamps", settings.timestamps);
    settings.sack = flag("tcp_sack", settings.sack);
    settings.window_scaling = flag("tcp_window_scaling", settings.window_scaling);
    settings.slow_start_after_idle = flag("tcp_slow_start_after_idle", settings.slow_start_after_idle);
    if let Some(flags) = number("tcp_fastopen") {
        settings.fast_open = clamp(flags);
    }
    settings.fast_open_keys = read("tcp_fastopen_key").and_then(|text| keys(text.trim())).or(settings.fast_open_keys);
    if let Some(probing) = number("tcp_mtu_probing") {
        settings.mtu_probing = match probing {
            0 => PathProbing::Off,
            1 => PathProbing::AfterBlackHole,
            _ => PathProbing::Always,
        };
    }
    if let Some(mss) = number("tcp_base_mss") {
        settings.base_mss = u16::try_from(mss).unwrap_or(u16::MAX);
    }
    if let Some(retries) = number("tcp_syn_retries") {
        settings.syn_retries = u8::try_from(retries).unwrap_or(u8::MAX);
    }
    if let Some(segments) = number("tcp_min_tso_segs") {
        settings.min_tso_segs = u8::try_from(segments).unwrap_or(u8::MAX);
    }
    if let Some(bytes) = number("tcp_notsent_lowat") {
        settings.notsent_lowat = clamp(bytes);
    }
    if let Some(name) = read("tcp_congestion_control").and_then(|name| name.trim().parse().ok()) {
        settings.congestion = name;
    }
}

/// One key, or two of them separated by a comma, each of four words in hexadecimal digits.
fn keys(text: &str) -> Option<FastOpenKeys> {
    let mut keys = text.split(',').map(|key| {
        let words = key.split('-').map(|word| u32::from_str_radix(word, 16).ok());
        let words: Vec<u32> = words.collect::<Option<_>>()?;
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        <[u8; 16]>::try_from(bytes).ok()
    });
    Some(FastOpenKeys::new(keys.next()??, keys.next().flatten()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_holds_and_what_is_missing_stays() {
        let mut settings = Settings::DEFAULT;
        let read = |name: &str| {
            let text = match name {
                "tcp_rmem" => "4096\t540000\t15728640\n",
                "tcp_timestamps" => "0\n",
                "tcp_mtu_probing" => "2\n",
                "tcp_base_mss" => "1100\n",
                "tcp_congestion_control" => "reno\n",
                _ => return None,
            };
            Some(text.to_owned())
        };
        read_from(read, &mut settings);
        let mut expected = Settings { rmem: [540_000, 15_728_640], timestamps: false, ..Settings::DEFAULT };
        (expected.mtu_probing, expected.base_mss) = (PathProbing::Always, 1_100);
        expected.congestion = "reno".parse().expect("it is known");
        assert_eq!(settings, expected);
    }
}
