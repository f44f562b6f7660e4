//! The client: messages and their echoes.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use sunstar::net::{TcpStream, allocate_buffer};
use sunstar::prelude::*;
use sunstar_bench_common::bypass::PORTS;
use sunstar_bench_common::tcp::Pattern;

use crate::meter::{Control, Meter};
use crate::{Args, Load, bulk, http};

/// How long a client tries to reach a server whose device may not have come up yet.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) async fn run(args: &Args) -> Result<(), Error> {
    let meter = Rc::new(Meter::default());
    let control = match args.load {
        Load::Http => None,
        _ => Some(first_connection(args).await?),
    };
    match args.load {
        Load::Messages => start(args, &meter),
        Load::Bulk => bulk::start(args, &meter).await?,
        Load::Http => http::start(args, &meter).await?,
    }
    let (warm_up, time) = (Duration::from_secs_f64(args.warm_up), Duration::from_secs_f64(args.seconds));
    let mut outcome = meter.measure(warm_up, time, control).await?;
    println!("{}", outcome.line());
    Ok(())
}

async fn first_connection(args: &Args) -> Result<Control, Error> {
    let connecting = sunstar::executor::combine::with_timeout(PATIENCE, Control::connect(args.server));
    connecting.await.unwrap_or_else(|_| Err(Error::failure(format_args!("no server answers at {}", args.server))))
}

/// Bytes that are sent often, where the device sees them if it has memory of its own.
pub(crate) fn lent(bytes: &[u8]) -> Buffer {
    let mut buffer = allocate_buffer(bytes.len());
    buffer.extend_from_slice(bytes).expect("it was made for that many bytes");
    buffer.freeze()
}

/// What the tasks of a client share.
struct Plan {
    args: Args,
    /// The message: a part of the pattern, no two bytes in a row of which are equal for long.
    message: Buffer,
}

fn start(args: &Args, meter: &Rc<Meter>) {
    let message = lent(&Pattern::default().whole()[..args.size]);
    let plan = Rc::new(Plan { args: args.clone(), message });
    for number in 0..args.connections {
        let (plan, meter) = (Rc::clone(&plan), Rc::clone(meter));
        spawn(async move {
            if let Err(error) = talk(&plan, &meter, number).await {
                meter.fail(error);
            }
        });
    }
}

/// One connection after the other. Ports in turn, so that the local ones of each are not used up by what lingers in TIME-WAIT.
async fn talk(plan: &Plan, meter: &Meter, number: usize) -> Result<(), Error> {
    let comes_and_goes = plan.args.messages > 0;
    for port in PORTS.cycle().skip(number % PORTS.len()) {
        let begun = if comes_and_goes { meter.begin() } else { None };
        let mut stream = TcpStream::connect(SocketAddr::new(plan.args.server, port)).await?;
        let mut sent = 0;
        while !comes_and_goes || sent < plan.args.messages {
            let asked = if comes_and_goes { None } else { meter.begin() };
            ask(plan, &mut stream).await?;
            meter.add_message();
            meter.end(asked);
            sent += 1;
        }
        drop(stream);
        meter.add_connection();
        meter.end(begun);
    }
    Ok(())
}

/// Sends the message and compares the echo.
async fn ask(plan: &Plan, stream: &mut TcpStream) -> Result<(), Error> {
    if plan.args.copy {
        stream.write(Buffer::copy_from_slice(&plan.message)).await?;
    } else {
        stream.write(plan.message.clone()).await?;
    }
    let mut came = 0;
    while came < plan.message.len() {
        let bytes = stream.read().await?;
        let end = came + bytes.len();
        if bytes.is_empty() || plan.message.get(came..end) != Some(&bytes[..]) {
            return Err(Error::failure(format_args!("an echo is wrong or ends after {came} bytes")));
        }
        came = end;
    }
    Ok(())
}
