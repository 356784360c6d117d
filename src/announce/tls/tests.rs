//! Certificates as the `openssl` command makes them, shown by its server.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

use tempfile::TempDir;

use super::*;
use crate::announce::client::{AnnounceError, Client, Reach};

const LIMIT: std::time::Duration = std::time::Duration::from_secs(20);

const CONFIG: &str = "[ca]\ndefault_ca=a\n[a]\ndatabase=index\nserial=serial\nnew_certs_dir=.\ndefault_md=sha256\npolicy=p\n\
                      unique_subject=no\ncopy_extensions=copy\n[p]\ncommonName=supplied\n\
                      [req]\ndistinguished_name=d\n[d]\n[root]\nbasicConstraints=critical,CA:true\n";

/// A certificate authority in a folder.
struct Authority(TempDir);

/// A server that shows a certificate, until it is dropped.
struct Server {
    child: Child,
    address: String,
}

impl Authority {
    fn new() -> Authority {
        let authority = Authority(TempDir::new().unwrap());
        fs::write(authority.path().join("config"), CONFIG).unwrap();
        fs::write(authority.path().join("index"), "").unwrap();
        fs::write(authority.path().join("serial"), "01").unwrap();
        authority.openssl("req -x509 -config config -extensions root -nodes -newkey rsa:2048 -keyout ca.key -out ca.pem -subj /CN=Room");
        authority
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn openssl(&self, arguments: &str) {
        let run = Command::new("openssl").args(arguments.split(' ')).current_dir(self.path()).output();
        let output = run.expect("the openssl command is needed");
        assert!(output.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// A certificate of this authority for a name, valid between two moments.
    fn signs(&self, file: &str, name: &str, from: &str, to: &str) {
        self.openssl(&format!(
            "req -config config -nodes -newkey rsa:2048 -keyout {file}.key -out {file}.csr -subj /CN=x -addext subjectAltName={name}"
        ));
        self.openssl(&format!(
            "ca -config config -batch -notext -cert ca.pem -keyfile ca.key -in {file}.csr -out {file}.pem -startdate {from} -enddate {to}"
        ));
    }

    fn serve(&self, file: &str) -> Server {
        let (certificate, key) = (format!("{file}.pem"), format!("{file}.key"));
        let mut command = Command::new("openssl");
        command.args(["s_server", "-accept", "127.0.0.1:0", "-cert", &certificate, "-key", &key, "-www"]);
        command.current_dir(self.path()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let said = lines.map_while(Result::ok).find_map(|line| Some(line.strip_prefix("ACCEPT ")?.to_owned()));
        Server { child, address: said.expect("openssl says where it listens") }
    }

    /// What somebody hears who trusts this authority, and asks a server with that certificate.
    fn ask(&self, file: &str) -> Result<u16, String> {
        let server = self.serve(file);
        let client = Client::trusting(&fs::read(self.path().join("ca.pem")).unwrap());
        let answer = client.get(&format!("https://{}/announce", server.address), LIMIT, 1 << 20, Reach::Anywhere);
        answer.map(|body| body.status).map_err(|error| error.to_string())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_certificate_that_is_not_trusted_says_what_to_do() {
    const OURS: &str = "IP:127.0.0.1";
    let authority = Authority::new();
    authority.signs("good", OURS, "20200101000000Z", "20500101000000Z");
    assert_eq!(authority.ask("good"), Ok(200));
    authority.signs("over", OURS, "20200101000000Z", "20210203040506Z");
    let over = authority.ask("over").unwrap_err();
    let begins = "the server's certificate expired on Wed, 03 Feb 2021 04:05:06 GMT, and this machine's clock says ";
    assert!(over.starts_with(begins) && over.ends_with("the server needs a new certificate"), "{over}");
    authority.signs("early", OURS, "20900101000000Z", "20910101000000Z");
    let early = authority.ask("early").unwrap_err();
    let begins =
        "the server's certificate is not valid yet, but from Sun, 01 Jan 2090 00:00:00 GMT on, and this machine's";
    assert!(early.starts_with(begins) && early.ends_with("; set the clock"), "{early}");
    authority.signs("other", "DNS:tracker.example", "20200101000000Z", "20500101000000Z");
    let other = authority.ask("other").unwrap_err();
    assert!(other.contains("is for another host; use a name in the URL that it was made for: "), "{other}");
    assert!(other.contains("tracker.example"), "{other}");
    authority.openssl("req -x509 -nodes -newkey rsa:2048 -keyout own.key -out own.pem -subj /CN=x -addext subjectAltName=IP:127.0.0.1");
    assert!(authority.ask("own").unwrap_err().contains("signed by nobody that is known here"), "one that signs itself");
    let stranger = Authority::new();
    stranger.signs("strange", OURS, "20200101000000Z", "20500101000000Z");
    for end in ["pem", "key"] {
        let file = format!("strange.{end}");
        fs::copy(stranger.path().join(&file), authority.path().join(&file)).unwrap();
    }
    assert!(authority.ask("strange").unwrap_err().contains("signed by nobody that is known here"));
}

#[test]
fn http_and_https_at_each_others_port_say_so() {
    let authority = Authority::new();
    authority.signs("good", "IP:127.0.0.1", "20200101000000Z", "20500101000000Z");
    let server = authority.serve("good");
    let plain = Client::new(1).get(&format!("http://{}/announce", server.address), LIMIT, 1 << 20, Reach::Anywhere);
    let hint = "; if its port speaks https, write https:// in its URL";
    assert!(plain.is_err_and(|error| matches!(error, AnnounceError::NeedsTls) || error.to_string().ends_with(hint)));
    let http = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}/announce", http.local_addr().unwrap());
    let serving = std::thread::spawn(move || {
        use std::io::{Read, Write};
        let (mut stream, _) = http.accept().unwrap();
        let _ = stream.read(&mut [0; 4096]);
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
    });
    let error = Client::new(1).get(&url, LIMIT, 1 << 20, Reach::Anywhere).unwrap_err();
    assert_eq!(error.to_string(), "the server's port does not speak https; write http:// in its URL");
    serving.join().unwrap();
}

#[test]
fn every_distrust_is_a_sentence_even_where_details_are_missing() {
    use rustls::CertificateError::{Expired, NotValidForName, NotValidYet, Revoked};
    for (error, want) in [
        (Expired, "the server's certificate expired, and this machine's clock says "),
        (NotValidYet, "the server's certificate is not valid yet, and this machine's clock says "),
        (NotValidForName, "the server's certificate is for another host; use the name in the URL"),
        (Revoked, "no secure connection to the server can be made: "),
    ] {
        let io = io::Error::new(io::ErrorKind::InvalidData, rustls::Error::InvalidCertificate(error));
        let sentence = Distrust::within(&io).unwrap().to_string();
        assert!(sentence.starts_with(want), "{sentence}");
    }
    assert_eq!(Distrust::within(&io::ErrorKind::ConnectionReset.into()), None);
}
