//! Pictures: what is in them is where physics and projection say, and the session never notices.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use simward_tests::client::{HttpClient, Refused};
use simward_tests::daemon::{Daemon, Setup};
use simward_tests::{models, programs};

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
fn draw(client: &mut HttpClient, tool: &str, arguments: Value) -> Result<(Value, Vec<u8>), Refused> {
    let (about, content) = client.tool_with_content(tool, arguments)?;
    let [block] = &content[..] else { panic!("one picture, and not {}", content.len()) };
    let (bytes, mime_type) = match block["type"].as_str() {
        Some("image") => (&block["data"], &block["mimeType"]),
        _ => (&block["resource"]["blob"], &block["resource"]["mimeType"]),
    };
    let bytes = STANDARD.decode(bytes.as_str().unwrap()).unwrap();
    assert_eq!((&about["mime_type"], about["bytes"].as_u64()), (mime_type, Some(bytes.len() as u64)));
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
fn by_hand() {
    let Ok(folder) = std::env::var("PICTURES") else { return };
    let (_daemon, mut client) = daemon();
    client.tool("load_model", models::arguments("humanoid")).unwrap();
    for quality in ["draft", "standard", "fine"] {
        for turn in 0..4 {
            let begun = std::time::Instant::now();
            let (about, bytes) =
                draw(&mut client, "render_frame", json!({ "quality": quality })).unwrap();
            println!("{quality} {turn}: {:?} {about}", begun.elapsed());
            std::fs::write(format!("{folder}/{quality}.png"), bytes).unwrap();
        }
    }
    let overlays = ["contacts", "forces", "joints", "transparent", "frames", "labels", "center_of_mass"];
    client.tool("step_simulation", json!({ "steps": 300 })).unwrap();
    let camera = json!({ "distance": 3, "azimuth": 30, "elevation": -20 });
    let arguments = json!({ "overlays": overlays, "camera": camera });
    let (_, bytes) = draw(&mut client, "render_frame", arguments).unwrap();
    std::fs::write(format!("{folder}/overlays.png"), bytes).unwrap();
    client.tool("reset_simulation", json!({})).unwrap();
    let begun = std::time::Instant::now();
    let (about, bytes) = draw(&mut client, "render_strip", json!({ "frames": 7 })).unwrap();
    println!("strip: {:?} {about}", begun.elapsed());
    std::fs::write(format!("{folder}/strip.png"), bytes).unwrap();
    let begun = std::time::Instant::now();
    let (about, bytes) = draw(&mut client, "record_video", json!({ "quality": "draft" })).unwrap();
    println!("video: {:?} {about}", begun.elapsed());
    std::fs::write(format!("{folder}/video.mp4"), bytes).unwrap();
    let (about, bytes) = draw(&mut client, "render_depth", json!({ "camera": camera })).unwrap();
    println!("{about}");
    std::fs::write(format!("{folder}/depth.png"), bytes).unwrap();
}
