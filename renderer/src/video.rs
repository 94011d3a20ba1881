//! A motion, as an MP4 with H.264, which browsers play.

use muxide::api::{MuxerBuilder, VideoCodec};
use openh264::OpenH264API;
use openh264::encoder::{
    BitRate, Complexity, Encoder, EncoderConfig, FrameRate, FrameType, IntraFramePeriod, Profile,
    RateControlMode, UsageType,
};
use openh264::formats::{RgbSliceU8, YUVBuffer};
use simward_protocol::fault::Fault;
use simward_protocol::real::Real;
use simward_protocol::render::{Drawn, VIDEO_FRAMES_MAX, video_frames};

use crate::serve::{Picture, Progress, lost};
use crate::strip::Clock;
use crate::studio::Studio;

/// Bits of a pixel in a frame, on average.
const BITS: f64 = 0.15;

/// How long a viewer that seeks may have to wait, in seconds.
const KEY_FRAME_SECS: u32 = 2;

/// Draws what happens from now on.
pub(crate) fn draw(
    studio: &mut Studio,
    (duration_secs, fps, speed): (f64, u32, f64),
    progress: &Progress<'_>,
) -> Result<Picture, Fault> {
    let (width, height) = studio.size();
    let frames = video_frames(duration_secs, fps, speed).min(VIDEO_FRAMES_MAX);
    let mut encoder = encoder((width, height), fps)?;
    let mut file = Vec::new();
    let mut muxer = MuxerBuilder::new(&mut file)
        .video(VideoCodec::H264, width, height, fps.into())
        .build()
        .map_err(|error| lost(&error))?;
    let mut clock = Clock::new(studio);
    let first = Real(studio.time_secs());
    let mut drawn = Drawn { width, height, frames, ..Drawn::default() };
    for index in 0..frames {
        #[expect(clippy::cast_precision_loss, reason = "frames are few")]
        let at_secs = index as f64 / f64::from(fps);
        drawn.auto_resets += clock.advance(studio, at_secs * speed)?;
        let colours = studio.colours()?;
        let size = (width as usize, height as usize);
        let planes = YUVBuffer::from_rgb8_source(RgbSliceU8::new(&colours, size));
        let encoded = encoder.encode(&planes).map_err(|error| lost(&error))?;
        let is_key = matches!(encoded.frame_type(), FrameType::IDR | FrameType::I);
        muxer.write_video(at_secs, &encoded.to_vec(), is_key).map_err(|error| lost(&error))?;
        progress.tell(index + 1, frames);
    }
    muxer.finish().map_err(|error| lost(&error))?;
    drawn.times_secs = vec![first, Real(studio.time_secs())];
    Ok((file, drawn))
}

fn encoder((width, height): (u32, u32), fps: u32) -> Result<Encoder, Fault> {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a small positive number"
    )]
    let bits = (f64::from(width * height) * f64::from(fps) * BITS) as u32;
    #[expect(clippy::cast_precision_loss, reason = "a small number")]
    let rate = FrameRate::from_hz(fps as f32);
    let config = EncoderConfig::new()
        .usage_type(UsageType::ScreenContentRealTime)
        .profile(Profile::Baseline)
        .complexity(Complexity::Medium)
        .rate_control_mode(RateControlMode::Quality)
        .bitrate(BitRate::from_bps(bits.max(500_000)))
        .max_frame_rate(rate)
        .skip_frames(false)
        .intra_frame_period(IntraFramePeriod::from_num_frames(fps * KEY_FRAME_SECS))
        .num_threads(1);
    Encoder::with_api_config(OpenH264API::from_source(), config).map_err(|error| lost(&error))
}
