//! The open files of one store, never more than a few.
//!
//! Each file of the torrent has a slot with a lock of its own, held only to take or put an `Arc`: never across I/O, and
//! readers of a file that is open share it. Above the cap a file that nobody asked for lately is closed (the "second
//! chance" order: a file that was used again since it was last looked at goes to the back of the row).

use std::{
    collections::VecDeque,
    fs,
    sync::{
        Arc, Mutex, RwLock,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

/// Files that one store keeps open. Enough that neighbours in a piece stay open, and a small part of the 1,024
/// descriptors that a process has by default.
pub(super) const MAX_OPEN_FILES: usize = 64;

/// The open files of a torrent, by their numbers in the metainfo.
pub(super) struct Handles {
    slots: Box<[HandleSlot]>,
    /// The numbers of the slots that hold a file, the next to be looked at in front.
    row: Mutex<VecDeque<usize>>,
}

#[derive(Default)]
struct HandleSlot {
    file: RwLock<Option<Arc<fs::File>>>,
    used: AtomicBool,
}

const LOCK: &str = "no thread panics while it holds this lock";

impl Handles {
    /// Room for `count` files, none of them open.
    pub(super) fn new(count: usize) -> Handles {
        Handles { slots: (0..count).map(|_| HandleSlot::default()).collect(), row: Mutex::default() }
    }

    /// File `index`, if it is open.
    pub(super) fn get(&self, index: usize) -> Option<Arc<fs::File>> {
        let slot = &self.slots[index];
        let file = slot.file.read().expect(LOCK).clone();
        if file.is_some() && !slot.used.load(Relaxed) {
            slot.used.store(true, Relaxed);
        }
        file
    }

    /// Keeps `file` as file `index`. If another thread was first, its file stays and is answered.
    pub(super) fn keep(&self, index: usize, file: fs::File) -> Arc<fs::File> {
        let file = {
            let mut held = self.slots[index].file.write().expect(LOCK);
            if let Some(held) = &*held {
                return held.clone();
            }
            held.insert(Arc::new(file)).clone()
        };
        let mut closing = Vec::new();
        let mut row = self.row.lock().expect(LOCK);
        row.push_back(index);
        while row.len() > MAX_OPEN_FILES {
            let oldest = row.pop_front().expect("the row is longer than the cap");
            if oldest == index || self.slots[oldest].used.swap(false, Relaxed) {
                row.push_back(oldest);
            } else {
                closing.extend(self.slots[oldest].file.write().expect(LOCK).take());
            }
        }
        drop(row);
        drop(closing); // Closing a file may be I/O: only now that no lock is held.
        file
    }

    /// Closes all files; whoever reads or writes at this moment keeps its own until it is done.
    pub(super) fn close_all(&self) {
        let row = std::mem::take(&mut *self.row.lock().expect(LOCK));
        let closing: Vec<_> = row.into_iter().map(|index| self.slots[index].file.write().expect(LOCK).take()).collect();
        drop(closing);
    }

    /// How many files are open.
    #[cfg(test)]
    pub(super) fn open_count(&self) -> usize {
        self.row.lock().expect(LOCK).len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_the_cap_stays_open_and_what_is_used_stays_longest() {
        let handles = Handles::new(MAX_OPEN_FILES + 10);
        for index in 0..MAX_OPEN_FILES + 10 {
            handles.keep(index, tempfile::tempfile().unwrap());
            assert!(handles.get(0).is_some(), "the file in constant use was closed for file {index}");
            assert!(handles.open_count() <= MAX_OPEN_FILES);
        }
        assert_eq!(handles.open_count(), MAX_OPEN_FILES);
        assert_eq!((0..MAX_OPEN_FILES + 10).filter(|&index| handles.get(index).is_some()).count(), MAX_OPEN_FILES);
    }

    #[test]
    fn the_first_to_open_a_file_wins() {
        let handles = Handles::new(1);
        let first = handles.keep(0, tempfile::tempfile().unwrap());
        let second = handles.keep(0, tempfile::tempfile().unwrap());
        assert!(Arc::ptr_eq(&first, &second));
        assert_eq!(handles.open_count(), 1);
    }

    #[test]
    fn all_files_are_closed_at_once_and_open_again() {
        let handles = Handles::new(2);
        handles.keep(0, tempfile::tempfile().unwrap());
        handles.keep(1, tempfile::tempfile().unwrap());
        handles.close_all();
        assert!(handles.get(0).is_none() && handles.get(1).is_none());
        assert_eq!(handles.open_count(), 0);
        handles.keep(1, tempfile::tempfile().unwrap());
        assert!(handles.get(1).is_some());
    }
}
