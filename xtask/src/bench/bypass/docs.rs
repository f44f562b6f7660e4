//! What is said about the figures, in `target/bench` and in `docs`.

use std::fmt::Write;
use std::fs;

use anyhow::{Context, Result};

use super::contest::{Contestant, Group, Than};
use super::pair::{CPUS, scaling};
use super::plot::{Plot, Series};
use super::table::{Row, Table};
use super::{Options, forward, world};
use crate::bench::{machine, page};
use crate::command::root;

const PLOTS: &str = "docs/benchmarks";

/// What the tables show.
const COLUMNS: &str = "- tables: with each is said whom the first of it is compared with by the bars; \"the first's by it\" is the first one's figure \
     divided by that of the row, busy the share of the time in which an end had something to do, and saturated the end that had nearly always\n";

/// How AF_XDP is measured.
const VETH: &str = "- AF_XDP: a new pair of virtual interfaces with one queue for each run, between two network namespaces with the \
     settings above. The bars are about Sunstar by AF_XDP at both ends (in copy mode, all that veth has) beside the kernel's TCP at both ends \
     of such a pair, with the offloads that it has by itself; both spin. (`net.core.busy_poll` has the kernel's sockets poll devices. Those of \
     veth it only does with GRO, and nothing became faster by that.) Checksums are computed by Sunstar and by nobody else; nobody looks at them \
     where they come. Sunstar at the server's end alone, loaded by the kernel's client, which spins, has no bar, since that client has most to \
     do. With both ends on each core the kernel has a server and a client there, each with half of the connections; they can't \
     spin, so no bar is about them\n";

/// How forwarding is measured.
const FORWARD: &str = "- forwarding: packets of one size circle between two vhost-user ports, 128 in each direction on split rings of 256, between \
     whoever forwards them, on processor 0, and a testpmd of DPDK with two drivers (`net_virtio_user`), on processor 1. testpmd forwards with \
     `net_vhost` in its mode `io`. What counts are the cycles of bursts in which there were packets, from before they are received until they \
     are sent, as testpmd's `--record-core-cycles` has it; less is better\n";

/// The section about all of it.
///
/// # Errors
/// If something about the machine can't be found.
pub(super) fn section(options: &Options, tables: &[Table]) -> Result<String> {
    let mut text = "\n## The network without the kernel\n\n".to_owned();
    put(&mut text, format_args!("- command: `{}`", machine::command_line()));
    for (name, value) in machine::describe()?.into_iter().take(4) {
        put(&mut text, format_args!("- {name}: {value}"));
    }
    let settings: Vec<String> = world::SETTINGS.iter().map(|(name, value)| format!("`{name}` = {value}")).collect();
    put(
        &mut text,
        format_args!("- the kernel's set-ups: over loopback in a network namespace with {}", settings.join(", ")),
    );
    let [server, client] = CPUS;
    put(
        &mut text,
        format_args!(
            "- Sunstar: two processes joined by vhost-user, the server (front end, which owns the memory) on processor {server}, the client on \
         {client}; both spin, as they do by default\n- rounds: {} of {} s, interleaved, order rotated; figures are medians, and ratios those \
         of the rounds' ratios{}",
            options.rounds(),
            options.seconds(),
            if options.is_for_claims() { "" } else { "; too short for claims" }
        ),
    );
    text.push_str(COLUMNS);
    let (noisy, all) = tables.iter().map(Table::noisy).fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
    put(&mut text, format_args!("- noise: in {noisy} of {all} rounds others used the processors"));
    if tables.iter().any(|table| table.contest.group == Group::Shards) {
        put(
            &mut text,
            format_args!(
                "- both processors together do {:.2} times as much arithmetic as one, with nothing shared: more no program gains by the second",
                scaling()?
            ),
        );
    }
    if tables.iter().any(|table| table.contest.group.is_veth()) {
        text.push_str(VETH);
    }
    if tables.iter().any(|table| table.contest.group == Group::Forward) {
        text.push_str(FORWARD);
        let version = machine::installed(forward::PACKAGE).unwrap_or_else(|| "unknown".to_owned());
        put(&mut text, format_args!("- DPDK's version: {version}"));
    }
    bars(&mut text, tables);
    for group in Group::ALL {
        figures(&mut text, group, tables);
    }
    Ok(text)
}

fn bars(text: &mut String, tables: &[Table]) {
    text.push_str("\n| bar | demanded | measured | met |\n|---|---|---|---|\n");
    for table in tables {
        for bar in table.contest.bars() {
            let than = match bar.than {
                Than::BestOfKernel => "the kernel's best",
                Than::Copying => "our copying API",
                Than::OneShard => "one shard",
                Than::Spinning => "the kernel, busy-polling",
                Than::Testpmd => "testpmd's own figure in the same run",
            };
            let sign = if table.contest.group.is_cost() { "≤" } else { "≥" };
            let name =
                format!("{}: {} {}", table.contest.group.title(), table.contest.value, table.contest.group.variable());
            let verdict = table.judge(bar);
            let (measured, met) = verdict.map_or_else(
                || ("not measured".to_owned(), "–"),
                |verdict| {
                    (
                        format!("{:.2} × {}", verdict.measured, verdict.than),
                        if verdict.is_met { "yes" } else { "**no**" },
                    )
                },
            );
            put(text, format_args!("| {name} | {sign} {} × {than} | {measured} | {met} |", bar.factor));
        }
    }
}

fn figures(text: &mut String, group: Group, tables: &[Table]) {
    let tables: Vec<&Table> = tables.iter().filter(|table| table.contest.group == group).collect();
    if tables.is_empty() {
        return;
    }
    put(text, format_args!("\n### {}\n", group.title()));
    if let Some(plot) = group.plot() {
        put(text, format_args!("![{}](benchmarks/{plot})\n", group.title()));
    }
    put(text, format_args!("Compared with: {}.\n", group.compared()));
    if group == Group::Forward {
        return forwarding(text, &tables);
    }
    let (variable, unit) = (group.variable(), group.unit());
    put(
        text,
        format_args!(
            "| {variable} | who | {unit} | the first's by it | median µs | 99 % µs | busy: client, server | saturated |"
        ),
    );
    text.push_str("|---:|---|---:|---:|---:|---:|---:|---|\n");
    for table in tables {
        for row in &table.rows {
            let value = table.contest.value;
            let name = row.contestant.name();
            let Some(median) = row.median(group) else {
                put(
                    text,
                    format_args!("| {value} | {name} | failed: {} | | | | | |", row.failure().unwrap_or("not run")),
                );
                continue;
            };
            let ratio = table.ratio_to(row).map_or_else(|| "–".to_owned(), |ratio| format!("{ratio:.2}"));
            let of = |value: fn(&super::pair::Figures) -> f64| row.median_of(value).unwrap_or(0.0);
            put(
                text,
                format_args!(
                    "| {value} | {name} | {median:.2} | {ratio} | {:.1} | {:.1} | {:.0} %, {:.0} % | {} |",
                    of(|figures| figures.median_us),
                    of(|figures| figures.p99_us),
                    100.0 * of(|figures| figures.client_busy),
                    100.0 * of(|figures| figures.server_busy),
                    row.saturated(),
                ),
            );
        }
    }
}

/// Of those who forward: what a packet costs, and what whoever sends the packets back spends on one.
fn forwarding(text: &mut String, tables: &[&Table]) {
    let (variable, unit) = (Group::Forward.variable(), Group::Forward.unit());
    put(
        text,
        format_args!("| {variable} | who | {unit} | the first's by it | million packets/s | the generator's {unit} |"),
    );
    text.push_str("|---:|---|---:|---:|---:|---:|\n");
    for table in tables {
        for row in &table.rows {
            let (value, name) = (table.contest.value, row.contestant.name());
            let Some(median) = row.median(Group::Forward) else {
                let failure = row.failure().unwrap_or("not run");
                put(text, format_args!("| {value} | {name} | not measured: {failure} | | | |"));
                continue;
            };
            let ratio = table.ratio_to(row).map_or_else(|| "–".to_owned(), |ratio| format!("{ratio:.2}"));
            let rate = row.median_of(|figures| figures.messages / 1e6).unwrap_or(0.0);
            let generator = row.median_of(|figures| figures.generator_cycles).unwrap_or(0.0);
            put(text, format_args!("| {value} | {name} | {median:.1} | {ratio} | {rate:.2} | {generator:.1} |"));
        }
    }
}

/// Puts the section into the page for readers, and draws its plots.
///
/// # Errors
/// If a file can't be written.
pub(super) fn publish(section: &str, tables: &[Table]) -> Result<()> {
    page::publish("bypass", section)?;
    fs::create_dir_all(root().join(PLOTS)).with_context(|| format!("making {PLOTS}"))?;
    for group in Group::ALL {
        if let Some(name) = group.plot() {
            let path = root().join(PLOTS).join(name);
            fs::write(&path, plot(group, tables).svg()).with_context(|| format!("writing {}", path.display()))?;
        }
    }
    println!("plots written to {PLOTS}");
    Ok(())
}

fn plot(group: Group, tables: &[Table]) -> Plot {
    let tables: Vec<&Table> = tables.iter().filter(|table| table.contest.group == group).collect();
    let contestants: Vec<Contestant> =
        tables.first().map(|table| table.rows.iter().map(|row| row.contestant).collect()).unwrap_or_default();
    let series = contestants.into_iter().map(|contestant| {
        let point = |table: &&Table| {
            let median = table.row(contestant).and_then(|row: &Row| row.median(group))?;
            Some((f64::from(table.contest.value), median))
        };
        Series { name: contestant.name().to_owned(), points: tables.iter().filter_map(point).collect() }
    });
    Plot {
        title: group.title().to_owned(),
        across: group.variable().to_owned(),
        up: group.unit().to_owned(),
        series: series.collect(),
    }
}

fn put(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    writeln!(text, "{arguments}").expect("a String takes everything");
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::{Table, bars, figures};
    use crate::bench::bypass::contest::{Contest, Contestant, Group};
    use crate::bench::bypass::pair::Figures;

    #[test]
    fn forwarding_has_an_upper_bound_and_says_why_it_was_not_measured() {
        let told = |peer: anyhow::Result<Figures>| {
            let mut table = Table::new(&Contest { group: Group::Forward, value: 64 });
            let own = Figures { cycles: 240.0, messages: 9.5e6, generator_cycles: 120.0, ..Figures::default() };
            table.add(Contestant::Forwarder, Ok(own));
            table.add(Contestant::Testpmd, peer);
            let (mut text, tables) = (String::new(), [table]);
            bars(&mut text, &tables);
            figures(&mut text, Group::Forward, &tables);
            text
        };
        let both = told(Ok(Figures { cycles: 200.0, ..Figures::default() }));
        assert!(
            both.contains("| ≤ 1.5 × testpmd's own figure in the same run | 1.20 × DPDK's testpmd | yes |"),
            "{both}"
        );
        assert!(both.contains("Compared with: testpmd in the same run; less is better.\n"), "{both}");
        assert!(both.contains("| 64 | Sunstar | 240.0 | 1.00 | 9.50 | 120.0 |"), "{both}");
        let missing = told(Err(anyhow!("it is not installed")));
        assert!(missing.contains("in the same run | not measured | – |"), "{missing}");
        assert!(missing.contains("| 64 | DPDK's testpmd | not measured: it is not installed | | | |"), "{missing}");
    }
}
