//! Which key a model in files had, so that it is neither read nor hashed again while its files stay
//! as they were: looking at a file costs microseconds, reading a robot's meshes a tenth of a second.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use super::Place;
use super::root::{Root, Stamp};
use crate::store::Key;

/// What each file looked like; nothing for one that was not there.
pub type Stamps = Vec<(String, Option<Stamp>)>;

/// How many models are remembered.
const MODELS_MAX: usize = 512;

/// How old the last change of a file must be for its stamp to tell: within less, a second change
/// may bear the same time.
const SETTLED_SECS: i64 = 2;

/// What a place is known by.
type Named = (PathBuf, String, bool);

/// Models by their place, and when each was last asked for.
#[derive(Debug, Default)]
pub(super) struct Remembered {
    models: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    models: HashMap<Named, Entry>,
    asked: u64,
}

#[derive(Debug)]
struct Entry {
    stamps: Stamps,
    key: Key,
    asked: u64,
}

impl Remembered {
    pub(super) fn key_of(&self, root: &Root, place: &Place) -> Option<Key> {
        let (stamps, key) = {
            let mut known = self.lock();
            known.asked += 1;
            let asked = known.asked;
            let entry = known.models.get_mut(&named(place))?;
            entry.asked = asked;
            (entry.stamps.clone(), entry.key.clone())
        };
        for (path, stamp) in stamps {
            // What cannot be looked at any more is told by who reads it.
            if root.look(&path).ok().flatten() != stamp {
                return None;
            }
        }
        Some(key)
    }

    pub(super) fn keep(&self, place: &Place, stamps: Stamps, key: Key) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = i64::try_from(now.as_secs()).unwrap_or(0);
        let is_settled = |(_, stamp): &(String, Option<Stamp>)| {
            stamp.is_none_or(|stamp| stamp.changed.0 + SETTLED_SECS < now)
        };
        if !stamps.iter().all(is_settled) {
            return;
        }
        let mut known = self.lock();
        if MODELS_MAX <= known.models.len() {
            let oldest = known.models.iter().min_by_key(|(_, entry)| entry.asked);
            if let Some(oldest) = oldest.map(|(name, _)| name.clone()) {
                known.models.remove(&oldest);
            }
        }
        let asked = known.asked;
        known.models.insert(named(place), Entry { stamps, key, asked });
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.models.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn named(place: &Place) -> Named {
    (place.root.clone(), place.path.clone(), place.on_floor)
}
