//! The command line that all servers have: `--address IP --port PORT --cpu CPU`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::exit;
use std::str::FromStr;

/// Where a server listens, and on which processor it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// `--address` and `--port`.
    pub listen: SocketAddr,
    /// `--cpu`.
    pub cpu: usize,
}

impl Options {
    /// Reads the program's arguments. Ends the program with 2 and a line if they make no sense.
    pub fn of_program() -> Self {
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        Self::parse(&arguments).unwrap_or_else(|error| {
            eprintln!("{error}\nusage: PROGRAM [--address IP] [--port PORT] [--cpu CPU]");
            exit(2)
        })
    }

    fn parse(arguments: &[String]) -> Result<Self, String> {
        let (mut address, mut port, mut cpu) = (IpAddr::V4(Ipv4Addr::LOCALHOST), 10000, 0);
        let mut words = arguments.iter();
        while let Some(name) = words.next() {
            let value = words.next().ok_or_else(|| format!("{name} needs a value"))?;
            match name.as_str() {
                "--address" => address = read(name, value)?,
                "--port" => port = read(name, value)?,
                "--cpu" => cpu = read(name, value)?,
                _ => return Err(format!("there is no option {name}")),
            }
        }
        Ok(Self { listen: SocketAddr::new(address, port), cpu })
    }
}

fn read<T: FromStr>(name: &str, value: &str) -> Result<T, String> {
    value.parse().map_err(|_| format!("{name} can't be {value}"))
}

#[cfg(test)]
mod tests {
    use super::Options;

    fn parse(line: &str) -> Result<Options, String> {
        Options::parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn reads_all_three() {
        let options = parse("--address 127.0.0.2 --port 81 --cpu 1").expect("they make sense");
        assert_eq!((options.listen.to_string().as_str(), options.cpu), ("127.0.0.2:81", 1));
    }

    #[test]
    fn refuses_nonsense() {
        assert_eq!(parse("--port 70000"), Err("--port can't be 70000".to_owned()));
        assert_eq!(parse("--port"), Err("--port needs a value".to_owned()));
        assert_eq!(parse("--smp 1"), Err("there is no option --smp".to_owned()));
    }
}
