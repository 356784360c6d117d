//! The page of `seed` and `fetch`: the same door and the same page as a tracker's, for the torrents of this process.

use std::{
    fs, io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::Path,
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use crossbeam_channel::{Sender, bounded, select, tick};

use crate::{
    http::{self, Door},
    net::shown_addresses,
    node::{Failure, Node},
    terminal,
    web::{Kind, RateLimits, Rules, Setup, Web, access::MAX_PASSWORD, address::all_urls},
};

/// How often it is noted who is here.
const NOTE: Duration = Duration::from_secs(1);

/// How often what has had its time is forgotten.
const SWEEP: Duration = Duration::from_secs(10);

/// What Notepad and others write before UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// A page that is served. Dropping it ends that.
pub struct ServedPage {
    address: SocketAddr,
    /// The first link that gives control, where there is no password.
    control: Option<String>,
    door: Door,
    stop: Option<Sender<()>>,
    sweeping: Option<JoinHandle<()>>,
}

/// Serves a page for this node, if an address is named.
pub fn open_if_asked(
    address: Option<&str>,
    password_file: Option<&Path>,
    kind: Kind,
    node: &Arc<Node>,
    json: bool,
) -> Result<Option<ServedPage>, Failure> {
    let Some(address) = address else {
        return match password_file {
            Some(_) => Err(Failure::new("--password-file is for the page, which --page ADDR asks for")),
            None => Ok(None),
        };
    };
    let setup = Setup {
        peer_id: node.host().peer_id(),
        board: node.board().clone(),
        rules: Rules { password: password(password_file)?, no_upload: false },
        limits: RateLimits { upload: node.host().upload.rate(), download: node.host().download.rate() },
        carry_out: node.carry_out(),
    };
    let web = Web::node(kind, setup).map_err(|error| Failure::about("random numbers", error))?;
    ServedPage::open(parse(address)?, &Arc::new(web), json).map(Some)
}

/// The link that gives control of the page at `base`, where there is no password. Each that follows is printed once the one before
/// is used.
pub fn control_link(web: &Web, base: String, json: bool) -> Result<Option<String>, Failure> {
    let at = base.clone();
    let say = move |path: &str| {
        let link = format!("{at}{path}");
        match json {
            true => terminal::print_json(serde_json::json!({ "control": link })),
            false => terminal::print(format_args!("the control link was used; the next browser takes {link}")),
        };
    };
    let path = web.first_link(say).map_err(|error| Failure::about("random numbers", error))?;
    Ok(path.map(|path| base + &path))
}

/// Tells a person of that link.
pub fn say_control(link: &str) {
    terminal::print(format_args!(
        "control it from the browser that opens {link} (it works once; then the next is printed)"
    ));
}

/// The password that a file holds, if one is named. The mark that some editors put before UTF-8 and a line's end are no part of it.
pub fn password(file: Option<&Path>) -> Result<Option<String>, Failure> {
    let Some(path) = file else { return Ok(None) };
    let about = |sentence: &str| Failure::about(path.display(), sentence);
    let bytes = fs::read(path).map_err(|error| Failure::about(path.display(), error))?;
    let text = str::from_utf8(bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&bytes)).ok();
    // UTF-16 without a mark is full of zeros.
    let text = text.filter(|text| !text.contains('\0'));
    let text = text.ok_or_else(|| about("this is no UTF-8 text; save the password as UTF-8, not as UTF-16"))?;
    let password = text.trim_end_matches(['\r', '\n']);
    if password.contains(['\r', '\n']) {
        return Err(about("a password is one line, and this file has more"));
    }
    if password.trim() != password {
        log::warn!("the password in {} begins or ends with a space, which is part of it", path.display());
    }
    match password.len() {
        0 => Err(Failure::about(path.display(), "there is no password in it")),
        1..=MAX_PASSWORD => Ok(Some(password.to_owned())),
        _ => Err(Failure::about(path.display(), format_args!("a password has {MAX_PASSWORD} bytes at most"))),
    }
}

/// A port means this machine only.
fn parse(address: &str) -> Result<SocketAddr, Failure> {
    let port = address.parse::<u16>().map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    port.or_else(|_| address.parse()).map_err(|_| {
        Failure::about(address, "--page takes a port, such as 8080, or an address and a port, such as 0.0.0.0:8080")
    })
}

/// Where a page at that address is, as another device would type it if it can be reached from there, without a `/` at the end: at
/// least one, the likeliest first.
fn urls_of(address: SocketAddr) -> Vec<String> {
    let own = if address.ip().is_unspecified() { shown_addresses() } else { Vec::new() };
    let own = own.into_iter().filter(|ip| address.is_ipv6() || ip.is_ipv4()).collect::<Vec<_>>();
    let mut urls = all_urls(&own, address.port());
    if urls.is_empty() {
        let ip = if address.ip().is_unspecified() { Ipv4Addr::LOCALHOST.into() } else { address.ip() };
        urls.push(format!("http://{}", SocketAddr::new(ip, address.port())));
    }
    urls
}

impl ServedPage {
    fn open(address: SocketAddr, web: &Arc<Web>, json: bool) -> Result<ServedPage, Failure> {
        let about = |error: io::Error| {
            Failure::listening(format_args!("{address} for the page"), &error, "--page takes another")
        };
        let listener = TcpListener::bind(address).map_err(about)?;
        let address = listener.local_addr().map_err(about)?;
        let door = web.serve(listener, http::DoorLimits::of_this_process()).map_err(about)?;
        let control = control_link(web, urls_of(address).swap_remove(0), json)?;
        let (stop, stopped) = bounded::<()>(0);
        let web = web.clone();
        let sweeping = thread::Builder::new().name("page".into()).spawn(move || {
            let (notes, ticks) = (tick(NOTE), tick(SWEEP));
            loop {
                select! {
                    recv(stopped) -> _ => return,
                    recv(notes) -> _ => web.note(),
                    recv(ticks) -> _ => if let Err(error) = web.sweep() {
                        log::warn!("tidying up failed: {error}");
                    },
                }
            }
        });
        let sweeping = Some(sweeping.map_err(about)?);
        Ok(ServedPage { address, control, door, stop: Some(stop), sweeping })
    }

    /// Where it is, as another device would type it if it can be reached from there.
    pub fn url(&self) -> String {
        self.urls().swap_remove(0)
    }

    /// The link that gives control of it, where there is no password.
    pub fn control(&self) -> Option<&str> {
        self.control.as_deref()
    }

    /// Says where it is, under every address that it has.
    pub fn say(&self) {
        let urls = self.urls();
        terminal::print(format_args!("watch it at {}", urls[0]));
        self.control().inspect(|link| say_control(link));
        if urls.len() > 1 {
            terminal::print(format_args!("this machine is also {}", urls[1..].join(" ")));
        }
    }

    fn urls(&self) -> Vec<String> {
        urls_of(self.address).into_iter().map(|url| url + "/").collect()
    }
}

impl Drop for ServedPage {
    fn drop(&mut self) {
        self.stop.take();
        // If it panicked it has told on its own.
        let _ = self.sweeping.take().map(JoinHandle::join);
        self.door.stop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_alone_means_this_machine_only() {
        assert_eq!(parse("8080").unwrap().to_string(), "127.0.0.1:8080");
        assert_eq!(parse("0.0.0.0:80").unwrap().to_string(), "0.0.0.0:80");
        assert_eq!(parse("[::]:80").unwrap().to_string(), "[::]:80");
        for bad in ["", "70000", "0.0.0.0", "a:1", ":80"] {
            assert!(parse(bad).unwrap_err().to_string().contains("--page takes a port"), "{bad}");
        }
    }

    #[test]
    fn a_password_is_a_files_line_and_neither_empty_nor_endless() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        let read = |text: &str| {
            fs::write(&path, text).unwrap();
            password(Some(&path))
        };
        assert_eq!(read("\u{feff}secret\r\n").unwrap().as_deref(), Some("secret"), "as Notepad saves it");
        assert!(read("\u{feff}").is_err(), "nothing but the mark");
        assert!(read("one\ntwo\n").unwrap_err().to_string().contains("one line"));
        let utf16: Vec<u8> = "secret\r\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
        for bytes in [[&b"\xff\xfe"[..], &utf16].concat(), utf16, b"Gr\xfc\xdfe".to_vec()] {
            fs::write(&path, bytes).unwrap();
            assert!(password(Some(&path)).unwrap_err().to_string().contains("as UTF-8, not as UTF-16"));
        }
        assert_eq!(read("open sesame \r\n").unwrap().as_deref(), Some("open sesame "));
        assert!(read("\n").is_err() && password(Some(Path::new("/nowhere/at/all"))).is_err());
        assert!(read(&"x".repeat(MAX_PASSWORD)).is_ok() && read(&"x".repeat(MAX_PASSWORD + 1)).is_err());
        assert_eq!(password(None).unwrap(), None);
    }
}
