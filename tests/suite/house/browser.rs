//! Real Chromium, driven by chromedriver's WebDriver protocol (W3C) and, through it, by the DevTools protocol.
//!
//! The requests go out by curl, so that a browser may sit in a network namespace as anybody else of the house does, and the
//! tests need no further program than Debian's `chromium` and `chromium-driver`. axe-core comes with a package from PyPI.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use super::clients::clients_folder;
use super::lab::Host;
use super::process::{Process, free_port};
use super::wait_until;

/// What Chromium is told: nothing that goes out by itself, and no sandbox, because tests run as root.
const FLAGS: [&str; 10] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
];

/// How long anything on a page may take that is not a transfer.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Chromium with one page. Dropping it ends it.
pub struct Browser {
    host: Host,
    driver: Process,
    session: String,
}

/// The colours that a person prefers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    Dark,
    Light,
}

impl Scheme {
    pub fn name(self) -> &'static str {
        match self {
            Scheme::Dark => "dark",
            Scheme::Light => "light",
        }
    }
}

impl Browser {
    /// Why there is no browser here, if so.
    pub fn available() -> Result<(), String> {
        for (program, package) in [("chromium", "chromium"), ("chromedriver", "chromium-driver"), ("curl", "curl")] {
            let output = Command::new(program).arg("--version").output();
            if !output.is_ok_and(|output| output.status.success()) {
                return Err(format!("{program} is missing (package {package})"));
            }
        }
        Ok(())
    }

    /// A fresh one on that host, which keeps what it saves in `folder`/saved and its logs in `folder`.
    pub fn open(host: &Host, folder: &Path) -> Browser {
        let port = free_port();
        let mut command = host.command("chromedriver");
        // Without it a file whose name is not ASCII cannot be chosen.
        command.env("LC_ALL", "C.UTF-8");
        command.arg(format!("--port={port}"));
        let driver = Process::start(command, folder, "chromedriver");
        let at = format!("http://127.0.0.1:{port}");
        let is_up = || ask(host, "GET", &format!("{at}/status"), &Value::Null).is_ok();
        assert!(wait_until(PATIENCE, is_up), "chromedriver never listens: {}", driver.stderr());
        let profile = format!("--user-data-dir={}", folder.join("profile").display());
        let flags: Vec<&str> = FLAGS.into_iter().chain([profile.as_str()]).collect();
        let capabilities = json!({ "capabilities": { "alwaysMatch": {
            "browserName": "chrome",
            "goog:loggingPrefs": { "browser": "ALL" },
            "goog:chromeOptions": { "args": flags },
        } } });
        let answer = ask(host, "POST", &format!("{at}/session"), &capabilities).unwrap();
        let session = format!("{at}/session/{}", answer["sessionId"].as_str().unwrap());
        let browser = Browser { host: host.clone(), driver, session };
        let saved = folder.join("saved");
        fs::create_dir_all(&saved).unwrap();
        browser.devtools("Browser.setDownloadBehavior", json!({ "behavior": "allow", "downloadPath": saved }));
        browser
    }

    pub fn go(&self, url: &str) {
        self.ask("POST", "/url", &json!({ "url": url }));
    }

    /// Runs a script in the page, and gives what it returns.
    pub fn run(&self, script: &str) -> Value {
        self.ask("POST", "/execute/sync", &json!({ "script": script, "args": [] }))
    }

    /// The text of an element, as the page has it.
    pub fn text(&self, selector: &str) -> String {
        let found = self.run(&format!("return document.querySelector({})?.textContent ?? null", json!(selector)));
        found.as_str().unwrap_or_else(|| panic!("nothing on the page is {selector}")).to_owned()
    }

    /// Clicks as a person does: in the middle of the element, which must be seen there.
    pub fn click(&self, selector: &str) {
        let element = self.find(selector);
        self.ask("POST", &format!("/element/{element}/click"), &json!({}));
    }

    /// Types into an element; for one that chooses files, their paths.
    pub fn type_into(&self, selector: &str, text: &str) {
        let element = self.find(selector);
        self.ask("POST", &format!("/element/{element}/value"), &json!({ "text": text }));
    }

    /// Waits until a script returns something true.
    pub fn wait_for(&self, what: &str, limit: Duration, script: &str) {
        let came = wait_until(limit, || self.run(script) == Value::Bool(true));
        assert!(came, "{what} never came; the page says:\n{}", self.run("return document.body.innerText"));
    }

    /// Drops files onto the middle of the page, as from a file manager.
    pub fn drop_files(&self, paths: &[PathBuf]) {
        for kind in ["dragEnter", "dragOver", "drop"] {
            let data = json!({ "items": [], "files": paths, "dragOperationsMask": 1 });
            self.devtools("Input.dispatchDragEvent", json!({ "type": kind, "x": 200, "y": 300, "data": data }));
        }
    }

    /// A command of the DevTools protocol.
    pub fn devtools(&self, command: &str, parameters: Value) -> Value {
        self.ask("POST", "/goog/cdp/execute", &json!({ "cmd": command, "params": parameters }))
    }

    /// Makes the window so wide and high, in CSS pixels.
    pub fn resize(&self, width: u32, height: u32) {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.devtools("Emulation.setDeviceMetricsOverride", size);
    }

    /// What the person prefers: colours, and whether things may move.
    pub fn prefer(&self, scheme: Scheme, is_still: bool) {
        let motion = if is_still { "reduce" } else { "no-preference" };
        let features = json!([
            { "name": "prefers-color-scheme", "value": scheme.name() },
            { "name": "prefers-reduced-motion", "value": motion },
        ]);
        self.devtools("Emulation.setEmulatedMedia", json!({ "features": features }));
    }

    /// What the console has complained since this was last asked.
    pub fn complaints(&self) -> Vec<String> {
        let lines = self.ask("POST", "/se/log", &json!({ "type": "browser" }));
        let lines = lines.as_array().unwrap().iter();
        let bad = lines.filter(|line| matches!(line["level"].as_str(), Some("SEVERE" | "WARNING")));
        bad.map(|line| line["message"].as_str().unwrap_or_default().to_owned()).collect()
    }

    /// Everything on the page, from top to bottom, as a PNG.
    pub fn picture(&self, path: &Path) {
        let shot = self.devtools("Page.captureScreenshot", json!({ "captureBeyondViewport": true }));
        let bytes = data_encoding::BASE64.decode(shot["data"].as_str().unwrap().as_bytes()).unwrap();
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    /// What axe-core finds wrong with the page, a line each; nothing where axe-core is missing.
    pub fn violations(&self) -> Option<Vec<String>> {
        let axe = fs::read_to_string(axe_script()?).unwrap();
        // By the DevTools protocol, because the page's own policy lets no further script in.
        self.devtools("Runtime.evaluate", json!({ "expression": axe }));
        let run = "axe.run(document).then(found => JSON.stringify(found.violations.map(\
                   each => each.id + ': ' + each.nodes.map(node => node.html).join(' | '))))";
        let answer = self.devtools("Runtime.evaluate", json!({ "expression": run, "awaitPromise": true }));
        let found = answer["result"]["value"].as_str().unwrap_or_else(|| panic!("axe does not run: {answer}"));
        Some(serde_json::from_str(found).unwrap())
    }

    /// The share of one core that the page's thread takes over so long a time, with a core that is `slower` times slower.
    pub fn load(&self, slower: u32, over: Duration) -> f64 {
        self.devtools("Emulation.setCPUThrottlingRate", json!({ "rate": slower }));
        self.devtools("Performance.enable", json!({ "timeDomain": "threadTicks" }));
        let metrics = || {
            let answer = self.devtools("Performance.getMetrics", json!({}));
            let of = |name: &str| {
                let metrics = answer["metrics"].as_array().unwrap();
                metrics.iter().find(|metric| metric["name"] == name).unwrap()["value"].as_f64().unwrap()
            };
            (of("Timestamp"), of("TaskDuration"))
        };
        let began = metrics();
        std::thread::sleep(over);
        let ended = metrics();
        self.devtools("Performance.disable", json!({}));
        self.devtools("Emulation.setCPUThrottlingRate", json!({ "rate": 1 }));
        (ended.1 - began.1) / over.as_secs_f64()
    }

    fn find(&self, selector: &str) -> String {
        let found = self.ask("POST", "/element", &json!({ "using": "css selector", "value": selector }));
        found.as_object().unwrap().values().next().unwrap().as_str().unwrap().to_owned()
    }

    fn ask(&self, method: &str, path: &str, body: &Value) -> Value {
        let answer = ask(&self.host, method, &format!("{}{path}", self.session), body);
        answer.unwrap_or_else(|problem| panic!("{method} {path}: {problem}\n{}", self.driver.stderr()))
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Chromium ends with its session; chromedriver with its process.
        let _ = ask(&self.host, "DELETE", &self.session, &Value::Null);
    }
}

/// Where tests/setup.sh puts axe-core.
fn axe_script() -> Option<PathBuf> {
    let versions = fs::read_dir(clients_folder().join("lib")).ok()?;
    let inside = Path::new("site-packages/axe_playwright_python/axe.min.js");
    versions.flatten().map(|version| version.path().join(inside)).find(|path| path.is_file())
}

/// One WebDriver command: its value, or what went wrong.
fn ask(host: &Host, method: &str, url: &str, body: &Value) -> Result<Value, String> {
    let mut command = host.command("curl");
    command.args(["-sS", "--max-time", "120", "-X", method, url]);
    if !body.is_null() {
        command.args(["-H", "Content-Type: application/json", "--data-binary", "@-"]);
    }
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| error.to_string())?;
    let text = if body.is_null() { String::new() } else { body.to_string() };
    child.stdin.take().unwrap().write_all(text.as_bytes()).map_err(|error| error.to_string())?;
    let output = child.wait_with_output().map_err(|error| error.to_string())?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let mut answer: Value = serde_json::from_slice(&output.stdout).map_err(|error| error.to_string())?;
    match answer["value"].take() {
        Value::Object(object) if object.contains_key("error") => Err(Value::Object(object).to_string()),
        value => Ok(value),
    }
}
