//! Pictures: what is in them is where physics and projection say, and the session never notices.

#![expect(clippy::cast_precision_loss, reason = "pixels are few")]

mod harm;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use openh264::decoder::Decoder;
use openh264::formats::YUVSource as _;
use serde_json::{Value, json};
use simward_tests::client::{HttpClient, Refused};
use simward_tests::daemon::{Daemon, Setup};
use simward_tests::{models, mp4, programs};

use crate::clients::Client;

/// A red box on a rail, in front of a camera that is 3 m away, and nothing else. The light comes
/// from everywhere, so that a colour is what the model says.
const STAGE: &str = r#"
<mujoco model="stage">
  <option gravity="0 0 0"/>
  <visual><headlight ambient="1 1 1" diffuse="0 0 0" specular="0 0 0"/></visual>
  <statistic extent="1" center="0 0 0"/>
  <worldbody>
    <camera name="front" pos="0 -3 0" xyaxes="1 0 0 0 0 1" fovy="45"/>
    <camera name="behind" pos="0 3 0" xyaxes="-1 0 0 0 0 1" fovy="45"/>
    <camera name="flat" pos="0 -3 0" xyaxes="1 0 0 0 0 1" projection="orthographic" fovy="4"/>
    <body name="cart">
      <joint name="rail" type="slide" axis="1 0 0"/>
      <geom name="box" type="box" size=".2 .2 .2" rgba="1 0 0 1" mass="1"/>
    </body>
  </worldbody>
</mujoco>"#;

/// The distance from the cameras to the box's side.
const DISTANCE: f64 = 2.8;

fn daemon() -> (Daemon, HttpClient) {
    let daemon = Setup::real(&programs!()).serve();
    let client = daemon.client();
    (daemon, client)
}

fn stage() -> (Daemon, HttpClient) {
    let (daemon, mut client) = daemon();
    client.tool("load_model", json!({ "model_xml": STAGE })).unwrap();
    (daemon, client)
}

/// A picture that was decoded.
struct Image {
    width: usize,
    height: usize,
    /// Samples of eight or sixteen bits, as they come.
    samples: Vec<u16>,
    channels: usize,
}

impl Image {
    fn decode(bytes: &[u8]) -> Self {
        let mut reader = png::Decoder::new(std::io::Cursor::new(bytes)).read_info().unwrap();
        let mut buffer = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut buffer).unwrap();
        let wide = |pair: &[u8]| u16::from_be_bytes([pair[0], pair[1]]);
        let samples = match info.bit_depth {
            png::BitDepth::Sixteen => buffer.chunks_exact(2).map(wide).collect(),
            _ => buffer.iter().map(|byte| u16::from(*byte)).collect(),
        };
        let channels = info.color_type.samples();
        Self { width: info.width as usize, height: info.height as usize, samples, channels }
    }

    fn at(&self, x: usize, y: usize) -> &[u16] {
        &self.samples[(y * self.width + x) * self.channels..][..self.channels]
    }

    /// Whether every pixel is the other's.
    fn is(&self, other: &Self) -> bool {
        (self.width, &self.samples) == (other.width, &other.samples)
    }

    /// A part of it.
    fn part(&self, (left, upper): (usize, usize), (width, height): (usize, usize)) -> Self {
        let lines = (upper..upper + height).map(|y| (y * self.width + left) * self.channels);
        let samples = lines.flat_map(|from| &self.samples[from..from + width * self.channels]);
        Self { width, height, samples: samples.copied().collect(), channels: self.channels }
    }

    /// The middle of all pixels that are red, and how many there are.
    fn red(&self) -> (f64, f64, usize) {
        let places = (0..self.height).flat_map(|y| (0..self.width).map(move |x| (x, y)));
        let red = places.filter(|(x, y)| matches!(self.at(*x, *y), [200..=255, 0..60, 0..60]));
        let (x, y, count) = red.fold((0, 0, 0), |sum, at| (sum.0 + at.0, sum.1 + at.1, sum.2 + 1));
        let mean = |sum: usize| sum as f64 / count as f64 + 0.5;
        (mean(x), mean(y), count)
    }
}

/// Draws; returns what is said of the picture, and its bytes.
fn draw(
    client: &mut HttpClient,
    tool: &str,
    arguments: Value,
) -> Result<(Value, Vec<u8>), Refused> {
    let (about, content) = client.tool_with_content(tool, arguments)?;
    let [block] = &content[..] else { panic!("one picture, and not {}", content.len()) };
    let (bytes, mime_type) = match block["type"].as_str() {
        Some("image") => (&block["data"], &block["mimeType"]),
        _ => (&block["resource"]["blob"], &block["resource"]["mimeType"]),
    };
    let bytes = STANDARD.decode(bytes.as_str().unwrap()).unwrap();
    assert_eq!(
        (&about["mime_type"], about["bytes"].as_u64()),
        (mime_type, Some(bytes.len() as u64))
    );
    Ok((about, bytes))
}

fn frame(client: &mut HttpClient, arguments: Value) -> (Value, Image) {
    let (about, bytes) = draw(client, "render_frame", arguments).unwrap();
    let image = Image::decode(&bytes);
    assert_eq!((about["width"].as_u64(), about["height"].as_u64()), {
        (Some(image.width as u64), Some(image.height as u64))
    });
    (about, image)
}

#[test]
fn a_box_is_where_projection_says() {
    let (_daemon, mut client) = stage();
    let per_metre = 240.0 / (DISTANCE * 22.5_f64.to_radians().tan());
    for place in [0.0, 0.5, -0.8] {
        let positions = json!({ "positions": { "rail": place } });
        client.tool("set_joint_positions", positions).unwrap();
        let (about, image) = frame(&mut client, json!({ "camera": "front" }));
        let (x, y, count) = image.red();
        let expected = 320.0 + place * per_metre;
        let side = 0.4 * per_metre;
        assert!((x - expected).abs() < side * 0.15, "{x}, and not {expected}");
        assert!((y - 240.0).abs() < 1.0, "{y}");
        if place == 0.0 {
            assert!((x - 320.0).abs() < 1.0, "{x}");
            assert!((count as f64 / (side * side) - 1.0).abs() < 0.03, "{count} and {side}");
        }
        assert_eq!(about["camera"]["name"], "front");
        // From behind, left is right.
        let (_, image) = frame(&mut client, json!({ "camera": "behind" }));
        assert!((image.red().0 - (640.0 - x)).abs() < 1.5);
    }
}

#[test]
fn distances_are_right_in_metres() {
    let (_daemon, mut client) = stage();
    for camera in ["front", "flat"] {
        let arguments = json!({ "camera": camera, "points": [[320, 240], [300, 260], [0, 0]] });
        let (about, bytes) = draw(&mut client, "render_depth", arguments).unwrap();
        let depth = &about["depth"];
        let points = depth["points_metres"].as_array().unwrap();
        for point in &points[..2] {
            assert!((point.as_f64().unwrap() - DISTANCE).abs() < 1e-3, "{camera}: {depth}");
        }
        assert_eq!(points[2], Value::Null, "there is nothing in the corner");
        assert!((depth["nearest"]["metres"].as_f64().unwrap() - DISTANCE).abs() < 1e-3);
        let grid = depth["grid_metres"].as_array().unwrap();
        assert!((grid[2][3].as_f64().unwrap() - DISTANCE).abs() < 1e-3, "{depth}");
        assert_eq!((&grid[0][0], &grid[5][7]), (&Value::Null, &Value::Null));
        let image = Image::decode(&bytes);
        let scale = depth["metres_per_unit"].as_f64().unwrap();
        assert!((f64::from(image.at(320, 240)[0]) * scale - DISTANCE).abs() < scale);
        assert_eq!(image.at(0, 0), [0]);
    }
    // A side that is turned away: its far edge is farther, along the camera's direction.
    let positions = json!({ "positions": { "rail": 1.0 } });
    client.tool("set_joint_positions", positions).unwrap();
    let (about, _) = draw(&mut client, "render_depth", json!({ "camera": "front" })).unwrap();
    let farthest = about["depth"]["farthest_metres"].as_f64().unwrap();
    assert!((DISTANCE + 0.3..=DISTANCE + 0.4).contains(&farthest), "{farthest}");
}

#[test]
fn a_view_tells_where_it_was_taken_from() {
    let (_daemon, mut client) = stage();
    let camera = json!({ "lookat": [0, 0, 0], "distance": 2, "azimuth": 90, "elevation": 0 });
    let (about, image) = frame(&mut client, json!({ "camera": camera }));
    let numbers = |name: &str| -> Vec<f64> {
        about["camera"][name].as_array().unwrap().iter().map(|it| it.as_f64().unwrap()).collect()
    };
    let is_near = |one: &[f64], other: [f64; 3]| {
        one.iter().zip(other).all(|(one, other)| (one - other).abs() < 1e-6)
    };
    // Azimuth 90 looks along the y axis.
    assert!(is_near(&numbers("position"), [0.0, -2.0, 0.0]), "{about}");
    assert!(is_near(&numbers("forward"), [0.0, 1.0, 0.0]), "{about}");
    assert!(is_near(&numbers("up"), [0.0, 0.0, 1.0]), "{about}");
    assert!((about["camera"]["fovy_degrees"].as_f64().unwrap() - 45.0).abs() < 1e-3);
    let side = 0.4 * 240.0 / (1.8 * 22.5_f64.to_radians().tan());
    let (x, y, count) = image.red();
    assert!((x - 320.0).abs() < 1.0 && (y - 240.0).abs() < 1.0);
    assert!((count as f64 / (side * side) - 1.0).abs() < 0.03, "{count} and {side}");
}

#[test]
fn a_strip_shows_what_will_be_and_changes_nothing() {
    let (_daemon, mut client) = stage();
    let start = json!({ "qpos": [-0.5], "qvel": [1.0] });
    client.tool("set_state", start).unwrap();
    let before = client.tool("get_state", json!({})).unwrap();
    let arguments = json!({ "camera": "front", "duration_secs": 1.0, "frames": 3 });
    let (about, bytes) = draw(&mut client, "render_strip", arguments).unwrap();
    assert_eq!(client.tool("get_state", json!({})).unwrap(), before);
    let strip = Image::decode(&bytes);
    assert_eq!((strip.width, strip.height), (640, 480), "two by two");
    let times = about["times_secs"].as_array().unwrap();
    for (index, (time, place)) in [(0.0, -0.5), (0.5, 0.0), (1.0, 0.5)].into_iter().enumerate() {
        assert!((times[index].as_f64().unwrap() - time).abs() < 1e-9);
        let tile = strip.part((index % 2 * 320, index / 2 * 240), (320, 240));
        let expected = 160.0 + place * 120.0 / (DISTANCE * 22.5_f64.to_radians().tan());
        assert!((tile.red().0 - expected).abs() < 6.0, "{index}: {expected}");
        // The session, when it comes there, looks the same to the last bit.
        if index != 0 {
            client.tool("step_simulation", json!({ "steps": 250 })).unwrap();
        }
        let size = json!({ "camera": "front", "width": 320, "height": 240 });
        assert!(frame(&mut client, size).1.is(&tile), "frame {index} is another one");
    }
}

#[test]
fn a_strip_knows_what_was_changed_of_the_model() {
    let (_daemon, mut client) = stage();
    let arguments = json!({ "camera": "front", "duration_secs": 0.5, "frames": 2 });
    let middle = |client: &mut HttpClient| {
        let (_, bytes) = draw(client, "render_strip", arguments.clone()).unwrap();
        Image::decode(&bytes).part((320, 0), (320, 240)).red().0
    };
    assert!((middle(&mut client) - 160.0).abs() < 1.0, "nothing pulls");
    let pull = json!([{ "field": "gravity", "value": [4, 0, 0] }]);
    client.tool("modify_model", json!({ "changes": pull })).unwrap();
    // Half a metre, after half a second.
    let expected = 160.0 + 0.5 * 120.0 / (DISTANCE * 22.5_f64.to_radians().tan());
    let pulled = middle(&mut client);
    assert!((pulled - expected).abs() < 6.0, "{pulled} and {expected}");
    client.tool("modify_model", json!({ "reset": true })).unwrap();
    assert!((middle(&mut client) - 160.0).abs() < 1.0, "nothing pulls any more");
}

#[test]
fn a_video_can_be_played_and_shows_what_moves() {
    let (_daemon, mut client) = stage();
    client.tool("set_state", json!({ "qpos": [-0.8], "qvel": [1.6] })).unwrap();
    let before = client.tool("get_state", json!({})).unwrap();
    let size = json!({ "camera": "front", "width": 320, "height": 240, "fps": 20 });
    let mut arguments = size.clone();
    arguments["duration_secs"] = 1.0.into();
    let (about, bytes) = draw(&mut client, "record_video", arguments).unwrap();
    assert_eq!(client.tool("get_state", json!({})).unwrap(), before);
    assert_eq!(about["frames"], 20);
    let frames = play(&bytes);
    assert_eq!(frames.len(), 20);
    let per_metre = 120.0 / (DISTANCE * 22.5_f64.to_radians().tan());
    for (index, image) in frames.iter().enumerate() {
        let expected = 160.0 + (-0.8 + 1.6 * index as f64 / 20.0) * per_metre;
        let (x, y, count) = image.red();
        assert!((x - expected).abs() < 8.0 && (y - 120.0).abs() < 3.0, "{index}: {x}, {expected}");
        assert!(400 < count);
    }
    // Slow motion: four times the frames for the same time.
    let mut arguments = size;
    arguments["duration_secs"] = 0.5.into();
    arguments["speed"] = 0.25.into();
    let (about, bytes) = draw(&mut client, "record_video", arguments).unwrap();
    assert_eq!((about["frames"].as_u64(), play(&bytes).len()), (Some(40), 40));
    let times = about["times_secs"].as_array().unwrap();
    assert!((times[1].as_f64().unwrap() - 39.0 * 0.25 / 20.0).abs() < 0.002, "{about}");
}

/// Decodes a video.
fn play(file: &[u8]) -> Vec<Image> {
    let mut decoder = Decoder::new().unwrap();
    let mut images = Vec::new();
    let mut take = |picture: Option<openh264::decoder::DecodedYUV<'_>>| {
        let Some(picture) = picture else { return };
        let (width, height) = picture.dimensions();
        let mut rgb = vec![0; width * height * 3];
        picture.write_rgb8(&mut rgb);
        let samples = rgb.into_iter().map(u16::from).collect();
        images.push(Image { width, height, samples, channels: 3 });
    };
    for frame in mp4::frames(file) {
        take(decoder.decode(&frame).unwrap());
    }
    for picture in decoder.flush_remaining().unwrap() {
        take(Some(picture));
    }
    images
}

#[test]
fn overlays_and_quality_show() {
    let (_daemon, mut client) = stage();
    let plain = frame(&mut client, json!({ "camera": "front" })).1;
    let seen = |client: &mut HttpClient, more: Value| {
        let mut arguments = json!({ "camera": "front" });
        arguments.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        frame(client, arguments).1
    };
    let transparent = seen(&mut client, json!({ "overlays": ["transparent"] }));
    assert_ne!(transparent.at(320, 240), plain.at(320, 240));
    for overlay in ["joints", "center_of_mass", "frames", "labels", "cameras", "inertia"] {
        let image = seen(&mut client, json!({ "overlays": ["transparent", overlay] }));
        assert!(!image.is(&transparent), "{overlay} does not show");
    }
    // The same again is the same again, also when something else was drawn meanwhile.
    seen(&mut client, json!({ "quality": "fine", "width": 300, "height": 200 }));
    assert!(seen(&mut client, json!({})).is(&plain));
    // Smooth edges are neither red nor black.
    let fine = seen(&mut client, json!({ "quality": "fine" }));
    let mixed = |image: &Image| image.samples.iter().filter(|it| (60..200).contains(*it)).count();
    assert!(mixed(&plain) < mixed(&fine), "{} and {}", mixed(&plain), mixed(&fine));
}

/// Everything that a state has.
const PARTS: [&str; 9] =
    ["qpos", "qvel", "ctrl", "act", "qacc", "actuator_force", "sensordata", "xpos", "xquat"];

#[test]
fn who_is_drawn_moves_as_who_is_not_to_the_last_bit() {
    let (_daemon, mut client) = daemon();
    let twins = ["drawn", "not drawn"].map(|name| {
        let session = client.tool("create_session", json!({ "name": name })).unwrap();
        let here = json!({ "session_id": session["session_id"] });
        client.tool("load_model", with(&here, models::arguments("humanoid"))).unwrap();
        here
    });
    for round in 0..6_u8 {
        for here in &twins {
            let step = json!({ "steps": 17, "control": vec![0.1 * f64::from(round); 21] });
            client.tool("step_simulation", with(here, step)).unwrap();
        }
        let (tool, more) = [
            ("render_frame", json!({ "overlays": ["contacts", "forces"] })),
            ("render_depth", json!({})),
            ("render_strip", json!({ "duration_secs": 0.3, "frames": 4 })),
            ("record_video", json!({ "duration_secs": 0.2, "width": 160, "height": 120 })),
        ][usize::from(round) % 4]
            .clone();
        draw(&mut client, tool, with(&twins[0], more)).unwrap();
    }
    let state = |client: &mut HttpClient, here: &Value| {
        client.tool("get_state", with(here, json!({ "include": PARTS }))).unwrap()
    };
    let states = [0, 1].map(|twin| state(&mut client, &twins[twin]));
    assert_eq!(states[0], states[1]);
    for here in &twins {
        client.tool("step_simulation", with(here, json!({ "steps": 100 }))).unwrap();
    }
    let states = [0, 1].map(|twin| state(&mut client, &twins[twin]));
    assert_eq!(states[0], states[1]);
}

#[test]
fn a_simulation_that_runs_can_be_watched() {
    let (_daemon, mut client) = stage();
    client.tool("set_state", json!({ "qpos": [-0.8], "qvel": [0.001] })).unwrap();
    let run = json!({ "duration_secs": 3600, "real_time_factor": 100 });
    client.tool("run_simulation", run).unwrap();
    let mut last = -1.0;
    for _ in 0..3 {
        let (about, _) = frame(&mut client, json!({ "camera": "front" }));
        let time = about["times_secs"][0].as_f64().unwrap();
        assert!(last < time, "{time} after {last}");
        last = time;
    }
    let paused = client.tool("pause_simulation", json!({})).unwrap();
    assert!(last <= paused["time_secs"].as_f64().unwrap());
}

#[test]
fn what_cannot_be_drawn_is_refused_by_its_name() {
    let (_daemon, mut client) = stage();
    let before = client.tool("get_state", json!({ "include": PARTS })).unwrap();
    let refused = [
        ("render_frame", json!({ "camera": "fornt" }), "name_unknown", "`front`"),
        ("render_frame", json!({ "camera": "a\0b" }), "name_unknown", "camera"),
        ("render_frame", json!({ "camera": { "distanse": 1 } }), "invalid_argument", "distanse"),
        ("render_frame", json!({ "camera": { "distance": 0 } }), "out_of_range", "distance"),
        ("render_frame", json!({ "camera": { "elevation": 91 } }), "out_of_range", "elevation"),
        (
            "render_frame",
            json!({ "camera": { "lookat": [1e300, 0, 0] } }),
            "out_of_range",
            "lookat",
        ),
        ("render_frame", json!({ "camera": 7 }), "invalid_argument", "camera"),
        ("render_frame", json!({ "width": 0 }), "out_of_range", "`width`"),
        ("render_frame", json!({ "width": 15 }), "out_of_range", "16 and 2048"),
        ("render_frame", json!({ "height": 2049 }), "out_of_range", "`height`"),
        ("render_frame", json!({ "overlays": ["forces", "ghosts"] }), "invalid_argument", "ghosts"),
        ("render_frame", json!({ "overlays": vec!["forces"; 17] }), "limit_exceeded", "overlays"),
        ("render_frame", json!({ "quality": "best" }), "invalid_argument", "best"),
        ("render_frame", json!({ "model_id": "other" }), "model_unknown", "`model`"),
        ("render_depth", json!({ "points": [[640, 0]] }), "out_of_range", "points"),
        ("render_depth", json!({ "points": vec![[0, 0]; 65] }), "limit_exceeded", "points"),
        ("render_strip", json!({ "frames": 17 }), "out_of_range", "frames"),
        ("render_strip", json!({ "frames": 0 }), "out_of_range", "frames"),
        ("render_strip", json!({ "duration_secs": -1 }), "out_of_range", "times_secs"),
        ("render_strip", json!({ "duration_secs": 1e9 }), "out_of_range", "600"),
        (
            "render_strip",
            json!({ "width": 2048, "height": 2048, "frames": 2 }),
            "limit_exceeded",
            "pixels",
        ),
        ("record_video", json!({ "width": 101 }), "out_of_range", "even"),
        ("record_video", json!({ "fps": 0 }), "out_of_range", "fps"),
        ("record_video", json!({ "speed": 0 }), "out_of_range", "speed"),
        ("record_video", json!({ "duration_secs": 100 }), "limit_exceeded", "900"),
        (
            "record_video",
            json!({ "width": 2048, "height": 2048, "duration_secs": 30 }),
            "limit_exceeded",
            "pixels",
        ),
    ];
    for (tool, arguments, code, word) in refused {
        let refusal = client.tool(tool, arguments.clone()).unwrap_err();
        assert_eq!(refusal["code"], code, "{tool} {arguments}: {refusal}");
        let message = refusal["message"].as_str().unwrap();
        assert!(message.contains(word), "{tool} {arguments}: {message}");
    }
    assert_eq!(client.tool("get_state", json!({ "include": PARTS })).unwrap(), before);
    client.tool("unload_model", json!({})).unwrap();
    assert_eq!(client.tool("render_frame", json!({})).unwrap_err()["code"], "no_model");
}

#[test]
fn a_picture_looks_as_in_the_official_package() {
    let (_daemon, mut client) = daemon();
    client.tool("load_model", models::arguments("humanoid")).unwrap();
    let reference = Client::Python.run("picture.py", &["humanoid"]);
    let theirs = STANDARD.decode(reference["rgb"].as_str().unwrap()).unwrap();
    let camera = json!({ "lookat": [0, 0, 1], "distance": 4, "azimuth": 120, "elevation": -20 });
    let arguments = json!({ "width": 320, "height": 240, "camera": camera, "quality": "draft" });
    let (_, ours) = frame(&mut client, arguments.clone());
    let differences: Vec<_> = ours
        .samples
        .iter()
        .zip(&theirs)
        .map(|(ours, theirs)| ours.abs_diff(u16::from(*theirs)))
        .collect();
    let far = differences.iter().filter(|difference| 2 < **difference).count();
    assert!(far * 1000 < differences.len(), "{far} of {} samples differ", differences.len());
    let metres = reference["depth"].as_array().unwrap();
    let points: Vec<_> = metres.iter().map(|it| it["at"].clone()).collect();
    let mut arguments = arguments;
    arguments["points"] = points.into();
    let (about, _) = draw(&mut client, "render_depth", arguments).unwrap();
    for (ours, theirs) in about["depth"]["points_metres"].as_array().unwrap().iter().zip(metres) {
        let theirs = theirs["metres"].as_f64().unwrap();
        let ours = ours.as_f64().unwrap();
        assert!((ours / theirs - 1.0).abs() < 1e-4, "{ours} and {theirs}");
    }
}

/// A call's arguments, in that session.
fn with(here: &Value, arguments: Value) -> Value {
    let mut all = arguments;
    all.as_object_mut().unwrap().extend(here.as_object().unwrap().clone());
    all
}
