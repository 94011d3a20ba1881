//! The program: samples one process, and tells how far it is and what came of it.

use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, Signal, set_parent_process_death_signal, setrlimit};
use simward_protocol::wire;

use crate::sampler::{Error, FREQUENCY_HZ, Plan, Sampler};
use crate::talk::{BYTES_MAX, News};

/// Processor time beyond that of a long profile, in seconds: unwinding takes a few thousandths.
const CPU_SECS_MAX: u64 = 300;

/// Address space, in bytes: rings, tables of unwinding, and files that are mapped for their names.
const ADDRESS_SPACE_BYTES_MAX: u64 = 8 << 30;

/// Samples what the arguments name.
pub(crate) fn run(args: impl Iterator<Item = String>) -> io::Result<()> {
    let plan = plan(args)?;
    let mut socket = socket()?;
    keep_to_limits()?;
    let news = profile(&mut socket, plan).unwrap_or_else(refusal);
    say(&mut socket, &news)
}

/// Whoever is at the other end of standard input.
pub(crate) fn socket() -> io::Result<UnixStream> {
    let input = io::stdin().as_fd().try_clone_to_owned()?;
    rustix::net::sockopt::socket_type(&input)?;
    let socket = UnixStream::from(input);
    socket.set_nonblocking(false)?;
    Ok(socket)
}

/// What is said of what cannot be done.
pub(crate) fn refusal(error: Error) -> News {
    match error {
        Error::NotPermitted(missing) => News::NotPermitted(missing),
        Error::Gone => News::Gone,
        Error::Failed(error) => News::Failed(error.to_string()),
    }
}

fn profile(socket: &mut UnixStream, plan: Plan) -> Result<News, Error> {
    let mut sampler = Sampler::open(plan)?;
    say(socket, &News::Begun)?;
    let hangup = socket.try_clone()?;
    sampler.run(Some(hangup.as_fd()), |elapsed_millis, samples| {
        say(socket, &News::Progress { elapsed_millis, samples })
    })?;
    Ok(News::Finished(Box::new(sampler.finish())))
}

pub(crate) fn say(socket: &mut UnixStream, news: &News) -> io::Result<()> {
    let mut frame = Vec::new();
    wire::encode(&mut frame, news, BYTES_MAX)?;
    socket.write_all(&frame)
}

/// Whatever a process's memory holds, looking at it takes no more than this.
pub(crate) fn keep_to_limits() -> io::Result<()> {
    let limit =
        |resource, most| setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) });
    limit(Resource::Core, 0)?;
    limit(Resource::Cpu, CPU_SECS_MAX)?;
    limit(Resource::As, ADDRESS_SPACE_BYTES_MAX)?;
    set_parent_process_death_signal(Some(Signal::KILL))?;
    Ok(())
}

fn plan(mut args: impl Iterator<Item = String>) -> io::Result<Plan> {
    let wrong = |what: &str| io::Error::new(io::ErrorKind::InvalidInput, what.to_owned());
    let (mut pid, mut millis, mut frequency_hz) = (None, None, None);
    while let Some(name) = args.next() {
        let value: Option<u64> = args.next().and_then(|value| value.parse().ok());
        match name.as_str() {
            "--pid" => pid = value.and_then(|value| i32::try_from(value).ok()),
            "--duration-millis" => millis = value,
            "--frequency-hz" => frequency_hz = value,
            _ => return Err(wrong("there is no such argument")),
        }
    }
    let pid = pid.filter(|pid| 0 < *pid).ok_or_else(|| wrong("--pid is missing"))?;
    let millis = millis.ok_or_else(|| wrong("--duration-millis is missing"))?;
    let (least, most) = FREQUENCY_HZ;
    let frequency_hz = frequency_hz
        .filter(|value| (least..=most).contains(value))
        .ok_or_else(|| wrong("--frequency-hz must be from 1 to 999"))?;
    Ok(Plan { pid, duration: Duration::from_millis(millis), frequency_hz })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> io::Result<Plan> {
        plan(text.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn arguments_say_what_to_sample() {
        let plan = read("--pid 12 --duration-millis 500 --frequency-hz 99").unwrap();
        let duration = Duration::from_millis(500);
        assert_eq!(plan, Plan { pid: 12, duration, frequency_hz: 99 });
    }

    #[test]
    fn arguments_that_mean_nothing_are_refused() {
        for wrong in [
            "",
            "--pid 0 --duration-millis 500 --frequency-hz 99",
            "--pid 12 --duration-millis 500 --frequency-hz 1000",
            "--pid 12 --duration-millis x --frequency-hz 99",
            "--pid 12 --duration-millis 500 --frequency-hz 99 --more 1",
            "--pid -1 --duration-millis 500 --frequency-hz 99",
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
