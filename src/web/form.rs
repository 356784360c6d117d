//! `POST /upload`: the page's form, with files and perhaps a seeder's port, in any order.

use std::io::{self, Read};

use serde::Serialize;

use super::{
    Site,
    api::Here,
    failure::HttpFailure,
    multipart::{FormEvent, FormField, Parser},
    names,
    parts::{Part, PartId},
    receive::{READ_LENGTH, broken},
    site::{Sender, Shelf},
    upload::{Refused, Saved, parse_port, save, wants},
    views,
};
use crate::{
    http::{Reply, Request},
    text::escape,
};

/// The longest field of the form that is no file, in bytes. A port takes 5.
const MAX_FIELD: usize = 64;

/// The most files of one form.
const MAX_FILES: usize = 64;

/// What may follow the last boundary, in bytes.
const MAX_EPILOGUE: u64 = 1024;

/// Answers with a page, in JSON or in lines of text, as it is asked for.
pub fn post(site: &Site, request: &mut Request<'_>) -> Result<Reply, HttpFailure> {
    site.access.check_upload(request, site.swarms.names())?;
    let shelf = site.shelf()?;
    let content_type = request.field("content-type").unwrap_or_default();
    let parser = Parser::new(content_type).map_err(|error| HttpFailure::new(415, error.to_string()))?;
    let sender = site.sender(request);
    shelf.check_space(request, "content-length", sender)?;
    let mut form = UploadForm { shelf, sender, parser, files: Vec::new(), port: String::new(), at: At::Nowhere };
    form.read(request)?;
    let UploadForm { files, port, .. } = form;
    if files.is_empty() {
        return Err(HttpFailure::new(400, "no file was chosen"));
    }
    let port = parse_port(shelf, &port)?;
    // Each for itself: one that cannot be shared keeps no other from it.
    let (mut saved, mut refused, mut status) = (Vec::new(), Vec::new(), 0);
    for (name, part) in files {
        match save(site, shelf, request, part, &name, port) {
            Ok(file) => saved.push(file),
            Err(failure) => {
                status = failure.status;
                refused.push(Refused { name, problem: failure.sentence });
            }
        }
    }
    if saved.is_empty() {
        let problems: Vec<&str> = refused.iter().map(|refused| refused.problem.as_str()).collect();
        return Err(HttpFailure::new(status, problems.join("; ")));
    }
    if wants(request, "application/json") {
        let all: Vec<_> =
            saved.into_iter().map(Outcome::Saved).chain(refused.into_iter().map(Outcome::Refused)).collect();
        return Ok(Reply::new(201, "application/json", views::json(&all)));
    }
    if !wants(request, "text/html") {
        let lines = saved.iter().map(ToString::to_string).chain(refused.iter().map(ToString::to_string));
        let text: String = lines.map(|line| escape(&line) + "\n").collect();
        return Ok(Reply::new(201, "text/plain; charset=utf-8", text.into_bytes()));
    }
    let here = Here::of(site, &site.viewer(request));
    Ok(views::page(201, &here, "Shared", views::saved(&here, &saved, &refused)))
}

/// What became of one file of a form, as JSON tells it.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Outcome {
    Saved(Saved),
    Refused(Refused),
}

/// A form that is being read.
struct UploadForm<'a> {
    shelf: &'a Shelf,
    sender: Sender,
    parser: Parser,
    files: Vec<(String, Part<'a>)>,
    port: String,
    at: At,
}

/// Which field the content belongs to.
#[derive(Clone, Copy)]
enum At {
    Nowhere,
    Port,
    /// The last one of the files.
    File,
}

impl UploadForm<'_> {
    fn read(&mut self, request: &mut Request<'_>) -> Result<(), HttpFailure> {
        let mut buffer = vec![0; READ_LENGTH];
        let (mut start, mut end) = (0, 0);
        loop {
            let step = self.parser.step(&buffer[start..end]);
            let (used, event) = step.map_err(|error| HttpFailure::new(400, error.to_string()))?;
            match event {
                FormEvent::Field(field) => self.begin(field)?,
                FormEvent::Content(range) => self.add(&buffer[start..][range])?,
                FormEvent::FieldEnd => self.end(),
                FormEvent::End => {
                    // A line end follows. What is more than that is left, and the connection with it.
                    let _ = io::copy(&mut (&mut request.body).take(MAX_EPILOGUE), &mut io::sink());
                    return Ok(());
                }
                FormEvent::More => {
                    buffer.copy_within(start + used..end, 0);
                    (start, end) = (0, end - start - used);
                    let count = request.body.read(&mut buffer[end..]).map_err(broken)?;
                    if count == 0 {
                        return Err(HttpFailure::new(400, "the form ends before its last boundary"));
                    }
                    end += count;
                    continue;
                }
            }
            start += used;
        }
    }

    fn begin(&mut self, field: FormField) -> Result<(), HttpFailure> {
        self.at = match field {
            FormField { name, file_name: None } if name == "port" => At::Port,
            // A browser sends a nameless file when none was chosen.
            FormField { name, file_name: Some(file_name) } if name == "file" && !file_name.is_empty() => {
                if self.files.len() == MAX_FILES {
                    return Err(HttpFailure::new(413, format!("at most {MAX_FILES} files can be sent at once")));
                }
                let name = names::clean(&file_name);
                // A form has no tag and begins anew: it goes on with nothing, and nothing goes on with it.
                let id = PartId::Form { name: &name, origin: self.sender.origin };
                let part = self.shelf.parts.begin_anew(&id, self.shelf.quota(self.sender))?.passing();
                self.files.push((name, part));
                At::File
            }
            _ => At::Nowhere,
        };
        Ok(())
    }

    fn end(&mut self) {
        if let (At::File, Some((_, part))) = (self.at, self.files.last_mut()) {
            part.close();
        }
        self.at = At::Nowhere;
    }

    fn add(&mut self, bytes: &[u8]) -> Result<(), HttpFailure> {
        match self.at {
            At::Nowhere => Ok(()),
            At::Port if self.port.len() + bytes.len() > MAX_FIELD => {
                Err(HttpFailure::new(413, "the port field of the form is too long"))
            }
            At::Port => {
                self.port.push_str(&String::from_utf8_lossy(bytes));
                Ok(())
            }
            At::File => {
                let (_, part) = self.files.last_mut().expect("a file has begun");
                part.write(bytes).map_err(|error| HttpFailure::of_disk(&error))
            }
        }
    }
}
