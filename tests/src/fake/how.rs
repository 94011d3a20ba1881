//! What can be wrong with a worker.

macro_rules! hows {
    ($($(#[$doc:meta])* $how:ident = $name:literal,)*) => {
        /// What the rogue does wrong.
        ///
        /// Everything else it does like the toy. What is said of `Step` means the first one,
        /// unless it says otherwise. A rogue is started as `rogue-worker HOW MODE`; in mode
        /// `compile` only those whose name says so misbehave. Whatever it does, the kernel kills
        /// it [`How::LIFETIME`] after its start.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum How {
            $($(#[$doc])* $how,)*
        }

        impl How {
            /// Everything that can be wrong.
            pub const ALL: &[Self] = &[$(Self::$how),*];

            /// The argument that asks for it.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$how => $name,)*
                }
            }
        }
    };
}

hows! {
    /// Never says hello.
    NeverReady = "never-ready",
    /// Says hello after half a second; then all is well.
    SlowReady = "slow-ready",
    /// Exits with code 3 before its hello.
    DiesAtStart = "dies-at-start",
    /// Says hello in a version that does not exist yet.
    FromTheFuture = "from-the-future",
    /// Aborts right after its hello.
    DiesAfterReady = "dies-after-ready",
    /// Exits with code 0 right after its hello.
    FastExit = "fast-exit",
    /// Kills itself with SIGKILL in `Step`.
    DiesInCall = "dies-in-call",
    /// Takes every `Step` and keeps what it did, and kills itself with SIGKILL before it answers.
    DiesBeforeAnswer = "dies-before-answer",
    /// Exits with code 0 in `Step`, which owes an answer.
    ExitsZeroInCall = "exits-zero-in-call",
    /// Ignores SIGTERM, and that the supervisor hangs up.
    IgnoresSigterm = "ignores-sigterm",
    /// Stops itself with SIGSTOP in `Step`; continued, it answers.
    StopsItselfInCall = "stops-itself-in-call",
    /// Stops itself with SIGSTOP 100 ms after it answered `OpenSession`.
    StopsItselfWhenIdle = "stops-itself-when-idle",
    /// Burns its processor in `Step` for ever, without progress; pings are answered.
    Spins = "spins",
    /// Sleeps in `Step` for ever; pings are answered.
    Deadlocks = "deadlocks",
    /// Answers neither `Step` nor, from then on, pings.
    Mute = "mute",
    /// Writes 64 MiB to each of stdout (one line, not UTF-8) and stderr (short lines) as fast as
    /// they are taken, and then goes on without end at some 6 MiB/s. Serves normally meanwhile.
    FloodsOutput = "floods-output",
    /// Answers every `Step` with a frame of the right length that holds noise.
    Garbage = "garbage",
    /// Answers every `Step` with a header that announces 4 GiB.
    Oversized = "oversized",
    /// Answers `Step` with half a frame, hangs up, and lives on.
    Truncated = "truncated",
    /// Answers every `Step` under the next id.
    WrongId = "wrong-id",
    /// Answers every `Step` with the reply to another call.
    WrongKind = "wrong-kind",
    /// Answers `Step` after five seconds without progress, and is normal afterwards.
    Late = "late",
    /// Answers every `Step` twice.
    Twice = "twice",
    /// Sends an answer that nobody asked for, with the largest id, after that to `OpenSession`.
    Unasked = "unasked",
    /// Says its last words in `Step` and exits with code 70.
    LastWords = "last-words",
    /// Starts, before its hello, a process that has its own session and keeps stdout and stderr
    /// open; aborts in `Step`.
    LeaksGrandchild = "leaks-grandchild",
    /// What [`How::LeaksGrandchild`] leaves behind; needs no mode.
    Grandchild = "grandchild",
    /// Takes 50 MiB of memory every 20 ms in `Step`, up to 2 GiB, and keeps it.
    Swells = "swells",
    /// Takes 8 MiB of memory in every `Step`, and forgets that it has it. Asked what its models take,
    /// it has none.
    Leaks = "leaks",
    /// Computes in every `Step` for 30 ms, in a function that is called `planted_hot_spot`.
    HasHotSpot = "has-hot-spot",
    /// Starts threads in `Step`, up to a thousand; exits with code 77 if it cannot have one.
    StartsThreads = "starts-threads",
    /// Sends pongs that nobody asked for, as fast as they are taken, from `Step` on.
    FloodsFrames = "floods-frames",
    /// Steps on when the call's time is over, with progress, a millisecond each.
    IgnoresBudget = "ignores-budget",
    /// Nothing wrong, but a step takes a millisecond: time to cancel a call, or to outlast it.
    SlowSteps = "slow-steps",
    /// Tells of the phases and the memory of a thousand models that nobody gave it.
    BoastsOfModels = "boasts-of-models",
    /// Times phases, refuses its first look at them, and exits with code 70 when it is asked next,
    /// with last words.
    RefusesLook = "refuses-look",
    /// Takes the model and never answers, in mode `compile`.
    CompileHangs = "compile-hangs",
    /// Takes the model and aborts, in mode `compile`.
    CompileDies = "compile-dies",
    /// Claims to have written a terabyte and has written nothing, in mode `compile`.
    CompileLies = "compile-lies",
}

impl How {
    /// How long a rogue can live.
    pub const LIFETIME: std::time::Duration = std::time::Duration::from_mins(1);

    /// What [`How::Leaks`] takes each time, in bytes.
    pub const LEAK_BYTES: usize = 8 * 1024 * 1024;

    /// What an argument asks for.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|how| how.name() == name)
    }
}
