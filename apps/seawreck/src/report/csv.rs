//! The seconds as lines of comma-separated values (RFC 4180), for spreadsheets.

use std::fmt::Write;

use crate::run::Row;

const HEAD: &str = "at_s,len_s,requests,failed,connections_open,received_bytes,sent_bytes,\
    latency_50_ns,latency_99_ns,latency_99_9_ns,latency_100_ns,is_draining";

/// A head and a line for each second.
pub(crate) fn report(series: &[Row]) -> String {
    let mut text = format!("{HEAD}\r\n");
    for row in series {
        let [p50, p99, p999, max] = row.latencies;
        let Row { at_s, len_s, good, bad, open, received_bytes, sent_bytes, .. } = row;
        let is_draining = u8::from(row.is_draining);
        write!(
            text,
            "{at_s:.6},{len_s:.6},{good},{bad},{open},{received_bytes},{sent_bytes},{p50},{p99},{p999},{max},{is_draining}\r\n"
        )
        .expect("a string takes everything");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_second_is_a_line_of_as_many_values_as_the_head_has() {
        let row = Row { at_s: 1.0, len_s: 1.0, good: 5, latencies: [1, 2, 3, 4], ..Row::default() };
        let text = report(&[row, row]);
        assert!(text.ends_with("1.000000,1.000000,5,0,0,0,0,1,2,3,4,0\r\n"), "{text}");
        let widths: Vec<usize> = text.lines().map(|line| line.split(',').count()).collect();
        assert_eq!(widths, [12, 12, 12]);
    }
}
