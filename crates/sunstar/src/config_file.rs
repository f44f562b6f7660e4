//! Options from a TOML file.
//!
//! The file becomes arguments that stand before those of the command line. So one mechanism serves the options of
//! the framework and of the application, and a value obeys the same rules wherever it is written. An option that the
//! command line has, too, is left out of them: the command line wins.

use std::any::TypeId;
use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use clap::builder::ValueParser;
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command};
use toml::{Table, Value};

use crate::app::in_one_line;
use crate::error::Error;
use crate::options::CONFIG;

/// The largest file that is read: no list of options comes near, and what never ends is refused.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// Options that make no sense in a file.
const COMMAND_LINE_ONLY: [&str; 3] = [CONFIG, "help", "version"];

/// The arguments that say what the file says, without those that `given`, parsed from the command line, has.
///
/// # Errors
/// Names the file, the key and the rule that was broken.
pub(crate) fn arguments(file: &Path, command: &Command, given: &ArgMatches) -> Result<Vec<OsString>, Error> {
    let wrong = |what: String| Error::usage(format!("{}: {what}", file.display()));
    let text = read(file).map_err(wrong)?;
    let table: Table = text.parse().map_err(|error| wrong(syntax(&text, &error)))?;
    let mut all = Vec::new();
    for (key, value) in &table {
        let wrong_value = |rule: String| wrong(format!("{key}: {rule}"));
        let option = option(command, key).map_err(wrong_value)?;
        let arguments = spelled_out(option, key, value).map_err(wrong_value)?;
        check(command, &arguments).map_err(wrong_value)?;
        if !is_given(given, option) {
            all.extend(arguments);
        }
    }
    Ok(all)
}

fn read(file: &Path) -> Result<String, String> {
    let mut text = String::new();
    File::open(file)
        .and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_string(&mut text))
        .map_err(|error| error.to_string())?;
    if text.len() as u64 > MAX_FILE_BYTES {
        return Err(format!("the file is larger than {MAX_FILE_BYTES} bytes"));
    }
    Ok(text)
}

fn syntax(text: &str, error: &toml::de::Error) -> String {
    let line = error.span().map(|span| 1 + text.bytes().take(span.start).filter(|byte| *byte == b'\n').count());
    match line {
        Some(line) => format!("line {line}: {}", error.message()),
        None => error.message().to_owned(),
    }
}

fn option<'a>(command: &'a Command, key: &str) -> Result<&'a Arg, String> {
    if COMMAND_LINE_ONLY.contains(&key) {
        return Err("this option is for the command line only".to_owned());
    }
    let option = command.get_arguments().find(|option| option.get_long() == Some(key));
    option.ok_or_else(|| "there is no such option; keys are the long names of options, without dashes".to_owned())
}

/// The arguments that set `option` to `value`.
fn spelled_out(option: &Arg, key: &str, value: &Value) -> Result<Vec<OsString>, String> {
    let takes_values = option.get_num_args().is_none_or(|count| count.takes_values());
    match (value, option.get_action()) {
        (Value::Boolean(set), _) if !takes_values => Ok(repeated(format!("--{key}"), usize::from(*set))),
        (Value::Integer(times @ 0..=255), ArgAction::Count) => {
            Ok(repeated(format!("--{key}"), usize::try_from(*times).unwrap_or(0)))
        }
        (_, ArgAction::Count) => Err("it takes true, false, or how often it is given, up to 255".to_owned()),
        _ if !takes_values => Err("it takes true or false".to_owned()),
        (Value::Array(values), _) => list(option, key, values),
        _ => Ok(vec![format!("--{key}={}", plain(option, value)?).into()]),
    }
}

/// The arguments that give `option` several values: by giving it several times, or several values at once.
fn list(option: &Arg, key: &str, values: &[Value]) -> Result<Vec<OsString>, String> {
    let (least, most) = option.get_num_args().map_or((1, 1), |count| (count.min_values(), count.max_values()));
    let is_repeatable = matches!(option.get_action(), ArgAction::Append) && least <= 1;
    if !is_repeatable && most <= 1 {
        return Err("it takes one value, not a list".to_owned());
    }
    let mut arguments = Vec::new();
    for value in values {
        let value = plain(option, value)?;
        if is_repeatable {
            arguments.push(format!("--{key}={value}").into());
        } else {
            arguments.push(value.into());
        }
    }
    if !is_repeatable && !arguments.is_empty() {
        arguments.insert(0, format!("--{key}").into());
    }
    Ok(arguments)
}

fn repeated(argument: String, times: usize) -> Vec<OsString> {
    vec![argument.into(); times]
}

/// One value as it is written on the command line.
fn plain(option: &Arg, value: &Value) -> Result<String, String> {
    let kind = Kind::of(option.get_value_parser());
    match value {
        Value::Array(_) => Err("a list may not hold lists".to_owned()),
        Value::Table(_) => Err("it takes a value, not a table".to_owned()),
        Value::String(_) | Value::Boolean(_) | Value::Datetime(_) if kind == Kind::Number => {
            Err("it takes a number, without quotes".to_owned())
        }
        Value::String(_) | Value::Float(_) | Value::Datetime(_) if kind == Kind::Truth => {
            Err("it takes true or false".to_owned())
        }
        Value::String(text) => Ok(text.clone()),
        other => Ok(other.to_string()),
    }
}

/// What an option's values are, as far as TOML has a type for them.
#[derive(PartialEq, Eq)]
enum Kind {
    Truth,
    Number,
    Text,
}

impl Kind {
    fn of(parser: &ValueParser) -> Self {
        let numbers = [
            TypeId::of::<u8>(),
            TypeId::of::<u16>(),
            TypeId::of::<u32>(),
            TypeId::of::<u64>(),
            TypeId::of::<u128>(),
            TypeId::of::<usize>(),
            TypeId::of::<i8>(),
            TypeId::of::<i16>(),
            TypeId::of::<i32>(),
            TypeId::of::<i64>(),
            TypeId::of::<i128>(),
            TypeId::of::<isize>(),
            TypeId::of::<f32>(),
            TypeId::of::<f64>(),
        ];
        let of_values = parser.type_id();
        match of_values {
            truth if truth == TypeId::of::<bool>() => Self::Truth,
            number if numbers.iter().any(|id| number == *id) => Self::Number,
            _ => Self::Text,
        }
    }
}

/// Whether the option's own rules accept the arguments. What they miss or exclude is seen when all are together.
fn check(command: &Command, arguments: &[OsString]) -> Result<(), String> {
    let parsed = command.clone().try_get_matches_from(arguments);
    match parsed.map_err(|error| (error.kind(), error)) {
        Ok(_) | Err((ErrorKind::MissingRequiredArgument | ErrorKind::MissingSubcommand, _)) => Ok(()),
        Err((ErrorKind::ArgumentConflict | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand, _)) => Ok(()),
        Err((_, error)) => Err(in_one_line(&error)),
    }
}

/// Whether the command line, or the environment for options that look there, has the option.
fn is_given(given: &ArgMatches, option: &Arg) -> bool {
    matches!(given.value_source(option.get_id().as_str()), Some(ValueSource::CommandLine | ValueSource::EnvVariable))
}
