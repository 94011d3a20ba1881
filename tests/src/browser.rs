//! A real browser without a screen: Chromium, told what to do by its `WebDriver`.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::http::Http;

/// A browser with one window.
#[derive(Debug)]
pub struct Browser {
    driver: Child,
    http: Http,
    session: String,
    _profile: TempDir,
}

/// How the browser is started: with a picture made by the processor, and without going anywhere by
/// itself. Its own sandbox does not work for root.
const ARGS: [&str; 10] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--enable-unsafe-swiftshader",
    "--window-size=1000,700",
];

impl Browser {
    /// Starts one.
    ///
    /// # Panics
    ///
    /// Panics if there is none: `make setup-tests` installs it, or says how to.
    pub fn open() -> Self {
        let chromium =
            ["chromium", "chromium-browser", "google-chrome"].into_iter().find_map(on_path);
        let chromium = chromium.expect("Chromium is missing: run `make setup-tests`");
        let profile = TempDir::new().unwrap();
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .env("HOME", profile.path())
            .spawn()
            .expect("chromedriver is missing: run `make setup-tests`");
        let lines = BufReader::new(driver.stdout.take().unwrap()).lines();
        let port = lines.map_while(Result::ok).find_map(|line| {
            let (_, port) = line.split_once("successfully on port ")?;
            port.trim_end_matches('.').parse::<u16>().ok()
        });
        let port = port.expect("chromedriver tells its port");
        let http = Http::connect(([127, 0, 0, 1], port).into()).unwrap();
        let mut args: Vec<_> = ARGS.map(str::to_owned).to_vec();
        args.push(format!("--user-data-dir={}", profile.path().join("profile").display()));
        let options = json!({ "binary": chromium, "args": args });
        let wanted = json!({
            "goog:chromeOptions": options,
            "goog:loggingPrefs": { "browser": "ALL" },
        });
        let mut browser = Self { driver, http, session: String::new(), _profile: profile };
        let body = json!({ "capabilities": { "alwaysMatch": wanted } });
        let made = browser.command("POST", "/session", &body);
        made["sessionId"].as_str().unwrap().clone_into(&mut browser.session);
        browser
    }

    /// Goes to a page.
    pub fn go(&mut self, url: &str) {
        self.tell("/url", &json!({ "url": url }));
    }

    /// Runs a script, which returns something.
    pub fn run(&mut self, script: &str) -> Value {
        self.tell("/execute/sync", &json!({ "script": script, "args": [] }))
    }

    /// Clicks at what a selector finds.
    pub fn click(&mut self, selector: &str) {
        let by = json!({ "using": "css selector", "value": selector });
        let found = self.tell("/element", &by);
        let element = found.as_object().unwrap().values().next().unwrap().as_str().unwrap();
        self.tell(&format!("/element/{element}/click"), &json!({}));
    }

    /// Holds Ctrl and presses at a point of the page, and moves to others; lets go of nothing.
    pub fn hold_with_ctrl(&mut self, points: &[(i64, i64)]) {
        let mut moves: Vec<Value> = Vec::new();
        for (index, (x, y)) in points.iter().enumerate() {
            moves.push(json!({ "type": "pointerMove", "duration": 100, "x": x, "y": y }));
            if index == 0 {
                moves.push(json!({ "type": "pointerDown", "button": 0 }));
            }
        }
        let keys = json!([{ "type": "keyDown", "value": "\u{e009}" }]);
        self.tell(
            "/actions",
            &json!({ "actions": [
            { "type": "key", "id": "keys", "actions": keys },
            { "type": "pointer", "id": "mouse", "parameters": { "pointerType": "mouse" },
              "actions": moves },
        ] }),
        );
    }

    /// Lets go of all keys and buttons.
    pub fn let_go(&mut self) {
        let path = format!("/session/{}/actions", self.session);
        self.command("DELETE", &path, &Value::Null);
    }

    /// What the page looks like, as PNG.
    pub fn screenshot(&mut self) -> Vec<u8> {
        let path = format!("/session/{}/screenshot", self.session);
        let picture = self.command("GET", &path, &Value::Null);
        STANDARD.decode(picture.as_str().unwrap()).unwrap()
    }

    /// What went wrong on the page: what it was not allowed to load, errors of its scripts.
    pub fn complaints(&mut self) -> Vec<Value> {
        let log = self.tell("/se/log", &json!({ "type": "browser" }));
        let log = log.as_array().unwrap().iter();
        log.filter(|entry| entry["level"] == "SEVERE").cloned().collect()
    }

    fn tell(&mut self, path: &str, body: &Value) -> Value {
        let path = format!("/session/{}{path}", self.session);
        self.command("POST", &path, body)
    }

    fn command(&mut self, method: &str, path: &str, body: &Value) -> Value {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let headers = [("content-type", "application/json")];
        let answer = self.http.ask(method, path, &headers, body.as_bytes()).unwrap();
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        let answer: Value = serde_json::from_slice(&answer.body).unwrap();
        answer["value"].clone()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Its end takes the browser's processes along.
        let path = format!("/session/{}", self.session);
        self.http.ask("DELETE", &path, &[], b"").ok();
        self.driver.kill().ok();
        self.driver.wait().ok();
    }
}

fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|path| path.is_file())
}
