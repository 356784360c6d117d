//! The fields of the JSON form as they are read: typed, counted, named in every error, not yet checked against each
//! other.

use std::{borrow::Cow, fmt, marker::PhantomData};

use data_encoding::HEXLOWER_PERMISSIVE;
use serde::{
    Deserialize, Deserializer,
    de::{Error as _, IgnoredAny, MapAccess, SeqAccess, Unexpected, Visitor},
};

use super::{decode, from_base64};
use crate::metainfo::{
    FileKind, Limits, MAX_FILES, MetainfoError,
    create::DEFAULT_PIECE_LENGTH,
    error::{Problem, quoted},
    outer::{Extra, MAX_URLS, Outer, Trackers, cleaned},
    outline::{Outline, OutlineContent, OutlineEntry},
    path::{self, MAX_DEPTH},
};

/// What is read. Unknown keys are skipped, so that a later version may add some.
#[derive(Default)]
pub(super) struct JsonFields {
    name: Option<String>,
    length: Option<u64>,
    executable: Option<bool>,
    files: Option<Capped<FileField, MAX_FILES>>,
    piece_length: Option<u64>,
    private: Option<bool>,
    tracker_url: Option<String>,
    trackers: Option<Capped<Capped<String, MAX_URLS>, MAX_URLS>>,
    web_seeds: Option<Capped<String, MAX_URLS>>,
    comment: Option<String>,
    created_by: Option<String>,
    creation_date: Option<i64>,
    pub info_hash: Option<String>,
    pieces: Option<Pieces>,
    pub info: Option<String>,
    extra: Option<String>,
}

#[derive(Deserialize)]
struct FileField {
    path: PathField,
    length: u64,
    #[serde(default)]
    executable: bool,
}

impl JsonFields {
    pub fn outline(&self, limits: &Limits) -> Result<Outline<'_>, MetainfoError> {
        let missing = |field, kind| MetainfoError::field(field, Problem::Missing(kind));
        let content = match (&self.files, self.length) {
            (Some(files), total) => OutlineContent::Folder(entries(&files.0, total, limits)?),
            (None, Some(length)) => OutlineContent::File(in_range("length", length)?, self.executable.unwrap_or(false)),
            (None, None) => return Err(missing("length", "a number, and there are no `files`")),
        };
        let pieces = self.pieces.as_ref().ok_or_else(|| missing("pieces", "a list of hashes"))?;
        Ok(Outline {
            name: self.name.as_ref().ok_or_else(|| missing("name", "a text"))?.as_bytes(),
            piece_length: in_range("piece_length", self.piece_length.unwrap_or(DEFAULT_PIECE_LENGTH.into()))?,
            pieces: &pieces.0,
            private: self.private.unwrap_or(false),
            content,
            links: Vec::new(),
        })
    }

    pub fn refuse_unsafe_paths(&self) -> Result<(), MetainfoError> {
        let refuse = |field: String, path: &str| Err(MetainfoError::field(field, Problem::UnsafePath(quoted(path))));
        let name = self.name.as_deref().unwrap_or_default();
        if path::is_unsafe(name.as_bytes()) {
            return refuse("name".to_owned(), name);
        }
        for (index, file) in self.files.iter().flat_map(|files| files.0.iter()).enumerate() {
            let parts = file.path.parts();
            if parts.is_empty() || parts.iter().any(|part| path::is_unsafe(part)) {
                return refuse(format!("files[{index}].path"), &file.path.text());
            }
        }
        Ok(())
    }

    pub fn into_outer(self, limits: &Limits) -> Result<Outer, MetainfoError> {
        let list = |urls: Capped<String, MAX_URLS>| urls.0.iter().filter_map(|url| cleaned(url)).collect();
        let tiers = self.trackers.map_or(Vec::new(), |tiers| tiers.0.into_iter().map(|tier| tier.0).collect());
        let outer = Outer {
            trackers: Trackers::new(self.tracker_url, tiers),
            web_seeds: self.web_seeds.map(list).unwrap_or_default(),
            comment: self.comment,
            created_by: self.created_by,
            creation_date: self.creation_date,
            extra: Extra::new(),
        };
        Ok(outer
            .with_extra(self.extra.as_deref().map(|text| read_extra(text, limits)).transpose()?.unwrap_or_default()))
    }

    fn read_field<'de, A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        match key {
            "name" => put(&mut self.name, key, map),
            "length" => put(&mut self.length, key, map),
            "executable" => put(&mut self.executable, key, map),
            "files" => put(&mut self.files, key, map),
            "piece_length" => put(&mut self.piece_length, key, map),
            "private" => put(&mut self.private, key, map),
            "tracker_url" => put(&mut self.tracker_url, key, map),
            "trackers" => put(&mut self.trackers, key, map),
            "web_seeds" => put(&mut self.web_seeds, key, map),
            "comment" => put(&mut self.comment, key, map),
            "created_by" => put(&mut self.created_by, key, map),
            "creation_date" => put(&mut self.creation_date, key, map),
            "info_hash" => put(&mut self.info_hash, key, map),
            "pieces" => put(&mut self.pieces, key, map),
            "info" => put(&mut self.info, key, map),
            "extra" => put(&mut self.extra, key, map),
            _ => map.next_value().map(|IgnoredAny| ()),
        }
    }
}

/// Reads one value, `null` as if it were not there; an error names the key.
fn put<'de, A, T>(slot: &mut Option<T>, key: &str, map: &mut A) -> Result<(), A::Error>
where
    A: MapAccess<'de>,
    T: Deserialize<'de>,
{
    if slot.is_some() {
        return Err(A::Error::custom(format_args!("`{key}` is there twice")));
    }
    *slot =
        map.next_value().map_err(|error| A::Error::custom(format_args!("`{key}`: {}", quoted(&error.to_string()))))?;
    Ok(())
}

fn in_range(field: &str, number: u64) -> Result<u64, MetainfoError> {
    let is_bencodable = i64::try_from(number).is_ok();
    is_bencodable.then_some(number).ok_or_else(|| MetainfoError::field(field, Problem::OutOfRange(number.into())))
}

fn read_extra(text: &str, limits: &Limits) -> Result<Extra, MetainfoError> {
    let bytes = from_base64("extra", text)?;
    let entries = decode("extra", &bytes, limits)?.as_dict();
    let mut extra = Extra::new();
    for (key, value) in entries.ok_or_else(|| MetainfoError::field("extra", Problem::NotADictionary))? {
        extra.entry(key.to_vec()).or_insert_with(|| value.raw().to_vec());
    }
    Ok(extra)
}

/// The files, whose lengths must add up to the total if that is stated too.
fn entries<'a>(
    files: &'a [FileField],
    total: Option<u64>,
    limits: &Limits,
) -> Result<Vec<OutlineEntry<'a>>, MetainfoError> {
    if files.iter().map(|file| file.path.depth()).sum::<usize>() > limits.values {
        return Err(MetainfoError::TooManyValues(limits.values));
    }
    let sum =
        files.iter().try_fold(0_u64, |sum, file| sum.checked_add(file.length)).ok_or(MetainfoError::LengthOverflow)?;
    if total.is_some_and(|total| total != sum) {
        return Err(MetainfoError::field("length", Problem::NotTheSum(sum)));
    }
    let entries = files.iter().enumerate().map(|(index, file)| {
        let length = in_range(&format!("files[{index}].length"), file.length)?;
        Ok(OutlineEntry { path: file.path.parts(), length, kind: FileKind::Normal, is_executable: file.executable })
    });
    entries.collect()
}

impl<'de> Deserialize<'de> for JsonFields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<JsonFields, D::Error> {
        struct Keys;
        impl<'de> Visitor<'de> for Keys {
            type Value = JsonFields;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a metainfo")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<JsonFields, A::Error> {
                let mut fields = JsonFields::default();
                while let Some(key) = map.next_key::<Cow<'de, str>>()? {
                    fields.read_field(&key, &mut map)?;
                }
                Ok(fields)
            }
        }
        deserializer.deserialize_map(Keys)
    }
}

/// A list that is refused as soon as it is longer than `MAX`.
struct Capped<T, const MAX: usize>(Vec<T>);

impl<'de, T: Deserialize<'de>, const MAX: usize> Deserialize<'de> for Capped<T, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Items<T, const MAX: usize>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>, const MAX: usize> Visitor<'de> for Items<T, MAX> {
            type Value = Capped<T, MAX>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a list of at most {MAX}")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = seq.next_element()? {
                    if items.len() == MAX {
                        return Err(A::Error::custom(format_args!("more than {MAX} in the list")));
                    }
                    items.push(item);
                }
                Ok(Capped(items))
            }
        }
        deserializer.deserialize_seq(Items(PhantomData))
    }
}

/// A path: one text with slashes, or a list of its parts.
enum PathField {
    Text(String),
    Parts(Vec<String>),
}

impl PathField {
    fn parts(&self) -> Vec<&[u8]> {
        match self {
            PathField::Text(text) => text.split('/').map(str::as_bytes).collect(),
            PathField::Parts(parts) => parts.iter().map(String::as_bytes).collect(),
        }
    }

    fn depth(&self) -> usize {
        match self {
            PathField::Text(text) => text.split('/').count(),
            PathField::Parts(parts) => parts.len(),
        }
    }

    fn text(&self) -> Cow<'_, str> {
        match self {
            PathField::Text(text) => text.into(),
            PathField::Parts(parts) => parts.join("/").into(),
        }
    }
}

impl<'de> Deserialize<'de> for PathField {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<PathField, D::Error> {
        struct Parts;
        impl<'de> Visitor<'de> for Parts {
            type Value = PathField;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a path with slashes, or a list of its parts")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<PathField, E> {
                match text.split('/').nth(MAX_DEPTH) {
                    Some(_) => Err(E::custom(format_args!("a path of more than {MAX_DEPTH} parts"))),
                    None => Ok(PathField::Text(text.to_owned())),
                }
            }

            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<PathField, A::Error> {
                let parts = serde::de::value::SeqAccessDeserializer::new(seq);
                Capped::<String, MAX_DEPTH>::deserialize(parts).map(|parts| PathField::Parts(parts.0))
            }
        }
        deserializer.deserialize_any(Parts)
    }
}

/// Piece hashes, decoded one by one: 20 bytes each, where their text takes 43.
struct Pieces(Vec<u8>);

impl<'de> Deserialize<'de> for Pieces {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Pieces, D::Error> {
        struct Hashes;
        impl<'de> Visitor<'de> for Hashes {
            type Value = Pieces;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of hashes")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Pieces, A::Error> {
                let mut pieces = Vec::new();
                while let Some(HexHash(hash)) = seq.next_element()? {
                    pieces.extend_from_slice(&hash);
                }
                Ok(Pieces(pieces))
            }
        }
        deserializer.deserialize_seq(Hashes)
    }
}

struct HexHash([u8; 20]);

impl<'de> Deserialize<'de> for HexHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<HexHash, D::Error> {
        struct Digits;
        impl Visitor<'_> for Digits {
            type Value = HexHash;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("40 hex digits")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<HexHash, E> {
                let mut hash = [0; 20];
                let digits = text.as_bytes();
                let whole = digits.len() == 40 && HEXLOWER_PERMISSIVE.decode_mut(digits, &mut hash).is_ok();
                if whole { Ok(HexHash(hash)) } else { Err(E::invalid_value(Unexpected::Str(text), &self)) }
            }
        }
        deserializer.deserialize_str(Digits)
    }
}
