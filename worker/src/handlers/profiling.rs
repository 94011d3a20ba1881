//! What only the worker knows of itself.

use simward_protocol::call::Serve;
use simward_protocol::fault::Fault;
use simward_protocol::profiling::{
    AllocatorMemory, MeasureMemory, ModelMemories, ModelMemory, PhaseTimes, TimePhases,
};

use crate::world::World;
use crate::world::simulation::Simulation;

impl Serve<TimePhases> for World {
    fn serve(&mut self, slot: u32, call: TimePhases) -> Result<PhaseTimes, Fault> {
        let room = self.slots.get_mut(&slot).ok_or(Fault::Slot { slot })?;
        if call == TimePhases::Begin {
            self.timing.begin(slot, room);
        }
        let times = self.timing.look(slot, room);
        if call == TimePhases::End {
            self.timing.end(slot);
        }
        Ok(times)
    }
}

impl Serve<MeasureMemory> for World {
    fn serve(
        &mut self,
        slot: u32,
        MeasureMemory {}: MeasureMemory,
    ) -> Result<ModelMemories, Fault> {
        let models = &self.slot(slot)?.models;
        let models = models.iter().map(|(model_id, simulation)| memory(model_id, simulation));
        Ok(ModelMemories { models: models.collect(), allocator: allocator() })
    }
}

fn memory(model_id: &str, simulation: &Simulation) -> ModelMemory {
    let (model, data) = (simulation.data.model(), simulation.data.ffi());
    let bytes = |size: i64| u64::try_from(size).unwrap_or(0);
    ModelMemory {
        model_id: model_id.to_owned(),
        model_bytes: bytes(model.ffi().nbuffer),
        saved_bytes: model.size() as u64,
        data_bytes: bytes(data.nbuffer),
        arena_bytes: bytes(data.narena),
        arena_used_max_bytes: bytes(data.maxuse_arena),
        stack_used_max_bytes: bytes(data.maxuse_stack),
    }
}

/// What the C library's allocator has, which the engine and everything else here ask.
#[expect(unsafe_code, reason = "no safe function asks the C library")]
fn allocator() -> AllocatorMemory {
    // SAFETY: it takes nothing, and fills in a structure of numbers; it locks what it looks at.
    let told = unsafe { libc::mallinfo2() };
    // Large blocks are mapped by themselves, and in no arena.
    AllocatorMemory {
        allocated_bytes: told.uordblks.saturating_add(told.hblkhd) as u64,
        free_bytes: told.fordblks as u64,
        mapped_bytes: told.arena.saturating_add(told.hblkhd) as u64,
    }
}
