//! The graphics processors, as NVIDIA's driver tells of them.
//!
//! A driver may take its time, and may hang: it is asked on a thread of its own, which begins with the
//! first look and ends at once where there is no driver.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use nvml_wrapper::Nvml;

use crate::telemetry::metric::Id;
use crate::telemetry::series::Sample;

/// How often the driver is asked.
const EVERY: Duration = Duration::from_secs(2);

/// What is older is not told any more: the driver hangs.
const STALE_AFTER: Duration = Duration::from_secs(10);

/// What was seen of all of them together.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Look {
    /// Use, on average; 1 is all of all of them.
    use_ratio: f64,
    memory_used_bytes: u64,
    memory_bytes: u64,
}

/// Asks a driver.
type Ask = Box<dyn FnMut() -> Option<Look>>;

/// The newest look.
#[derive(Debug, Default)]
pub(super) struct Gpus {
    /// Nothing before the first look.
    newest: Option<Arc<Newest>>,
}

#[derive(Debug, Default)]
struct Newest {
    look: Mutex<Option<(Instant, Look)>>,
}

impl Gpus {
    pub(super) fn look(&mut self, fleet: &mut Sample) {
        let newest = self.newest.get_or_insert_with(|| start(EVERY, driver));
        let Some((at, look)) = *newest.lock() else { return };
        if at.elapsed() < STALE_AFTER {
            look.tell(fleet);
        }
    }
}

impl Look {
    #[expect(clippy::cast_precision_loss, reason = "measurements are floating point")]
    fn tell(&self, fleet: &mut Sample) {
        fleet.set(Id::Gpu, self.use_ratio);
        fleet.set(Id::GpuMemory, self.memory_used_bytes as f64);
        if self.memory_bytes != 0 {
            fleet.set(Id::GpuMemoryRatio, self.memory_used_bytes as f64 / self.memory_bytes as f64);
        }
    }
}

impl Newest {
    fn lock(&self) -> MutexGuard<'_, Option<(Instant, Look)>> {
        self.look.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Begins to ask; nobody asks any more once the newest look is dropped.
fn start(every: Duration, open: impl FnOnce() -> Option<Ask> + Send + 'static) -> Arc<Newest> {
    let newest = Arc::<Newest>::default();
    let told = Arc::downgrade(&newest);
    let asking = std::thread::Builder::new().name("gpus".into()).spawn(move || {
        if let Some(ask) = open() {
            ask_on(every, ask, &told);
        }
    });
    if let Err(error) = asking {
        tracing::warn!(%error, "the graphics processors are not looked at");
    }
    newest
}

fn ask_on(every: Duration, mut ask: Ask, told: &Weak<Newest>) {
    loop {
        let look = ask();
        let Some(newest) = told.upgrade() else { return };
        *newest.lock() = look.map(|look| (Instant::now(), look));
        drop(newest);
        std::thread::park_timeout(every);
    }
}

/// NVIDIA's driver, if there is one.
fn driver() -> Option<Ask> {
    let nvml = match Nvml::init() {
        Ok(nvml) => nvml,
        Err(error) => {
            tracing::debug!(%error, "there is no driver of graphics processors to ask");
            return None;
        }
    };
    Some(Box::new(move || {
        let devices = nvml.device_count().ok()?;
        let (mut sum, mut uses, mut asked) = (Look::default(), 0.0, 0_u32);
        for index in 0..devices {
            // One that fell off the bus does not take the others along.
            let Ok(device) = nvml.device_by_index(index) else { continue };
            let (Ok(used), Ok(memory)) = (device.utilization_rates(), device.memory_info()) else {
                continue;
            };
            uses += f64::from(used.gpu) / 100.0;
            asked += 1;
            sum.memory_used_bytes = sum.memory_used_bytes.saturating_add(memory.used);
            sum.memory_bytes = sum.memory_bytes.saturating_add(memory.total);
        }
        (asked != 0).then(|| Look { use_ratio: uses / f64::from(asked), ..sum })
    }))
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    const HALF: Look = Look { use_ratio: 0.5, memory_used_bytes: 1 << 30, memory_bytes: 4 << 30 };

    #[test]
    fn what_a_driver_tells_is_in_the_sample() {
        let (asked, has_asked) = mpsc::channel();
        let newest = start(Duration::ZERO, move || {
            Some(Box::new(move || {
                // Once nobody listens any more, it does not matter.
                asked.send(()).ok();
                Some(HALF)
            }) as Ask)
        });
        // When it is asked again, what it said first has been told.
        (0..2).for_each(|_| has_asked.recv_timeout(Duration::from_secs(20)).unwrap());
        let (mut gpus, mut fleet) = (Gpus { newest: Some(newest) }, Sample::default());
        gpus.look(&mut fleet);
        let told = [Id::Gpu, Id::GpuMemory, Id::GpuMemoryRatio].map(|id| fleet.get(id));
        assert_eq!(told, [Some(0.5), Some(f64::from(1 << 30)), Some(0.25)]);
        // With the newest look the thread goes, and with it what it asks.
        drop(gpus);
        while has_asked.recv_timeout(Duration::from_secs(20)).is_ok() {}
        assert_eq!(has_asked.try_recv(), Err(mpsc::TryRecvError::Disconnected));
    }

    #[test]
    fn without_a_driver_and_from_one_that_hangs_nothing_is_told() {
        let (mut gpus, mut fleet) =
            (Gpus { newest: Some(start(EVERY, || None)) }, Sample::default());
        gpus.look(&mut fleet);
        assert_eq!(fleet.get(Id::Gpu), None);
        let newest = Arc::<Newest>::default();
        let Some(long_ago) = Instant::now().checked_sub(STALE_AFTER) else { return };
        *newest.lock() = Some((long_ago, HALF));
        Gpus { newest: Some(newest) }.look(&mut fleet);
        assert_eq!(fleet.get(Id::Gpu), None);
    }
}
