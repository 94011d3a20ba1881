//! The loop: a model, and then one picture after the other, until the supervisor hangs up.

use std::fs::File;
use std::io::Write as _;
use std::os::fd::OwnedFd;

use anyhow::Context as _;
use simward_protocol::fault::{Fault, cut};
use simward_protocol::handshake::{Hello, VERSION};
use simward_protocol::render::{Draw, Drawn, FromRenderer, Kind, PICTURE_BYTES_MAX, ToRenderer};
use simward_worker::jail::{self, Profile};
use simward_worker::kin::{Incoming, Outgoing, name, open, speak};

use crate::gl::Gl;
use crate::studio::Studio;
use crate::{depth, frame, strip, video};

/// A picture's file, and what is said of it. The file's length is the supervisor's to find.
pub(crate) type Picture = (Vec<u8>, Drawn);

/// Where a drawing tells how far it has come.
pub(crate) struct Progress<'a>(&'a Outgoing);

impl Progress<'_> {
    pub(crate) fn tell(&self, done: u64, total: u64) {
        // If nobody hears it, the next read says so.
        self.0.write(&FromRenderer::Progress { done, total }).ok();
    }
}

/// Draws until the supervisor hangs up.
pub(crate) fn run(args: impl Iterator<Item = String>) -> anyhow::Result<()> {
    let profile = Profile::RENDER.with(args)?;
    let layers = jail::enter(&profile).context("could not enter the jail")?;
    let (mut incoming, outgoing) = open()?;
    let last = outgoing.clone();
    speak(Box::new(move |text| {
        last.try_write(&FromRenderer::LastWords { text: cut(text) }).ok();
    }));
    let hello = Hello { version: VERSION, engine: name(), layers };
    outgoing.write(&hello).context("could not say hello")?;
    // While the supervisor looks for the model.
    let gl = Gl::open();
    let Some((ToRenderer::Open { bytes }, attached)) = read(&mut incoming)? else { return Ok(()) };
    let opened = gl.and_then(|gl| Studio::open(gl, attached.first(), bytes));
    let mut studio = match opened {
        Ok(studio) => studio,
        Err(fault) => {
            outgoing.write(&FromRenderer::Opened(Err(fault))).context("could not answer")?;
            return Ok(());
        }
    };
    outgoing.write(&FromRenderer::Opened(Ok(()))).context("could not answer")?;
    while let Some((frame, attached)) = read(&mut incoming)? {
        let ToRenderer::Draw(draw) = frame else { anyhow::bail!("a model was sent twice") };
        let drawn = answer(&mut studio, &draw, &attached, &Progress(&outgoing));
        outgoing.write(&FromRenderer::Drawn(drawn)).context("could not answer")?;
    }
    Ok(())
}

/// Finds out whether anything can be drawn here, as [`run`] would.
pub(crate) fn check(args: impl Iterator<Item = String>) -> anyhow::Result<()> {
    jail::enter(&Profile::RENDER.with(args)?).context("could not enter the jail")?;
    Gl::open()?;
    Ok(())
}

fn read(incoming: &mut Incoming) -> anyhow::Result<Option<(ToRenderer, Vec<OwnedFd>)>> {
    incoming.read().context("could not read a frame")
}

fn answer(
    studio: &mut Studio,
    draw: &Draw,
    attached: &[OwnedFd],
    progress: &Progress<'_>,
) -> Result<Drawn, Fault> {
    let [state, file] = attached else { return Err(lost(&"the picture came without its files")) };
    studio.take_state(state)?;
    studio.prepare(draw)?;
    let (picture, mut drawn) = match &draw.kind {
        Kind::Frame => frame::draw(studio),
        Kind::Depth { points } => depth::draw(studio, points),
        Kind::Strip { times } => strip::draw(studio, times, progress),
        Kind::Video { duration_secs, fps, speed } => {
            video::draw(studio, (*duration_secs, *fps, *speed), progress)
        }
    }?;
    drawn.view = studio.seen_from(draw);
    drawn.bytes = picture.len() as u64;
    if PICTURE_BYTES_MAX < drawn.bytes {
        let what = "bytes of one picture".to_owned();
        return Err(Fault::LimitExceeded { what, value: drawn.bytes, max: PICTURE_BYTES_MAX });
    }
    let file = file.try_clone().map_err(|error| lost(&error))?;
    File::from(file).write_all(&picture).map_err(|error| lost(&error))?;
    Ok(drawn)
}

/// A picture that could not be made, although nothing is wrong with what was asked.
pub(crate) fn lost(why: &dyn std::fmt::Display) -> Fault {
    Fault::ModelUnreadable { detail: cut(why.to_string()) }
}
